#include "client/scan.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <unordered_set>

#include "client/evaluation.h"

namespace gapferry::client {

namespace {

using protocol::DeploymentAction;
using protocol::SyncInfo;
using protocol::SyncUpdatesParameters;
using protocol::UpdateInfo;
using protocol::UpdateType;

constexpr std::int32_t kSomeDriverRank = 0x00FF2000;

std::set<Guid> InstalledOf(ClientState& state, const Facts& facts) {
  std::set<Guid> installed = state.installed_updates();
  installed.insert(facts.installed_updates.begin(), facts.installed_updates.end());
  return installed;
}

bool IsApproved(DeploymentAction action) {
  return action == DeploymentAction::kInstall || action == DeploymentAction::kOptionalInstall;
}

// What is deployed for its own sake, not as a dependency or a member.
bool IsTopLevel(const CachedRevision& revision) {
  const DeploymentAction action = revision.deployment.action;
  const bool is_update =
      revision.core.type == UpdateType::kSoftware || revision.core.type == UpdateType::kDriver;
  return is_update && action != DeploymentAction::kEvaluate && action != DeploymentAction::kBundle;
}

std::string TakeText(std::optional<protocol::TextValue>& value) {
  if (!value) return {};
  auto* plain = std::get_if<protocol::PlainText>(&*value);
  return plain == nullptr ? std::string() : std::move(plain->text);
}

// One scan; each pass leaves the cache committed.
class Scanner {
 public:
  Scanner(WuspSession& session, ClientState& state, const Facts& facts, const ScanOptions& options)
      : session_(session),
        state_(state),
        facts_(facts),
        options_(options),
        installed_(InstalledOf(state, facts)) {}

  // Software passes: stop after an answer that is complete and unlocked nothing (7.3.4).
  Result<void> SoftwarePasses(Progress& progress) {
    for (bool more = true; more;) {
      if (result_.round_trips >= options_.max_round_trips) {
        return Fail(ErrorCode::kCorrupt, "too-many-round-trips",
                    fmt::format("the server did not come to an end within {} round trips",
                                options_.max_round_trips));
      }
      ++result_.round_trips;
      TRY_ASSIGN(SyncInfo info, session_.SyncUpdates([this] { return SoftwareParameters(); }));
      progress.Advance(info.new_updates.size(), 0);
      if (info.truncated && info.new_updates.empty() && info.out_of_scope_revision_ids.empty() &&
          info.changed_updates.empty()) {
        return Fail(ErrorCode::kCorrupt, "SyncUpdates: a truncated answer brought nothing");
      }
      TRY_ASSIGN(const bool unlocked, Apply(info, /*is_driver=*/false));
      more = info.truncated || unlocked;
    }
    return {};
  }

  Result<void> DriverPass() {
    ++result_.round_trips;
    TRY_ASSIGN(SyncInfo info, session_.SyncUpdates([this] { return DriverParameters(); }));
    // Agents do not say which drivers they know: each answer is the whole list.
    std::set<std::int32_t> named;
    for (const UpdateInfo& update : info.new_updates) named.insert(update.id);
    for (const auto& [id, revision] : state_.cache().revisions()) {
      if (revision.is_driver && !named.contains(id)) info.out_of_scope_revision_ids.push_back(id);
    }
    TRY(Apply(info, /*is_driver=*/true));
    return {};
  }

  ScanResult& result() { return result_; }

 private:
  void InstalledNonLeaves(std::vector<std::int32_t>& installed, std::vector<std::int32_t>& other) {
    Evaluator evaluator(state_.cache(), facts_, installed_);
    for (const auto& [id, revision] : state_.cache().revisions()) {
      if (revision.is_driver) continue;
      const bool counts = !revision.is_leaf && evaluator.Of(id).state == Applicability::kInstalled;
      (counts ? installed : other).push_back(id);
    }
  }

  SyncUpdatesParameters SoftwareParameters() {
    SyncUpdatesParameters parameters;
    InstalledNonLeaves(parameters.installed_non_leaf_update_ids,
                       parameters.other_cached_update_ids);
    parameters.need_two_group_out_of_scope_updates = true;
    parameters.also_perform_regular_sync = false;
    parameters.computer_spec.emplace();
    parameters.products_parameters.emplace();
    parameters.products_parameters->device_attributes = DeviceAttributesOf(facts_, {});
    parameters.products_parameters->caller_attributes =
        "Interactive=0;SheddingAware=1;Id=gapferry;";
    return parameters;
  }

