#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/guid.h"
#include "base/result.h"

namespace gapferry::protocol {

/// The identity of a revision: an update's GUID and a revision number. Ordered by GUID, then
/// number, so the newest revision of an update is the last of its group. Revision numbers are
/// comparable but not contiguous.
struct UpdateId {
  Guid guid;
  std::int32_t revision = 0;

  /// "guid/revision". Fails with kUsage when the text is anything else, a revision below 0
  /// included.
  static Result<UpdateId> Parse(std::string_view text);

  std::string ToString() const;  ///< "c0ffee00-…/200", lower case

  auto operator<=>(const UpdateId&) const = default;
};

/// What a person types: "guid/revision" or just "guid" (then `revision` is empty: the newest).
struct UpdateIdArgument {
  Guid guid;
  std::optional<std::int32_t> revision;

  static Result<UpdateIdArgument> Parse(std::string_view text);
};

}  // namespace gapferry::protocol

template <>
struct std::hash<gapferry::protocol::UpdateId> {
  std::size_t operator()(const gapferry::protocol::UpdateId& id) const noexcept {
    return std::hash<gapferry::Guid>()(id.guid) ^
           (static_cast<std::size_t>(static_cast<std::uint32_t>(id.revision)) *
            0x9E3779B97F4A7C15ULL);
  }
};
