#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace gapferry::server {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header called `name` (ASCII case ignored); nullptr when absent.
const std::string* FindHeader(const HeaderList& headers, std::string_view name);

/// One received request. Paths and header names keep their spelling: compare without case.
struct Request {
  std::string method;  ///< "GET", "POST", as received (methods are case-sensitive)
  std::string path;    ///< percent-decoded, without query; always starts with '/'
  std::string query;   ///< raw, without '?'
  HeaderList headers;
  std::string body;

  std::string peer_address;   ///< textual, IPv4-mapped addresses as IPv4
  std::string local_address;  ///< the address the request arrived at
  std::uint16_t local_port = 0;
  bool tls = false;

  const std::string* Header(std::string_view name) const { return FindHeader(headers, name); }
  /// "http://host:port" as the client spelled it: the Host header, else the local address.
  std::string BaseUrl() const;
  /// Whether the Accept-Encoding header names `coding` with a weight above zero.
  bool AcceptsCoding(std::string_view coding) const;
};

/// What each worker thread owns, such as its database connections; made by HttpHandler::MakeWorker.
class WorkerContext {
 public:
  virtual ~WorkerContext() = default;
};

/// A body produced piece by piece while the client takes it, so that a large one is never held
/// whole and nothing is locked while a socket is awaited.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  /// Replaces `out` by the next piece, some 256 KiB at most; empty at the end. Called on the
  /// worker thread that made the reply, so that it may use that worker's connections. An error
  /// aborts the connection: the client sees a short body, never a wrong one.
  virtual Result<void> Next(WorkerContext& worker, std::string& out) = 0;
};

/// Part of an open file, sent by sendfile on plain connections.
struct FileBody {
  std::shared_ptr<const File> file;
  std::uint64_t offset = 0;
  std::uint64_t size_bytes = 0;
};

struct StreamBody {
  std::unique_ptr<BodyStream> stream;
  /// Exactly what `stream` will give; unknown: sent chunked.
  std::optional<std::uint64_t> size_bytes;
};

/// Bytes in memory that several replies may share; sent without being copied.
struct SharedBody {
  struct Piece {
    std::shared_ptr<const void> owner;
    std::string_view bytes;
  };
  std::vector<Piece> pieces;
  std::uint64_t size_bytes = 0;
  std::shared_ptr<const void> held;  ///< whatever else is to live until the reply is sent
};

struct Reply {
  int status = 200;
  HeaderList headers;  ///< without Content-Length, Connection and Date, which the server writes
  std::variant<std::string, FileBody, StreamBody, SharedBody> body;
  bool close = false;  ///< end the connection after this reply

  std::optional<std::uint64_t> BodySize() const;
};

/// A text/plain reply with `text` and a line feed.
Reply PlainReply(int status, std::string_view text);
std::string_view ReasonPhrase(int status);

/// Undoes percent-encoding; nullopt for a broken escape, a NUL or a missing leading '/'.
std::optional<std::string> DecodePath(std::string_view raw);

}  // namespace gapferry::server
