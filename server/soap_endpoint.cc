#include "server/soap_endpoint.h"

#include <algorithm>

#include "base/log.h"
#include "base/text.h"

namespace gapferry::server {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr std::size_t kLargeBytes = 4 << 20;
constexpr std::size_t kMaxNameInFault = 128;

/// Reads a prepared answer on the worker that made it.
class AnswerStream : public BodyStream {
 public:
  AnswerStream(std::unique_ptr<protocol::AnswerSource> source,
               std::unique_ptr<AnswerBudget::Share> share)
      : source_(std::move(source)), share_(std::move(share)) {}
  Result<void> Next(WorkerContext&, std::string& out) override {
    out.resize(kPieceBytes);
    std::size_t filled = 0;
    while (filled < out.size()) {
      TRY_ASSIGN(const std::size_t count,
                 source_->Read(
                     {reinterpret_cast<std::uint8_t*>(out.data()) + filled, out.size() - filled}));
      if (count == 0) break;
      filled += count;
    }
    out.resize(filled);
    return {};
  }

 private:
  std::unique_ptr<protocol::AnswerSource> source_;
  std::unique_ptr<AnswerBudget::Share> share_;
};

/// What is in memory is sent as it is. Else small answers are read at once, larger ones while the
/// client takes them.
Result<void> FillBody(Reply& reply, CallContext const& call, protocol::AnswerBody body,
                      protocol::ContentEncoding encoding, AnswerBudget& budget) {
  std::unique_ptr<AnswerBudget::Share> share = budget.Take(body.HeldBytes());
  if (share == nullptr) return FailFault(protocol::FaultCode::kServerBusy);
  if (auto pieces = protocol::ShareBody(body, encoding)) {
    SharedBody shared;
    for (protocol::SharedPiece& piece : *pieces) {
      shared.size_bytes += piece.bytes.size();
      shared.pieces.push_back({std::move(piece.owner), AsText(piece.bytes)});
    }
    shared.held = std::move(share);
    reply.body = std::move(shared);
    return {};
  }
  TRY_ASSIGN(auto source, protocol::AnswerSource::Create(std::move(body), encoding));
  const std::optional<std::uint64_t> size = source->size_bytes();
  auto stream = std::make_unique<AnswerStream>(std::move(source), std::move(share));
  if (!size || *size > kPieceBytes) {
    reply.body = StreamBody{std::move(stream), size};
    return {};
  }
  std::string text;
  TRY(stream->Next(call.worker, text));
  reply.body = std::move(text);
  return {};
}

}  // namespace

std::unexpected<Error> FailFault(protocol::FaultCode code, std::string message) {
  return Fail(ErrorCode::kUsage, std::string(protocol::FaultCodeName(code)), std::move(message));
}

std::unexpected<Error> FailUndecoded(const Error& error) {
  using protocol::FaultCode;
  const std::string_view message = error.message;
  if (message.find(": cookie/") != std::string_view::npos) {
    return FailFault(FaultCode::kInvalidCookie);
  }
  if (message.find("/AuthorizationCookie/CookieData: ") != std::string_view::npos) {
    return FailFault(FaultCode::kInvalidAuthorizationCookie);
  }
  return FailFault(FaultCode::kInvalidParameters, error.message);
}

std::string ContentBaseUrl(const ServiceShared& shared, const Request& request) {
  if (!shared.config.serve.content_url.empty()) {
    std::string base = shared.config.serve.content_url;
    if (!base.ends_with('/')) base += '/';
    return base + "Content/";
  }
  std::string base = request.BaseUrl();
  if (request.tls && shared.http_port != 0) {
    const std::size_t scheme = base.find("://") + 3;
    const std::size_t port = base.rfind(':');
    const bool has_port =
        port != std::string::npos && port >= scheme && base.find(']', port) == std::string::npos;
    const std::string host = base.substr(scheme, has_port ? port - scheme : std::string::npos);
    base = "http://" + host + ":" + std::to_string(shared.http_port);
  }
  return base + "/Content/";
}

void SoapEndpoint::Add(Operation operation) {
  operations_.emplace(std::string(operation.name.element), std::move(operation));
}

std::vector<std::string> SoapEndpoint::operations() const {
  std::vector<std::string> names;
  for (const auto& [name, operation] : operations_) names.push_back(name);
  return names;
}

Reply SoapEndpoint::Describe(const Request& request) const {
  const std::string address = request.BaseUrl() + "/" + settings_.path;
  if (EqualsIgnoreCase(request.query, "wsdl") && settings_.description != nullptr) {
    Reply reply;
    reply.headers.emplace_back("Cache-Control", settings_.cache_control);
    reply.headers.emplace_back("Content-Type", "text/xml; charset=utf-8");
    reply.body = settings_.description->Wsdl(address);
    return reply;
  }
  Reply reply =
      PlainReply(405, "this is a web service: calls are made by POST, its description is " +
                          address + "?wsdl");
  reply.headers.emplace_back("Allow", "GET, HEAD, POST");
  return reply;
}

