#include "server/sync_anchor.h"

#include "base/text.h"

namespace gapferry::server {

std::string SyncAnchor::ToString() const {
  return std::to_string(generation) + "," + committed_at.ToAnchor();
}

std::optional<SyncAnchor> SyncAnchor::Parse(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const auto generation = ParseInt<mirror::Generation>(text.substr(0, comma));
  std::string time(text.substr(comma + 1));
  constexpr std::size_t kTimeBytes = 23;  // 2026-10-04 16:33:26.668
  if (!generation || *generation < 0 || time.size() != kTimeBytes || time[10] != ' ') {
    return std::nullopt;
  }
  time[10] = 'T';
  const Result<UtcTime> committed_at = UtcTime::ParseXml(time);
  if (!committed_at.has_value()) return std::nullopt;
  return SyncAnchor{*generation, *committed_at};
}

}  // namespace gapferry::server
