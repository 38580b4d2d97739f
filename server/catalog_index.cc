#include "server/catalog_index.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/text.h"

namespace gapferry::server {

using mirror::Generation;

struct CatalogIndexBuilder::State {
  struct PendingMember {
    UpdateOrdinal update;
    std::int32_t number;
  };
  std::unordered_multimap<std::size_t, ClauseOrdinal> clauses;  // by a hash of the alternatives
  std::map<std::tuple<Sha1Digest, std::optional<Sha256Digest>, std::uint64_t>, FileOrdinal> files;
  std::map<std::string, std::uint32_t, std::less<>> extensions;
  std::map<Guid, std::uint32_t> eulas;
  Csr<PendingMember> members;      // of the added revisions
  std::size_t base_revisions = 0;  // those before the first that is added
  std::size_t base_files = 0;
};

namespace {

std::size_t HashOf(std::span<const UpdateOrdinal> alternatives) {
  std::size_t hash = alternatives.size();
  for (const UpdateOrdinal u : alternatives) hash = (hash ^ u) * 0x9E3779B97F4A7C15U;
  return hash ^ hash >> 32U;
}

}  // namespace

CatalogIndexBuilder::CatalogIndexBuilder()
    : state_(std::make_unique<State>()), index_(std::make_shared<CatalogIndex>()) {}

CatalogIndexBuilder::CatalogIndexBuilder(const CatalogIndex& base)
    : state_(std::make_unique<State>()), index_(std::make_shared<CatalogIndex>(base)) {
  state_->base_revisions = base.revisions_.size();
  state_->base_files = base.files_.size();
  state_->clauses.reserve(base.clause_updates_.size());
  for (ClauseOrdinal c = 0; c < base.clause_updates_.size(); ++c) {
    state_->clauses.emplace(HashOf(base.clause_updates_[c]), c);
  }
  for (std::uint32_t i = 0; i < base.extensions_.size(); ++i) {
    state_->extensions.emplace(base.extensions_[i], i);
  }
  for (std::uint32_t i = 0; i < base.eulas_.size(); ++i) state_->eulas.emplace(base.eulas_[i], i);
}

CatalogIndexBuilder::~CatalogIndexBuilder() = default;

UpdateOrdinal CatalogIndexBuilder::UpdateOf(const Guid& guid) {
  const auto [found, added] =
      index_->by_guid_.try_emplace(guid, static_cast<UpdateOrdinal>(index_->updates_.size()));
  if (added) index_->updates_.push_back(UpdateFacts{guid, kNone, 0});
  return found->second;
}

ClauseOrdinal CatalogIndexBuilder::ClauseOf(const mirror::Clause& clause, Generation generation) {
  std::vector<UpdateOrdinal> alternatives;
  for (const Guid& guid : clause.alternatives) alternatives.push_back(UpdateOf(guid));
  std::ranges::sort(alternatives);
  alternatives.erase(std::ranges::unique(alternatives).begin(), alternatives.end());
  for (const UpdateOrdinal u : alternatives) {
    Generation& since = index_->updates_[u].named_since;
    if (since == 0 || generation < since) since = generation;
  }
  const std::size_t hash = HashOf(alternatives);
  const auto [first, last] = state_->clauses.equal_range(hash);
  for (auto known = first; known != last; ++known) {
    if (std::ranges::equal(index_->clause_updates_[known->second], alternatives)) {
      return known->second;
    }
  }
  const auto next = static_cast<ClauseOrdinal>(index_->clause_updates_.size());
  state_->clauses.emplace(hash, next);
  index_->clause_updates_.Append(alternatives);
  return next;
}

/// kNone when the base has no such file.
FileOrdinal CatalogIndexBuilder::FindBaseFile(const mirror::DeclaredFile& file) const {
  const auto same = std::ranges::equal_range(
      index_->by_sha1_, file.sha1, {},
      [this](FileOrdinal f) -> const Sha1Digest& { return index_->files_[f].sha1; });
  for (const FileOrdinal f : same) {
    const FileFacts256& known = index_->files_[f];
    if (known.sha256 == file.sha256 && known.size_bytes == file.size_bytes) return f;
  }
  return kNone;
}

FileOrdinal CatalogIndexBuilder::FileOf(const mirror::DeclaredFile& file) {
  if (const FileOrdinal known = FindBaseFile(file); known != kNone) return known;
  const auto next = static_cast<FileOrdinal>(index_->files_.size());
  const auto [found, added] =
      state_->files.try_emplace({file.sha1, file.sha256, file.size_bytes}, next);
  if (!added) return found->second;
  const auto [extension, fresh] = state_->extensions.try_emplace(
      file.extension, static_cast<std::uint32_t>(index_->extensions_.size()));
  if (fresh) index_->extensions_.push_back(file.extension);
  index_->files_.push_back({file.sha1, file.sha256, file.size_bytes, extension->second,
                            EqualsIgnoreCase(file.patching_type, "Express")});
  return next;
}

void CatalogIndexBuilder::AddDrivers(RevisionOrdinal revision,
                                     const std::vector<protocol::DriverMetadata>& drivers) {
  for (const protocol::DriverMetadata& driver : drivers) {
    DriverFacts facts;
    facts.revision = revision;
    facts.hardware_id = ToLowerAscii(driver.hardware_id);
    facts.computer_ids = driver.target_computer_ids;
    facts.computer_ids.insert(facts.computer_ids.end(), driver.distribution_computer_ids.begin(),
                              driver.distribution_computer_ids.end());
    facts.feature_scores = driver.feature_scores;
    // xs:date: what follows the day is a time zone, or a time in documents that do not keep to it.
    const std::string day = driver.ver_date.substr(0, 10) + "T00:00:00Z";
    if (Result<UtcTime> date = UtcTime::ParseXml(day); date.has_value()) {
      facts.version_date = date->ticks;
    }
    facts.version = PackDriverVersion(driver.ver_version);
    facts.provider = driver.provider;
    facts.manufacturer = driver.manufacturer;
    facts.is_printer = EqualsIgnoreCase(driver.driver_class, kPrinterClass);
    index_->by_hardware_[facts.hardware_id].push_back(
        static_cast<std::uint32_t>(index_->drivers_.size()));
    index_->drivers_.push_back(std::move(facts));
  }
}

void CatalogIndexBuilder::Add(const mirror::RevisionRelations& relations,
                              const std::vector<protocol::DriverMetadata>& drivers) {
  const mirror::RevisionRow& row = relations.row;
  const auto ordinal = static_cast<RevisionOrdinal>(index_->revisions_.size());
  RevisionFacts facts;
  facts.id = row.id;
  facts.update = UpdateOf(row.update.guid);
  facts.number = row.update.revision;
  facts.type = row.type;
  facts.category_type = row.category_type;
  facts.is_expired = row.is_expired;
  facts.is_deployable = row.is_explicitly_deployable;
  facts.has_digest_conflict = row.has_digest_conflict;
  facts.protocol_version = PackProtocolVersion(row.compatible_protocol_version);
  facts.generation = row.generation;
  if (row.eula_id) {
    const auto [found, added] =
        state_->eulas.try_emplace(*row.eula_id, static_cast<std::uint32_t>(index_->eulas_.size()));
    if (added) index_->eulas_.push_back(*row.eula_id);
    facts.eula = found->second;
  }
  index_->revisions_.push_back(facts);

  std::vector<ClauseOrdinal> clauses;
  for (const mirror::Clause& clause : relations.prerequisites) {
    clauses.push_back(ClauseOf(clause, row.generation));
  }
  std::ranges::sort(clauses);
  clauses.erase(std::ranges::unique(clauses).begin(), clauses.end());
  index_->clauses_.Append(clauses);

  std::vector<State::PendingMember> members;
  for (const auto& group : relations.bundled) {
    for (const auto& member : group) members.push_back({UpdateOf(member.guid), member.revision});
  }
  state_->members.Append(members);

  std::vector<FileOrdinal> payloads;
  std::vector<FileOrdinal> eula_files;
  for (const mirror::DeclaredFile& file : relations.files) {
    auto& list = file.kind == mirror::FileKind::kEula ? eula_files : payloads;
    list.push_back(FileOf(file));
  }
  index_->payloads_.Append(payloads);
  index_->eula_files_.Append(eula_files);
  AddDrivers(ordinal, drivers);
}

void CatalogIndexBuilder::SetDigestConflicts(const std::vector<mirror::RevisionId>& ids) {
  for (RevisionFacts& revision : index_->revisions_) {
    revision.has_digest_conflict = std::ranges::binary_search(ids, revision.id);
  }
}

void CatalogIndexBuilder::GroupRevisions() {
  std::vector<RevisionOrdinal> order(index_->revisions_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [this](RevisionOrdinal r) {
    const RevisionFacts& facts = index_->revisions_[r];
    return std::tuple(facts.update, facts.number, r);
  });
  index_->of_update_ = {};
  auto first = order.begin();
  for (UpdateOrdinal u = 0; u < index_->updates_.size(); ++u) {
    auto last = first;
    while (last != order.end() && index_->revisions_[*last].update == u) {
      index_->revisions_[*last++].is_latest = false;
    }
    index_->of_update_.Append({first, last});
    index_->updates_[u].latest = kNone;
    if (first != last) {
      index_->updates_[u].latest = *(last - 1);
      index_->revisions_[*(last - 1)].is_latest = true;
    }
    first = last;
  }
}

/// Of the added revisions; false when one of them is what a bundle of the base lacked.
bool CatalogIndexBuilder::ResolveMembers() {
  const auto find = [this](UpdateOrdinal update, std::int32_t number) {
    const auto candidates = index_->of_update_[update];
    const auto found = std::ranges::find_if(candidates, [&](RevisionOrdinal candidate) {
      return index_->revisions_[candidate].number == number;
    });
    return found == candidates.end() ? kNone : *found;
  };
  for (const CatalogIndex::MissingMember& missing : index_->missing_members_) {
    if (find(missing.update, missing.number) != kNone) return false;
  }
  for (std::size_t i = 0; i < state_->members.size(); ++i) {
    std::vector<RevisionOrdinal> resolved;
    RevisionFacts& bundle = index_->revisions_[state_->base_revisions + i];
    for (const State::PendingMember& member : state_->members[i]) {
      const RevisionOrdinal found = find(member.update, member.number);
      if (found == kNone) {
        bundle.lacks_member = true;
        index_->missing_members_.push_back({member.update, member.number});
        continue;
      }
      resolved.push_back(found);
      Generation& since = index_->revisions_[found].bundled_since;
      if (since == 0 || bundle.generation < since) since = bundle.generation;
    }
    index_->members_.Append(resolved);
  }
  return true;
}

void CatalogIndexBuilder::OrderRevisions() {
  const std::vector<RevisionFacts>& revisions = index_->revisions_;
  std::vector<RevisionOrdinal>& order = index_->by_generation_;
  const auto old = static_cast<std::ptrdiff_t>(order.size());
  order.resize(revisions.size());
  std::iota(order.begin() + old, order.end(), static_cast<RevisionOrdinal>(old));
  // What is added has higher generations than all before.
  std::ranges::sort(order.begin() + old, order.end(), {},
                    [&](RevisionOrdinal r) { return std::pair(revisions[r].generation, r); });
  index_->categories_.clear();
  for (RevisionOrdinal r = 0; r < revisions.size(); ++r) {
    const bool is_category = revisions[r].type == mirror::UpdateType::kCategory;
    if (is_category && revisions[r].is_latest) index_->categories_.push_back(r);
  }
}

void CatalogIndexBuilder::OrderFiles() {
  std::vector<FileOrdinal>& order = index_->by_sha1_;
  const auto sha1 = [this](FileOrdinal f) -> const Sha1Digest& { return index_->files_[f].sha1; };
  const auto old = static_cast<std::ptrdiff_t>(state_->base_files);
  order.resize(index_->files_.size());
  std::iota(order.begin() + old, order.end(), static_cast<FileOrdinal>(old));
  std::ranges::sort(order.begin() + old, order.end(), {}, sha1);
  std::vector<FileOrdinal> merged;
  merged.reserve(order.size());
  std::ranges::merge(order.begin(), order.begin() + old, order.begin() + old, order.end(),
                     std::back_inserter(merged), {}, sha1, sha1);
  order = std::move(merged);
}

std::shared_ptr<const CatalogIndex> CatalogIndexBuilder::Finish() {
  index_->IndexIds();
  GroupRevisions();
  OrderRevisions();
  if (!ResolveMembers()) return nullptr;
  OrderFiles();
  index_->clause_updates_.Shrink();
  index_->clauses_.Shrink();
  index_->members_.Shrink();
  index_->payloads_.Shrink();
  index_->eula_files_.Shrink();
  index_->of_update_.Shrink();
  state_.reset();
  return std::move(index_);
}

// Ids are given one after the other, with gaps only where a mirror was restored: pages of a table
// are found faster than by search, and scans ask for thousands of ids.
void CatalogIndex::IndexIds() {
  for (RevisionOrdinal r = 0; r < revisions_.size(); ++r) {
    const auto number = static_cast<std::uint32_t>(revisions_[r].id);
    const std::size_t page = number >> kIdPageBits;
    if (page >= id_pages_.size()) id_pages_.resize(page + 1, kNone);
    if (id_pages_[page] == kNone) {
      id_pages_[page] = static_cast<std::uint32_t>(id_table_.size());
      id_table_.resize(id_table_.size() + (std::size_t{1} << kIdPageBits), kNone);
    }
    id_table_[id_pages_[page] + (number & ((1U << kIdPageBits) - 1))] = r;
  }
  id_pages_.shrink_to_fit();
  id_table_.shrink_to_fit();
}

UpdateOrdinal CatalogIndex::FindUpdate(const Guid& guid) const {
  const auto found = by_guid_.find(guid);
  return found == by_guid_.end() ? kNone : found->second;
}

RevisionOrdinal CatalogIndex::Find(const protocol::UpdateId& update) const {
  const UpdateOrdinal u = FindUpdate(update.guid);
  if (u == kNone) return kNone;
  for (const RevisionOrdinal r : of_update_[u]) {
    if (revisions_[r].number == update.revision) return r;
  }
  return kNone;
}

std::span<const std::uint32_t> CatalogIndex::DriversFor(const std::string& hardware_id) const {
  const auto found = by_hardware_.find(hardware_id);
  if (found == by_hardware_.end()) return {};
  return found->second;
}

std::span<const RevisionOrdinal> CatalogIndex::NewerThan(Generation generation) const {
  const auto first =
      std::ranges::upper_bound(by_generation_, generation, {},
                               [this](RevisionOrdinal r) { return revisions_[r].generation; });
  return {first, by_generation_.end()};
}

bool CatalogIndex::DeclaresFile(const Sha1Digest& sha1) const {
  return std::ranges::binary_search(
      by_sha1_, sha1, {}, [this](FileOrdinal f) -> const Sha1Digest& { return files_[f].sha1; });
}

bool CatalogIndex::Names(RevisionOrdinal r, UpdateOrdinal update) const {
  return std::ranges::any_of(clauses_[r], [&](ClauseOrdinal clause) {
    return std::ranges::binary_search(clause_updates_[clause], update);
  });
}

std::uint32_t PackProtocolVersion(std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, '.');
  if (parts.size() != 2) return 0;
  const auto major = ParseInt<std::uint16_t>(parts[0]);
  const auto minor = ParseInt<std::uint16_t>(parts[1]);
  if (!major || !minor) return 0;
  return static_cast<std::uint32_t>(*major) << 16 | *minor;
}

std::int64_t PackDriverVersion(std::string_view text) {
  const std::vector<std::string_view> parts = Split(text, '.');
  if (parts.size() != 4) return 0;
  std::uint64_t packed = 0;
  for (const std::string_view part : parts) {
    const auto value = ParseInt<std::uint16_t>(part);
    if (!value) return 0;
    packed = packed << 16 | *value;
  }
  return static_cast<std::int64_t>(packed);
}

}  // namespace gapferry::server