Reply SoapEndpoint::Answer(const CallContext& call, protocol::AnswerBody body,
                           const Operation& operation, const protocol::SoapMessage& message) const {
  Reply reply;
  const bool xpress = call.request.AcceptsCoding("xpress");
  reply.headers.emplace_back("Cache-Control", settings_.cache_control);
  reply.headers.emplace_back("Content-Type", protocol::SoapContentType(message.version()));
  if (xpress) reply.headers.emplace_back("Content-Encoding", "xpress");
  reply.headers.emplace_back("Vary", "Accept-Encoding");
  const Result<void> filled =
      FillBody(reply, call, std::move(body),
               xpress ? protocol::ContentEncoding::kXpress : protocol::ContentEncoding::kIdentity,
               *settings_.budget);
  if (filled.has_value()) return reply;
  return Fault(call, filled.error(), &operation, message);
}

Reply SoapEndpoint::Fault(const CallContext& call, const Error& error, const Operation* operation,
                          const protocol::SoapMessage& message) const {
  protocol::SoapFault fault;
  fault.id = Guid::Random();
  fault.method = protocol::SoapActionHeader(EscapeForDisplay(message.name_space(), kMaxNameInFault),
                                            EscapeForDisplay(message.name(), kMaxNameInFault));
  const std::string path =
      call.request.path.starts_with('/') ? call.request.path : "/" + call.request.path;
  fault.actor = call.request.BaseUrl() + path;
  const std::optional<protocol::FaultCode> code = protocol::FaultCodeOf(error);
  if (code && *code != protocol::FaultCode::kUnknown) {
    fault.code = *code;
    fault.message = error.message;
  } else {
    fault.code = error.code == ErrorCode::kBusy ? protocol::FaultCode::kServerBusy
                                                : protocol::FaultCode::kInternalServerError;
    Log(LogLevel::kError, "call failed",
        {{"operation", EscapeForDisplay(message.name())},
         {"fault", fault.id.ToString()},
         {"peer", call.request.peer_address},
         {"error", error.message}});
  }
  const protocol::SoapStyle style = operation != nullptr ? operation->fault_style : settings_.style;
  Reply reply;
  reply.status = 500;
  reply.headers.emplace_back("Cache-Control", "private");
  reply.headers.emplace_back("Content-Type", protocol::SoapContentType(message.version()));
  reply.body = protocol::EncodeFault(fault, style, message.version());
  return reply;
}

Reply SoapEndpoint::Handle(CallContext& call, std::string body) const {
  if (call.request.method == "GET" || call.request.method == "HEAD") return Describe(call.request);
  if (call.request.method != "POST") {
    Reply reply = PlainReply(405, "this is a web service: calls are made by POST");
    reply.headers.emplace_back("Allow", "GET, HEAD, POST");
    return reply;
  }
  if (const std::string* coding = call.request.Header("Content-Encoding");
      coding != nullptr && !EqualsIgnoreCase(TrimAscii(*coding), "identity")) {
    return PlainReply(415, "request bodies cannot be compressed");
  }
  protocol::SoapLimits limits = protocol::SoapLimits::Request();
  limits.max_bytes = body.size();  // the HTTP server has limited it already
  limits.max_nodes = settings_.max_nodes;
  std::unique_lock<std::mutex> alone;
  if (body.size() > kLargeBytes) {
    alone = std::unique_lock(*large_, std::try_to_lock);
    if (!alone.owns_lock()) {
      Reply busy = PlainReply(503, "another large request is being worked on");
      busy.headers.emplace_back("Retry-After", "30");
      return busy;
    }
  }
  const Result<protocol::SoapMessage> message =
      protocol::SoapMessage::Parse(std::move(body), limits);
  if (!message.has_value()) {
    return PlainReply(400, EscapeForDisplay(message.error().message));
  }
  const auto found = operations_.find(message->name());
  if (found == operations_.end() || found->second.name.name_space != message->name_space()) {
    const Error unknown{
        ErrorCode::kUsage, "unknown operation",
        std::string(protocol::FaultCodeName(protocol::FaultCode::kInvalidParameters)), ""};
    return Fault(call, unknown, nullptr, *message);
  }
  Result<protocol::AnswerBody> answer = found->second.run(call, *message);
  if (!answer.has_value()) return Fault(call, answer.error(), &found->second, *message);
  return Answer(call, std::move(*answer), found->second, *message);
}

}  // namespace gapferry::server
