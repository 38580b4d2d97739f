#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "protocol/answer_body.h"
#include "protocol/soap.h"
#include "protocol/soap_codec.h"
#include "server/answer_budget.h"
#include "server/service_context.h"
#include "server/wsdl.h"

namespace gapferry::server {

/// One operation: how its message is recognised and answered.
struct Operation {
  protocol::MessageName name;
  protocol::SoapStyle fault_style;
  std::function<Result<protocol::AnswerBody>(CallContext&, const protocol::SoapMessage&)> run;
};

/// What a message that cannot be decoded is answered: InvalidCookie and InvalidAuthorizationCookie
/// for bytes of cookies that are none (MS-WSUSSS 3.1.4.4), else InvalidParameters naming the
/// element.
std::unexpected<Error> FailUndecoded(const Error& error);

/// An Operation out of a member function `Result<Answer> (Service::*)(CallContext&, const Ask&)`.
template <class Service, class Ask, class Answer>
Operation MakeOperation(Service& service,
                        Result<Answer> (Service::*method)(CallContext&, const Ask&)) {
  Operation operation;
  operation.name = protocol::NameOf<Ask>();
  operation.fault_style = protocol::NameOf<Answer>().style;
  operation.run = [&service, method](
                      CallContext& call,
                      const protocol::SoapMessage& message) -> Result<protocol::AnswerBody> {
    Result<Ask> ask = protocol::Decode<Ask>(message);
    if (!ask.has_value()) return FailUndecoded(ask.error());
    TRY_ASSIGN(const Answer answer, (service.*method)(call, *ask));
    return protocol::EncodeBody(answer, message.version());
  };
  return operation;
}

/// One SOAP service at one path: parses, finds the operation, turns errors into faults and answers
/// into replies, xpress-coded when asked for. Answers that would not fit into memory beside those
/// that others are taking are ServerBusy. Immutable after the last Add; thread-safe then.
class SoapEndpoint {
 public:
  struct Settings {
    std::string cache_control;                                  ///< "private"
    protocol::SoapStyle style = protocol::SoapStyle::kClassic;  ///< of faults without operation
    std::size_t max_nodes = 1'000'000;
    const ServiceDescription* description = nullptr;  ///< for ?wsdl; must outlive
    std::string path;                                 ///< as callers are told it, without '/'
    /// For answers that are being sent; shared by the endpoints of a server.
    std::shared_ptr<AnswerBudget> budget = AnswerBudget::Make(kAnswerBudgetBytes);
  };
  static constexpr std::uint64_t kAnswerBudgetBytes = 512ULL << 20;
  explicit SoapEndpoint(Settings settings)
      : settings_(std::move(settings)), large_(std::make_unique<std::mutex>()) {}

  void Add(Operation operation);
  /// Names of what it answers, ascending.
  std::vector<std::string> operations() const;
  Reply Handle(CallContext& call, std::string body) const;

 private:
  Reply Describe(const Request& request) const;
  Reply Fault(const CallContext& call, const Error& error, const Operation* operation,
              const protocol::SoapMessage& message) const;
  Reply Answer(const CallContext& call, protocol::AnswerBody body, const Operation& operation,
               const protocol::SoapMessage& message) const;

  Settings settings_;
  /// Held while a large message is worked on: its tree takes many times its size.
  std::unique_ptr<std::mutex> large_;
  std::map<std::string, Operation, std::less<>> operations_;  // by element name
};

}  // namespace gapferry::server
