#include "server/sync_anchor.h"

#include "base/text.h"

namespace gapferry::server {

namespace {

/// "2026-10-04 16:33:26.668"
std::optional<UtcTime> ParseAnchorTime(std::string_view text) {
  constexpr std::size_t kTimeBytes = 23;
  constexpr std::size_t kBlankAt = 10;
  std::string time(text);
  if (time.size() != kTimeBytes || time[kBlankAt] != ' ') return std::nullopt;
  time[kBlankAt] = 'T';
  const Result<UtcTime> parsed = UtcTime::ParseXml(time);
  if (!parsed.has_value()) return std::nullopt;
  return *parsed;
}

}  // namespace

std::string SyncAnchor::ToString() const {
  return std::to_string(generation) + "," + committed_at.ToAnchor();
}

std::optional<SyncAnchor> SyncAnchor::Parse(std::string_view text) {
  const std::size_t comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  const auto generation = ParseInt<mirror::Generation>(text.substr(0, comma));
  const auto committed_at = ParseAnchorTime(text.substr(comma + 1));
  if (!generation || *generation < 0 || !committed_at) return std::nullopt;
  return SyncAnchor{*generation, *committed_at};
}

bool IsVendorAnchor(std::string_view text) { return ParseAnchorTime(text).has_value(); }

}  // namespace gapferry::server
