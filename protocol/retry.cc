#include "protocol/retry.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/text.h"

namespace gapferry::protocol {
namespace {

using std::chrono::milliseconds;

bool IsTransient(const AttemptOutcome& outcome) {
  if (outcome.error) return *outcome.error == ErrorCode::kTransient;
  switch (outcome.http_status) {
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

// IMF-fixdate, "Sun, 04 Oct 2026 15:03:36 GMT": the only form current servers send.
std::optional<UtcTime> ParseHttpDate(std::string_view text) {
  static constexpr std::array<std::string_view, 12> kMonths{
      "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != 29 || !text.ends_with(" GMT")) return std::nullopt;
  const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
  if (month == kMonths.end()) return std::nullopt;
  const auto number = static_cast<int>(month - kMonths.begin()) + 1;
  std::string xml(text.substr(12, 4));
  xml += number < 10 ? "-0" : "-";
  xml += std::to_string(number) + "-" + std::string(text.substr(5, 2)) + "T" +
         std::string(text.substr(17, 8)) + "Z";
  const auto time = UtcTime::ParseXml(xml);
  if (!time) return std::nullopt;
  return *time;
}

std::optional<milliseconds> RetryAfter(std::string_view header, UtcTime now) {
  header = TrimAscii(header);
  if (header.empty()) return std::nullopt;
  if (const auto seconds = ParseInt<std::int32_t>(header)) {
    if (*seconds < 0) return std::nullopt;
    return std::chrono::seconds(*seconds);
  }
  const auto date = ParseHttpDate(header);
  if (!date) return std::nullopt;
  return milliseconds(std::max<std::int64_t>(0, (date->ticks - now.ticks) / 10'000));
}

}  // namespace

std::optional<milliseconds> RetryWait(const RetryPolicy& policy, int attempt,
                                      const AttemptOutcome& outcome, std::uint32_t random,
                                      UtcTime now) {
  if (attempt >= policy.attempts || !IsTransient(outcome)) return std::nullopt;
  if (const auto asked = RetryAfter(outcome.retry_after, now)) {
    return std::min(*asked, policy.longest_retry_after);
  }
  if (outcome.reason == "ServerBusy") {
    return policy.busy_waits[std::clamp(attempt - 1, 0, 2)];
  }
  const int doublings = std::clamp(attempt - 1, 0, 20);
  const milliseconds full =
      std::min(milliseconds(policy.first_wait.count() << doublings), policy.longest_wait);
  const std::int64_t half = full.count() / 2;
  return milliseconds(half + static_cast<std::int64_t>(random) % (full.count() - half + 1));
}

std::uint32_t RandomBits() {
  std::array<std::uint8_t, 4> bytes{};
  FillRandom(bytes);
  return LoadLe32(bytes.data());
}

}  // namespace gapferry::protocol
