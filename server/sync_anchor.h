#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "mirror/state.h"

namespace gapferry::server {

/// An anchor of the Server Sync service in the shape Windows writes: "17,2026-10-04 16:33:26.668":
/// generation and its commit time, which is unique in the history of a mirror.
struct SyncAnchor {
  mirror::Generation generation = 0;
  UtcTime committed_at;

  std::string ToString() const;
  /// nullopt for any other shape.
  static std::optional<SyncAnchor> Parse(std::string_view text);
};

/// Whether it is an anchor as the vendor's own service gives them: a bare time.
bool IsVendorAnchor(std::string_view text);

}  // namespace gapferry::server