  SyncUpdatesParameters DriverParameters() {
    SyncUpdatesParameters parameters = SoftwareParameters();
    parameters.other_cached_update_ids.clear();
    parameters.skip_software_sync = true;
    std::string key = facts_.architecture;
    std::ranges::transform(key, key.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    });
    parameters.feature_score_matching_key =
        fmt::format("{}.{}.{}", key, facts_.os_version.part[0], facts_.os_version.part[1]);
    for (const auto& [hardware_id, version] : facts_.drivers) {
      protocol::Device device;
      device.hardware_ids = {hardware_id};
      device.installed_driver.emplace();
      // The year 1: facts know no dates, so the server offers by version and we decide.
      device.installed_driver->driver_ver_date = {-621'355'968'000'000'000};
      if (version) {
        device.installed_driver->matching_id = hardware_id;
        device.installed_driver->driver_rank = kSomeDriverRank;
        for (const std::uint32_t part : version->part) {
          device.installed_driver->driver_ver_version =
              (device.installed_driver->driver_ver_version << 16) | (part & 0xFFFF);
        }
      }
      parameters.system_spec.push_back(std::move(device));
    }
    return parameters;
  }

  // True when the answer contained a revision that can unlock others.
  Result<bool> Apply(SyncInfo& info, bool is_driver) {
    RevisionCache& cache = state_.cache();
    bool unlocked = false;
    for (UpdateInfo& update : info.new_updates) {
      if (!update.deployment) {
        return Fail(ErrorCode::kCorrupt,
                    fmt::format("SyncUpdates: revision {} has no deployment", update.id));
      }
      std::string core = TakeText(update.xml);
      const CachedRevision* known = cache.Find(update.id);
      if (known != nullptr && known->core_text == core) {  // a driver that is told once more
        cache.Change(update.id, update.is_leaf, *update.deployment);
        continue;
      }
      ++result_.new_revisions;
      TRY(cache.Put(update.id, update.is_leaf, is_driver, *update.deployment, std::move(core)),
          "SyncUpdates");
      unlocked = unlocked || !update.is_leaf;
    }
    for (const UpdateInfo& update : info.changed_updates) {
      const CachedRevision* known = cache.Find(update.id);
      if (known == nullptr) continue;
      unlocked = unlocked || (known->is_leaf && !update.is_leaf);
      cache.Change(update.id, update.is_leaf, update.deployment.value_or(known->deployment));
    }
    cache.Drop(info.out_of_scope_revision_ids);
    result_.changed_revisions += info.changed_updates.size();
    result_.dropped_revisions += info.out_of_scope_revision_ids.size();
    if (info.new_cookie) {
      Session session = cache.session();
      session.cookie = *info.new_cookie;
      cache.SetSession(std::move(session));
    }
    TRY(cache.Commit());
    return unlocked;
  }

