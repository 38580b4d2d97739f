#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/guarded.h"
#include "base/result.h"
#include "mirror/activity.h"

namespace gapferry::server {

/// Which computers are registered, for the many calls of one scan. What activity.db said is
/// believed for 250 ms, so what another process removes is seen as soon as everything else is
/// (UpdateServer); that a computer is not registered is asked for each time. At most 20,000
/// computers are kept. Thread-safe.
class RegisteredComputers {
 public:
  /// When the computer completed its last scan (kNever: not yet); nothing when it is not
  /// registered.
  Result<std::optional<UtcTime>> LastScan(mirror::Activity& activity,
                                          const std::string& computer_id) {
    const auto now = std::chrono::steady_clock::now();
    {
      auto known = known_.Lock();
      const auto found = known->find(computer_id);
      if (found != known->end() && found->second.until > now) {
        return std::optional<UtcTime>(found->second.last_scan);
      }
    }
    TRY_ASSIGN(const std::optional<UtcTime> last_scan, activity.LastScan(computer_id));
    auto known = known_.Lock();
    if (!last_scan) {
      known->erase(computer_id);
      return last_scan;
    }
    if (known->size() >= kMost) known->clear();
    (*known)[computer_id] = {*last_scan, now + kBelieved};
    return last_scan;
  }

 private:
  static constexpr std::size_t kMost = 20'000;
  static constexpr std::chrono::milliseconds kBelieved{250};
  struct Known {
    UtcTime last_scan;
    std::chrono::steady_clock::time_point until;
  };
  Guarded<std::unordered_map<std::string, Known>> known_;
};

}  // namespace gapferry::server
