#include "client/scan.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/text.h"
#include "client/evaluation.h"
#include "client/scan_parts.h"

namespace gapferry::client {

namespace {

using protocol::SyncInfo;
using protocol::SyncUpdatesParameters;
using protocol::UpdateInfo;

constexpr std::int32_t kSomeDriverRank = 0x00FF2000;

std::string TakeText(std::optional<protocol::TextValue>& value) {
  if (!value) return {};
  auto* plain = std::get_if<protocol::PlainText>(&*value);
  return plain == nullptr ? std::string() : std::move(plain->text);
}

// As an agent describes a device; one without a driver has rank -1 and the year 1.
protocol::Device DeviceOf(const DeviceFact& fact) {
  protocol::Device device;
  device.hardware_ids = fact.hardware_ids;
  device.compatible_ids = fact.compatible_ids;
  protocol::InstalledDriver& installed = device.installed_driver.emplace();
  installed.driver_ver_date = {-621'355'968'000'000'000};
  if (!fact.device_class.empty()) installed.device_class = fact.device_class;
  if (!fact.driver) return device;
  const DriverFact& driver = *fact.driver;
  // Without a date the server goes by the version, as everything is later than the year 1, and the
  // driver's own rules decide here.
  if (driver.date) installed.driver_ver_date = *driver.date;
  for (const std::uint32_t part : driver.version.part) {
    installed.driver_ver_version = (installed.driver_ver_version << 16) | (part & 0xFFFF);
  }
  installed.matching_id = driver.matching_id;
  installed.driver_rank = driver.rank.value_or(kSomeDriverRank);
  installed.matching_computer_hwid = driver.matching_computer_id;
  if (!driver.provider.empty()) installed.provider = driver.provider;
  if (!driver.manufacturer.empty()) installed.manufacturer = driver.manufacturer;
  if (!driver.model.empty()) installed.model = driver.model;
  return device;
}

// One scan; each pass leaves the cache committed.
class Scanner {
 public:
  Scanner(WuspSession& session, ClientState& state, const Facts& facts, const ScanOptions& options)
      : session_(session),
        state_(state),
        facts_(facts),
        options_(options),
        history_(HistoryOf(state, facts)),
        categories_(options.categories) {}

  // Asks which categories to filter by; false when the server knows none of them.
  Result<bool> StartCategories() {
    TRY_ASSIGN(protocol::StartCategoryScanResponse answer, session_.StartCategoryScan(categories_));
    categories_ = std::move(answer.preferred_category_ids);
    result_.unknown_categories = std::move(answer.requested_category_ids_in_error);
    return !categories_.empty();
  }

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
    Evaluator evaluator(state_.cache(), facts_, history_);
    for (const auto& [id, revision] : state_.cache().revisions()) {
      if (revision.is_driver) continue;
      const bool counts =
          !revision.is_leaf &&
          (options_.assume_installed || evaluator.Of(id).state == Applicability::kInstalled);
      (counts ? installed : other).push_back(id);
    }
  }

  SyncUpdatesParameters SoftwareParameters() {
    SyncUpdatesParameters parameters;
    InstalledNonLeaves(parameters.installed_non_leaf_update_ids,
                       parameters.other_cached_update_ids);
    parameters.filter_category_ids = categories_;
    parameters.need_two_group_out_of_scope_updates = true;
    parameters.also_perform_regular_sync = false;
    parameters.computer_spec.emplace();
    parameters.products_parameters.emplace();
    parameters.products_parameters->device_attributes = DeviceAttributesOf(facts_, {});
    parameters.products_parameters->caller_attributes =
        "Interactive=0;SheddingAware=1;Id=gapferry;";
    // Ours: a server of this program does not ask a computer to register that only counts.
    if (!session_.may_register()) {
      parameters.products_parameters->caller_attributes += "Survey=1;";
    }
    return parameters;
  }

  SyncUpdatesParameters DriverParameters() {
    SyncUpdatesParameters parameters = SoftwareParameters();
    parameters.other_cached_update_ids.clear();
    parameters.filter_category_ids.clear();
    parameters.skip_software_sync = true;
    parameters.computer_spec = facts_.computer_ids;
    parameters.feature_score_matching_key =
        fmt::format("{}.{}.{}", ToUpperAscii(facts_.architecture), facts_.os_version.part[0],
                    facts_.os_version.part[1]);
    for (const DeviceFact& fact : facts_.devices) parameters.system_spec.push_back(DeviceOf(fact));
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
  const History history_;
  std::vector<Guid> categories_;  // that the server wants to be asked by
  ScanResult result_;
};

}  // namespace

// Titles, files and locations.
static Result<void> Describe(WuspSession& session, ClientState& state, const Facts& facts,
                             ScanResult& result) {
  TRY(Locate(session, state, facts, result.offered));
  std::vector<std::int32_t> untitled;
  for (const auto& [id, revision] : state.cache().revisions()) {
    if (IsTopLevel(revision) && !revision.extended_text) untitled.push_back(id);
  }
  TRY(FetchTitles(session, state.cache(), untitled));
  std::unordered_map<protocol::UpdateId, std::string> titles;
  for (const auto& [id, revision] : state.cache().revisions()) {
    titles[revision.core.id] = revision.extended.title;
  }
  for (NotOffered& other : result.not_offered) other.title = titles[other.id];
  return {};
}

Result<ScanResult> Scan(WuspSession& session, ClientState& state, const Facts& facts,
                        const Clock& clock, Progress& progress, const ScanOptions& options) {
  Scanner scanner(session, state, facts, options);
  progress.Begin("scanning", 0, 0);
  const bool by_category = !options.categories.empty();
  bool has_categories = true;
  if (by_category) {
    TRY_ASSIGN(has_categories, scanner.StartCategories());
  }
  if (has_categories) TRY(scanner.SoftwarePasses(progress));
  if (options.with_drivers && !by_category) TRY(scanner.DriverPass());
  progress.End();

  ScanResult result = Judge(state, facts);
  if (options.with_extended) TRY(Describe(session, state, facts, result));
  ScanResult& counted = scanner.result();
  result.round_trips = counted.round_trips;
  result.new_revisions = counted.new_revisions;
  result.changed_revisions = counted.changed_revisions;
  result.dropped_revisions = counted.dropped_revisions;
  result.unknown_categories = std::move(counted.unknown_categories);
  result.revisions_cached = state.cache().revisions().size();
  state.last_scan() = clock.Now();
  TRY(state.Save());
  return result;
}

}  // namespace gapferry::client
