#include "exporter/rollup_calls.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/hash.h"
#include "protocol/soap.h"

namespace gapferry::exporter {
namespace {

using protocol::FaultCode;

constexpr int kAttempts = 4;  // in all, as Windows does

// One to five minutes, as Windows waits; a few seconds after a failure on the way.
std::chrono::milliseconds WaitTime(int attempt, bool busy) {
  std::array<std::uint8_t, 2> bytes{};
  FillRandom(bytes);
  const int random = LoadLe16(bytes.data());
  if (busy) return std::chrono::seconds(60 + random % 241);
  return std::chrono::milliseconds((1000 << (attempt - 1)) + random % 1000);
}

bool IsBusy(const Error& error) { return protocol::FaultCodeOf(error) == FaultCode::kServerBusy; }

}  // namespace

bool CertainlyNotTaken(const Error& error) {
  if (protocol::FaultCodeOf(error).has_value()) return true;
  const bool answered = error.reason == "http-status" && error.code != ErrorCode::kTransient;
  return answered || error.code == ErrorCode::kUsage;
}

RollupCalls::RollupCalls(Upstream& upstream, Wait wait, Progress& progress, std::stop_token stop)
    : upstream_(upstream),
      wait_(wait ? std::move(wait) : Wait(WaitOrStop)),
      progress_(progress),
      stop_(std::move(stop)) {}

Result<void> RollupCalls::Pause(int attempt, bool busy, std::string_view why) {
  const auto time = WaitTime(attempt, busy);
  progress_.Note(fmt::format("{}; trying again in {} s", why, (time.count() + 999) / 1000));
  if (wait_(time, stop_)) return {};
  return Fail(ErrorCode::kCancelled, "rollup: stopped");
}

template <class Call>
auto RollupCalls::Repeat(Call call, bool only_busy) -> decltype(call()) {
  for (int attempt = 1;; ++attempt) {
    auto answer = call();
    if (answer || attempt == kAttempts) return answer;
    const bool busy = IsBusy(answer.error());
    const bool again = busy || (!only_busy && answer.error().code == ErrorCode::kTransient);
    if (!again) return answer;
    TRY(Pause(attempt, busy, answer.error().message));
  }
}

Result<void> RollupCalls::Servers(const protocol::RollupDownstreamServersRequest& request) {
  return Repeat([&] { return upstream_.RollupDownstreamServers(request); }, /*only_busy=*/true);
}

Result<protocol::RollupComputersResponse> RollupCalls::Computers(
    const protocol::RollupComputersRequest& request) {
  return Repeat([&] { return upstream_.RollupComputers(request); }, /*only_busy=*/false);
}

Result<protocol::GetOutOfSyncComputersResponse> RollupCalls::OutOfSync(
    const protocol::GetOutOfSyncComputersRequest& request) {
  return Repeat([&] { return upstream_.GetOutOfSyncComputers(request); }, /*only_busy=*/false);
}

// The instance ids of the request stay the same when it is repeated.
Result<bool> RollupCalls::Status(const protocol::RollupComputerStatusRequest& request) {
  for (int attempt = 1;; ++attempt) {
    auto taken =
        Repeat([&] { return upstream_.RollupComputerStatus(request); }, /*only_busy=*/false);
    if (!taken || *taken || attempt == kAttempts) return taken;
    TRY(Pause(attempt, /*busy=*/true, "the upstream is busy"));
  }
}

}  // namespace gapferry::exporter
