#include <openssl/err.h>
#include <openssl/ssl.h>

#include <boost/asio/ssl/stream.hpp>

#include "server/http_connection.h"

namespace gapferry::server::internal {
namespace {

/// A TLS stream that keeps its context alive: a reload replaces it for new connections only.
class TlsStream : public asio::ssl::stream<Socket> {
 public:
  TlsStream(Socket socket, std::shared_ptr<asio::ssl::context> context)
      : asio::ssl::stream<Socket>(std::move(socket), *context), context_(std::move(context)) {
    ::SSL_set_mode(native_handle(), SSL_MODE_RELEASE_BUFFERS);
  }

 private:
  std::shared_ptr<asio::ssl::context> context_;
};

}  // namespace

void StartTls(IoThread& io, Socket socket, Endpoints endpoints,
              std::shared_ptr<asio::ssl::context> tls) {
  Spawn(io, std::make_unique<StreamConnection<TlsStream>>(io, std::move(endpoints),
                                                          std::move(socket), std::move(tls)));
}

Result<std::shared_ptr<asio::ssl::context>> LoadTls(const std::string& certificate_file,
                                                    const std::string& key_file) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  ::SSL_CTX* native = context->native_handle();
  ::SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  ::SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  ::ERR_clear_error();
  error_code error;
  const auto refuse = [&error](const std::string& what) {
    const bool absent = error == std::errc::no_such_file_or_directory;
    return Fail(absent ? ErrorCode::kNotFound : ErrorCode::kCorrupt, kBadCertificate,
                what + ": " + error.message());
  };
  context->use_certificate_chain_file(certificate_file, error);
  if (error) return refuse("certificate '" + certificate_file + "'");
  context->use_private_key_file(key_file, asio::ssl::context::pem, error);
  if (error) return refuse("key '" + key_file + "'");
  if (::SSL_CTX_check_private_key(native) != 1) {
    ::ERR_clear_error();
    return Fail(ErrorCode::kCorrupt, kBadCertificate,
                "key '" + key_file + "' does not belong to certificate '" + certificate_file + "'");
  }
  return context;
}

}  // namespace gapferry::server::internal
