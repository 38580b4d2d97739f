#include "client/sync_scanner.h"

#include <fmt/core.h>

#include <optional>

#include "base/text.h"

namespace gapferry::client {

namespace {

// The text between <name> and </name>, from `at` on, which moves behind it.
std::optional<std::string_view> Next(std::string_view body, std::string_view name,
                                     std::size_t& at) {
  const std::string open = fmt::format("<{}>", name);
  const std::size_t begin = body.find(open, at);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t first = begin + open.size();
  const std::size_t end = body.find(fmt::format("</{}>", name), first);
  if (end == std::string_view::npos) return std::nullopt;
  at = end;
  return body.substr(first, end - first);
}

std::optional<std::string_view> First(std::string_view body, std::string_view name) {
  std::size_t at = 0;
  return Next(body, name, at);
}

std::unexpected<Error> Missing(std::string_view what) {
  return Fail(ErrorCode::kCorrupt, fmt::format("SyncUpdates: the answer lacks {}", what));
}

}  // namespace

Result<SyncOutline> ScanSyncAnswer(std::string_view body) {
  SyncOutline outline;
  const std::string_view fresh = First(body, "NewUpdates").value_or("");
  std::size_t at = 0;
  while (const auto info = Next(fresh, "UpdateInfo", at)) {
    // ID stands first; Deployment has one of its own.
    const auto id = ParseInt<std::int32_t>(First(*info, "ID").value_or(""));
    const auto leaf = First(*info, "IsLeaf");
    if (!id || !leaf) return Missing("an ID or IsLeaf");
    outline.fresh.push_back({*id, *leaf == "true" || *leaf == "1"});
  }
  const std::string_view changed = First(body, "ChangedUpdates").value_or("");
  for (at = 0; Next(changed, "UpdateInfo", at);) ++outline.changed;
  const std::string_view gone = First(body, "OutOfScopeRevisionIDs").value_or("");
  at = 0;
  while (const auto number = Next(gone, "int", at)) {
    if (const auto id = ParseInt<std::int32_t>(*number)) outline.out_of_scope.push_back(*id);
  }
  const auto truncated = First(body, "Truncated");
  const auto cookie = First(body, "NewCookie");
  if (!truncated || !cookie) return Missing("Truncated or NewCookie");
  outline.truncated = *truncated == "true" || *truncated == "1";
  TRY_ASSIGN(outline.cookie.expiration,
             UtcTime::ParseXml(First(*cookie, "Expiration").value_or("")));
  TRY_ASSIGN(outline.cookie.encrypted_data,
             Base64Decode(First(*cookie, "EncryptedData").value_or("")));
  return outline;
}

std::string_view FaultCodeIn(std::string_view body) {
  return First(body, "ErrorCode").value_or("");
}

}  // namespace gapferry::client
