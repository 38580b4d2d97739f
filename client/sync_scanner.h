#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "protocol/common_messages.h"

namespace gapferry::client {

/// The little of a SyncUpdates answer that a walk needs.
struct SyncOutline {
  struct Update {
    std::int32_t id = 0;
    bool is_leaf = true;
  };
  std::vector<Update> fresh;
  std::size_t changed = 0;
  std::vector<std::int32_t> out_of_scope;
  bool truncated = false;
  protocol::Cookie cookie;
};

/// Reads it by looking for the tags, without building anything: for load tests, where the reader
/// must cost less than the server. Elements are taken without prefix, as update servers write them;
/// fragments inside are escaped and so hold no tags. Fails with kCorrupt when a part is missing.
Result<SyncOutline> ScanSyncAnswer(std::string_view body);

/// The ErrorCode of a fault; empty when the body is none.
std::string_view FaultCodeIn(std::string_view body);

}  // namespace gapferry::client
