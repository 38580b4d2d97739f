#include "cli/upstream_next.h"

#include <array>
#include <string>
#include <string_view>

#include "cli/admin_support.h"

namespace gapferry::cli {
namespace {

struct Step {
  std::string_view reason;
  std::string_view next;
};

constexpr std::string_view kForeign =
    "check that upstream.wsus in gapferry.yaml leads to an update server and that nothing on the "
    "way changes its answers";

constexpr std::array<Step, 18> kSteps{{
    {"no-upstream", "set upstream.wsus in gapferry.yaml to the URL of an update server"},
    {"fed-by-bundles",
     "what is new comes with the next bundle: gapferry import PATH; what happened here goes back "
     "with a return: gapferry export --return --to DIR"},
    {"certificate-refused",
     "if the upstream is the right one, set upstream.ca_file in gapferry.yaml to the PEM file of "
     "the authority that signed its certificate"},
    {"client-certificate-refused",
     "set upstream.client_certificate and upstream.client_key in gapferry.yaml to a certificate "
     "that the upstream accepts"},
    {"ca-file", "set upstream.ca_file in gapferry.yaml to a PEM file of authorities"},
    {"client-certificate",
     "set upstream.client_certificate and upstream.client_key in gapferry.yaml to PEM files that "
     "belong together"},
    {"proxy-refused",
     "set user and password in upstream.proxy in gapferry.yaml: http://USER:PASSWORD@HOST:PORT"},
    {"redirect",
     "set upstream.wsus in gapferry.yaml to where the server points if that is an update server; a "
     "portal on the way may want a login first"},
    {"no-http", kForeign},
    {"no-soap", kForeign},
    {"bad-answer", kForeign},
    {"soap-malformed", kForeign},
    {"soap-field", kForeign},
    {"soap-operation", kForeign},
    {"content-encoding", kForeign},
    {"answer-too-large", kForeign},
    {"bad-limit", kForeign},
    {"no-plug-in", kForeign},
}};

}  // namespace

Error WithUpstreamNext(const Context& context, Error error) {
  if (!error.next.empty()) return error;
  for (const Step& step : kSteps) {
    if (error.reason == step.reason) error.next = step.next;
  }
  if (!error.next.empty()) return error;
  if (error.reason == "unknown-language") {
    error.next = NextCommand(context, "subscription set --language LANGUAGE");
  } else if (error.code == ErrorCode::kTransient || error.code == ErrorCode::kCancelled) {
    error.next = "type the same command again: it goes on where it stopped";
  } else if (error.code == ErrorCode::kNoSpace) {
    error.next = "make room, or approve less; the same command goes on where it stopped";
  }
  return error;
}

}  // namespace gapferry::cli