  WuspSession& session_;
  ClientState& state_;
  const Facts& facts_;
  const ScanOptions& options_;
  const std::set<Guid> installed_;
  ScanResult result_;
};

// Asks in batches for what the server says about `ids`; locations by SHA-1.
Result<std::unordered_map<Sha1Digest, std::string>> FetchExtended(
    WuspSession& session, RevisionCache& cache, const std::vector<std::int32_t>& ids) {
  std::unordered_map<Sha1Digest, std::string> locations;
  // Identities survive a renumbering in the midst of it, ids do not.
  std::vector<protocol::UpdateId> wanted;
  for (const std::int32_t id : ids) wanted.push_back(cache.Find(id)->core.id);
  const auto batch_size = static_cast<std::size_t>(session.max_extended_per_request());
  for (std::size_t at = 0; at < wanted.size(); at += batch_size) {
    const auto first = wanted.begin() + static_cast<std::ptrdiff_t>(at);
    const std::unordered_set<protocol::UpdateId> batch(
        first, first + static_cast<std::ptrdiff_t>(std::min(batch_size, wanted.size() - at)));
    TRY_ASSIGN(auto answer, session.GetExtendedUpdateInfo([&] {
      std::vector<std::int32_t> now;
      for (const auto& [id, revision] : cache.revisions()) {
        if (batch.contains(revision.core.id)) now.push_back(id);
      }
      return now;
    }));
    // An id occurs once per kind; which kind it is, its first element tells.
    std::map<std::int32_t, std::pair<std::string, std::string>> texts;
    for (protocol::UpdateFragment& fragment : answer.updates) {
      auto* plain = std::get_if<protocol::PlainText>(&fragment.xml);
      if (plain == nullptr) continue;
      const bool localized = plain->text.starts_with("<LocalizedProperties");
      auto& slot = texts[fragment.id];
      (localized ? slot.second : slot.first) = std::move(plain->text);
    }
    for (auto& [id, pair] : texts) {
      TRY(cache.SetExtended(id, std::move(pair.first), std::move(pair.second)),
          "GetExtendedUpdateInfo");
    }
    cache.Drop(answer.out_of_scope_revision_ids);
    for (protocol::FileLocation& location : answer.file_locations) {
      locations[location.file_digest] = std::move(location.url);
    }
    TRY(cache.Commit());
  }
  return locations;
}

// Updates that an applicable, approved update replaces, with the one that does.
std::unordered_map<Guid, Guid> Superseded(const RevisionCache& cache, Evaluator& evaluator) {
  std::unordered_map<Guid, Guid> superseded;
  for (const auto& [id, revision] : cache.revisions()) {
    if (revision.core.superseded.empty() || !IsTopLevel(revision)) continue;
    const Applicability state = evaluator.Of(id).state;
    const bool hides =
        state == Applicability::kInstalled ||
        (state == Applicability::kInstallable && IsApproved(revision.deployment.action));
    if (!hides) continue;
    for (const Guid& guid : revision.core.superseded)
      superseded.emplace(guid, revision.core.id.guid);
  }
  return superseded;
}

std::string Join(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// Why a deployed update is not offered; empty reason: it is.
NotOffered Reason(const CachedRevision& revision, const Verdict& verdict,
                  const std::unordered_map<Guid, Guid>& superseded) {
  NotOffered other{revision.core.id, revision.extended.title, {}, {}};
  const bool is_installed = verdict.state == Applicability::kInstalled;
  const DeploymentAction action = revision.deployment.action;
  if (action == DeploymentAction::kUninstall) {
    if (!is_installed) other.reason = "not-installed";
  } else if (action == DeploymentAction::kBlock) {
    other.reason = "blocked";
  } else if (is_installed) {
    other.reason = "installed";
  } else if (!verdict.unknown_operators.empty()) {
    other.reason = "unknown-rule";
    other.detail = "rules this client does not know: " + Join(verdict.unknown_operators);
  } else if (verdict.is_superseded) {
    other.reason = "superseded";
    other.detail = "something newer is installed";
  } else if (verdict.state == Applicability::kNotApplicable) {
    other.reason = "not-applicable";
  } else if (!IsApproved(action)) {
    other.reason = "not-approved";
  } else if (const auto by = superseded.find(revision.core.id.guid); by != superseded.end()) {
    other.reason = "superseded";
    other.detail = "by " + by->second.ToString();
  }
  return other;
}

void AddFiles(OfferedUpdate& update, const RevisionCache& cache, Evaluator& evaluator,
              const std::unordered_map<Sha1Digest, std::string>& locations) {
  if (update.action == DeploymentAction::kUninstall) return;
  std::unordered_set<Sha1Digest> seen;
  update.files.clear();
  update.bytes = 0;
  for (const std::int32_t id : evaluator.ContentRevisions(update.revision_id)) {
    for (const protocol::UpdateFile& file : cache.Find(id)->extended.files) {
      if (!seen.insert(file.sha1).second) continue;
      const auto url = locations.find(file.sha1);
      update.files.push_back({file, url == locations.end() ? std::string() : url->second});
      update.bytes += file.size;
    }
  }
}

}  // namespace

ScanResult Judge(ClientState& state, const Facts& facts) {
  ScanResult result;
  const RevisionCache& cache = state.cache();
  const std::set<Guid> installed = InstalledOf(state, facts);
  Evaluator evaluator(cache, facts, installed);
  const auto superseded = Superseded(cache, evaluator);
  for (const auto& [id, revision] : cache.revisions()) {
    const Verdict& verdict = evaluator.Of(id);
    result.unknown_operators.insert(verdict.unknown_operators.begin(),
                                    verdict.unknown_operators.end());
    if (!IsTopLevel(revision)) continue;
    if (revision.is_leaf && revision.core.type == UpdateType::kSoftware) {
      if (verdict.state == Applicability::kInstallable)
        result.needed.push_back(revision.core.id.guid);
      if (verdict.state == Applicability::kInstalled)
        result.installed.push_back(revision.core.id.guid);
    }
    NotOffered other = Reason(revision, verdict, superseded);
    if (!other.reason.empty()) {
      result.not_offered.push_back(std::move(other));
      continue;
    }
    OfferedUpdate update;
    update.revision_id = id;
    update.id = revision.core.id;
    update.title = revision.extended.title;
    update.action = revision.deployment.action;
    update.deadline = revision.deployment.deadline;
    update.is_bundle = !revision.core.bundled.empty();
    AddFiles(update, cache, evaluator, {});
    result.offered.push_back(std::move(update));
  }
  // Ids differ from server to server; identities give one order everywhere.
  std::ranges::sort(result.offered, {}, &OfferedUpdate::id);
  std::ranges::sort(result.not_offered, {}, &NotOffered::id);
  std::ranges::sort(result.needed);
  std::ranges::sort(result.installed);
  result.revisions_cached = cache.revisions().size();
  return result;
}

Result<void> Locate(WuspSession& session, ClientState& state, const Facts& facts,
                    std::vector<OfferedUpdate>& updates) {
  const RevisionCache& cache = state.cache();
  const std::set<Guid> installed = InstalledOf(state, facts);
  std::set<std::int32_t> wanted;
  {
    Evaluator evaluator(cache, facts, installed);
    for (const OfferedUpdate& update : updates) {
      if (cache.Find(update.revision_id) == nullptr) continue;
      const auto revisions = evaluator.ContentRevisions(update.revision_id);
      wanted.insert(revisions.begin(), revisions.end());
    }
  }
  TRY_ASSIGN(const auto locations,
             FetchExtended(session, state.cache(), {wanted.begin(), wanted.end()}));
  Evaluator evaluator(cache, facts, installed);
  std::unordered_map<protocol::UpdateId, std::int32_t> ids;
  for (const auto& [id, revision] : cache.revisions()) ids[revision.core.id] = id;
  for (OfferedUpdate& update : updates) {
    const auto id = ids.find(update.id);
    if (id == ids.end()) continue;  // went out of scope meanwhile: nothing is located
    update.revision_id = id->second;
    update.title = cache.Find(id->second)->extended.title;
    AddFiles(update, cache, evaluator, locations);
  }
  return {};
}

Result<ScanResult> Scan(WuspSession& session, ClientState& state, const Facts& facts,
                        const Clock& clock, Progress& progress, const ScanOptions& options) {
  Scanner scanner(session, state, facts, options);
  progress.Begin("scanning", 0, 0);
  TRY(scanner.SoftwarePasses(progress));
  if (options.with_drivers) TRY(scanner.DriverPass());
  progress.End();

  ScanResult result = Judge(state, facts);
  TRY(Locate(session, state, facts, result.offered));
  std::vector<std::int32_t> untitled;
  for (const auto& [id, revision] : state.cache().revisions()) {
    if (IsTopLevel(revision) && !revision.extended_text) untitled.push_back(id);
  }
  TRY(FetchExtended(session, state.cache(), untitled));
  std::unordered_map<protocol::UpdateId, std::string> titles;
  for (const auto& [id, revision] : state.cache().revisions()) {
    titles[revision.core.id] = revision.extended.title;
  }
  for (NotOffered& other : result.not_offered) other.title = titles[other.id];

  const ScanResult& counted = scanner.result();
  result.round_trips = counted.round_trips;
  result.new_revisions = counted.new_revisions;
  result.changed_revisions = counted.changed_revisions;
  result.dropped_revisions = counted.dropped_revisions;
  result.revisions_cached = state.cache().revisions().size();
  state.last_scan() = clock.Now();
  TRY(state.Save());
  return result;
}

}  // namespace gapferry::client
