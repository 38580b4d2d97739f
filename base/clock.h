#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gapferry {

/// A moment in UTC, in 100-ns ticks since 1970-01-01: the resolution of the WSUS protocols, years
/// 1 to 9999.
struct UtcTime {
  std::int64_t ticks = 0;

  static constexpr std::int64_t kTicksPerSecond = 10'000'000;
  static constexpr UtcTime FromUnixSeconds(std::int64_t seconds) {
    return {seconds * kTicksPerSecond};
  }
  std::int64_t UnixSeconds() const;  ///< rounded down

  /// xs:dateTime: 0 to 7 fraction digits (more are cut), `Z`, an offset, or no zone (taken as UTC).
  /// Fails with kUsage.
  static Result<UtcTime> ParseXml(std::string_view text);
  /// xs:date, its first moment; or xs:dateTime as above.
  static Result<UtcTime> ParseXmlDate(std::string_view text);

  std::string ToXml() const;           ///< 2026-10-04T16:03:35.9967236Z, trailing zeros dropped
  std::string ToDate() const;          ///< 2026-10-04
  std::string ToMilliseconds() const;  ///< 2026-10-04T16:03:35.996Z, for logs and JSON
  std::string ToHttp() const;          ///< Sun, 04 Oct 2026 15:03:36 GMT
  std::string ToAnchor() const;        ///< 2026-10-04 16:33:26.668, as WSUS writes it in anchors

  auto operator<=>(const UtcTime&) const = default;
  UtcTime operator+(std::chrono::seconds s) const { return {ticks + s.count() * kTicksPerSecond}; }
  UtcTime operator-(std::chrono::seconds s) const { return {ticks - s.count() * kTicksPerSecond}; }
};

/// "Never" in MS-WSUSSS texts.
extern const UtcTime kNever;  // 1753-01-01T00:00:00
/// "No deadline" and the expiry of the dummy cookie of rollup calls.
extern const UtcTime kEndOfTime;  // 9999-12-31T23:59:59.9999999

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual UtcTime Now() const = 0;
};

/// The machine's clock; GAPFERRY_CLOCK (an xs:dateTime) fixes it, for reproducible bundles and
/// tests.
const Clock& SystemClock();

/// What is added to UTC for the machine's local time at a moment (TZ or /etc/localtime, as it is
/// when asked). Thread-safe.
std::chrono::seconds LocalOffset(UtcTime moment);
/// "CET"; and for people "2026-11-23 02:17 CET".
std::string LocalZoneName(UtcTime moment);
std::string LocalMinute(UtcTime moment);

class FixedClock : public Clock {
 public:
  explicit FixedClock(UtcTime now) : now_(now) {}
  UtcTime Now() const override { return now_; }
  void Set(UtcTime now) { now_ = now; }

 private:
  UtcTime now_;
};

}  // namespace gapferry
