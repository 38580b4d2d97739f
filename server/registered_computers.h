#pragma once

#include <chrono>
#include <string>
#include <unordered_map>

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
  Result<bool> IsRegistered(mirror::Activity& activity, const std::string& computer_id) {
    const auto now = std::chrono::steady_clock::now();
    {
      auto believed = believed_until_.Lock();
      const auto found = believed->find(computer_id);
      if (found != believed->end() && found->second > now) return true;
    }
    TRY_ASSIGN(const auto last_scan, activity.LastScan(computer_id));
    auto believed = believed_until_.Lock();
    if (!last_scan) {
      believed->erase(computer_id);
      return false;
    }
    if (believed->size() >= kMost) believed->clear();
    (*believed)[computer_id] = now + kBelieved;
    return true;
  }

 private:
  static constexpr std::size_t kMost = 20'000;
  static constexpr std::chrono::milliseconds kBelieved{250};
  Guarded<std::unordered_map<std::string, std::chrono::steady_clock::time_point>> believed_until_;
};

}  // namespace gapferry::server
