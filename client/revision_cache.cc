#include "client/revision_cache.h"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>

#include "client/json_fields.h"

namespace gapferry::client {

using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxJournalBytes = 4ULL << 30;
constexpr std::string_view kFormat = "gapferry-client-cache/1";

std::string Line(const json& object) {
  // A peer's text is valid UTF-8 by the time it gets here; replacing is the harmless way out.
  return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json SessionToJson(const Session& session) {
  return {{"r", "session"},
          {"server", session.server},
          {"group", session.user_group},
          {"expiration", session.cookie.expiration.ToXml()},
          {"cookie", Base64Encode(session.cookie.encrypted_data)},
          {"config", session.config_last_change.ToXml()},
          {"has_config", session.has_config},
          {"registration_required", session.is_registration_required},
          {"registered_as", session.registered_as},
          {"max_extended", session.max_extended_per_request}};
}

Result<Session> SessionFromJson(const json& object) {
  Session session;
  session.server = StringOf(object, "server");
  session.user_group = StringOf(object, "group");
  TRY_ASSIGN(session.cookie.expiration, UtcTime::ParseXml(StringOf(object, "expiration")));
  TRY_ASSIGN(session.cookie.encrypted_data, Base64Decode(StringOf(object, "cookie")));
  TRY_ASSIGN(session.config_last_change, UtcTime::ParseXml(StringOf(object, "config")));
  session.has_config = BoolOf(object, "has_config");
  session.is_registration_required = BoolOf(object, "registration_required", true);
  session.registered_as = StringOf(object, "registered_as");
  session.max_extended_per_request =
      static_cast<std::int32_t>(IntegerOf(object, "max_extended", 50));
  return session;
}

json PutLine(const CachedRevision& revision) {
  return {{"r", "put"},
          {"id", revision.id},
          {"leaf", revision.is_leaf},
          {"driver", revision.is_driver},
          {"deployment", DeploymentToJson(revision.deployment)},
          {"core", revision.core_text}};
}

json ExtendedLine(const CachedRevision& revision) {
  return {{"r", "extended"},
          {"id", revision.id},
          {"extended", revision.extended_text.value_or("")},
          {"localized", revision.localized_text}};
}

}  // namespace

Result<RevisionCache> RevisionCache::Open(const std::filesystem::path& file) {
  RevisionCache cache(file);
  TRY(cache.Load(), file.string());
  return cache;
}

const CachedRevision* RevisionCache::Find(std::int32_t id) const {
  const auto it = revisions_.find(id);
  return it == revisions_.end() ? nullptr : &it->second;
}

Result<void> RevisionCache::Load() {
  if (!std::filesystem::exists(path_)) return {};
  TRY_ASSIGN(const std::string text, ReadTextFile(path_, kMaxJournalBytes));
  std::string_view rest = text;
  std::vector<std::string_view> change;
  std::size_t committed = 0;
  while (true) {
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // a torn line: never committed
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (committed == 0 && change.empty() && line.find(kFormat) == std::string_view::npos) {
      return Fail(ErrorCode::kCorrupt, fmt::format("is no '{}' file", kFormat));
    }
    change.push_back(line);
    if (line.find("{\"r\":\"commit\"}") != 0) continue;
    for (const std::string_view one : change) TRY(ApplyLine(one));
    change.clear();
    committed = text.size() - rest.size();
  }
  pending_.clear();
  file_bytes_ = committed;
  live_bytes_ = committed;
  if (committed == text.size()) return {};
  TRY_ASSIGN(File file, File::OpenUpdate(path_));
  TRY(file.Truncate(committed));
  return file.Sync();
}

Result<void> RevisionCache::ApplyLine(std::string_view line) {
  TRY_ASSIGN(const json object, ParseJsonObject(line, "a line"));
  const std::string kind = StringOf(object, "r");
  const auto id = static_cast<std::int32_t>(IntegerOf(object, "id"));
  if (kind == "put") {
    return Put(id, BoolOf(object, "leaf", true), BoolOf(object, "driver"),
               DeploymentFromJson(object.value("deployment", json::object())),
               StringOf(object, "core"));
  }
  if (kind == "change") {
    Change(id, BoolOf(object, "leaf", true),
           DeploymentFromJson(object.value("deployment", json::object())));
  } else if (kind == "extended") {
    return SetExtended(id, StringOf(object, "extended"), StringOf(object, "localized"));
  } else if (kind == "drop") {
    revisions_.erase(id);
  } else if (kind == "clear") {
    revisions_.clear();
  } else if (kind == "session") {
    TRY_ASSIGN(session_, SessionFromJson(object));
  }
  return {};
}

void RevisionCache::SetSession(Session session) {
  session_ = std::move(session);
  pending_ += Line(SessionToJson(session_));
}

Result<void> RevisionCache::Put(std::int32_t id, bool is_leaf, bool is_driver,
                                const protocol::Deployment& deployment, std::string core_text) {
  CachedRevision revision;
  revision.id = id;
  revision.is_leaf = is_leaf;
  revision.is_driver = is_driver;
  revision.deployment = deployment;
  TRY_ASSIGN(revision.core, ParseCore(core_text), fmt::format("revision {}", id));
  revision.core_text = std::move(core_text);
  pending_ += Line(PutLine(revision));
  revisions_[id] = std::move(revision);
  return {};
}

void RevisionCache::Change(std::int32_t id, bool is_leaf, const protocol::Deployment& deployment) {
  const auto it = revisions_.find(id);
  if (it == revisions_.end()) return;
  it->second.is_leaf = is_leaf;
  it->second.deployment = deployment;
  pending_ += Line({{"r", "change"},
                    {"id", id},
                    {"leaf", is_leaf},
                    {"deployment", DeploymentToJson(deployment)}});
}

Result<void> RevisionCache::SetExtended(std::int32_t id, std::string extended_text,
                                        std::string localized_text) {
  const auto it = revisions_.find(id);
  if (it == revisions_.end()) return {};
  CachedRevision& revision = it->second;
  TRY_ASSIGN(revision.extended, ParseExtended(extended_text, localized_text),
             fmt::format("revision {}", id));
  revision.extended_text = std::move(extended_text);
  revision.localized_text = std::move(localized_text);
  pending_ += Line(ExtendedLine(revision));
  return {};
}

void RevisionCache::Drop(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (revisions_.erase(id) > 0) pending_ += Line({{"r", "drop"}, {"id", id}});
  }
}

void RevisionCache::Clear() {
  revisions_.clear();
  pending_ += Line({{"r", "clear"}});
}

void RevisionCache::Renumber(std::span<const protocol::RefreshCacheResult> answers) {
  std::unordered_map<protocol::UpdateId, CachedRevision> by_identity;
  for (auto& [id, revision] : revisions_) by_identity[revision.core.id] = std::move(revision);
  Clear();
  for (const protocol::RefreshCacheResult& answer : answers) {
    const auto it = by_identity.find(answer.global_id);
    if (it == by_identity.end()) continue;
    CachedRevision revision = std::move(it->second);
    by_identity.erase(it);
    revision.id = answer.revision_id;
    revision.is_leaf = answer.is_leaf;
    if (answer.deployment) revision.deployment = *answer.deployment;
    pending_ += Line(PutLine(revision));
    if (revision.extended_text) pending_ += Line(ExtendedLine(revision));
    revisions_[answer.revision_id] = std::move(revision);
  }
}

Result<void> RevisionCache::Commit() {
  if (pending_.empty()) return {};
  if (file_bytes_ == 0 || file_bytes_ + pending_.size() > 4 * live_bytes_ + (4 << 20)) {
    return Rewrite();
  }
  pending_ += Line({{"r", "commit"}});
  TRY_ASSIGN(File file, File::OpenUpdate(path_));
  TRY(file.WriteAllAt(file_bytes_, AsBytes(pending_)));
  TRY(file.Sync());
  file_bytes_ += pending_.size();
  pending_.clear();
  return file.Close();
}

Result<void> RevisionCache::Rewrite() {
  TRY_ASSIGN(AtomicFile file, AtomicFile::Create(path_, 0600));
  std::uint64_t written = 0;
  const auto write = [&](const json& object) -> Result<void> {
    const std::string line = Line(object);
    written += line.size();
    return file.file().WriteAll(AsBytes(line));
  };
  TRY(write({{"r", "format"}, {"format", kFormat}}));
  TRY(write(SessionToJson(session_)));
  for (const auto& [id, revision] : revisions_) {
    TRY(write(PutLine(revision)));
    if (revision.extended_text) TRY(write(ExtendedLine(revision)));
  }
  TRY(write({{"r", "commit"}}));
  TRY(file.Commit());
  file_bytes_ = written;
  live_bytes_ = written;
  pending_.clear();
  return {};
}

}  // namespace gapferry::client
