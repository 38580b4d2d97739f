#include "mirror/catalog.h"
#include "mirror/catalog_rows.h"
#include "mirror/digest_tree.h"

// Catalog: states, anchors, subscription.

namespace gapferry::mirror {

namespace {

constexpr const char* kStateColumns =
    "SELECT g.epoch, g.generation, g.chain, g.state_digest, g.documents_digest, g.intent_digest, "
    "g.committed_at, g.kind, g.passed_on_digest, g.followed FROM generation_log g ";

PublishedState ReadState(Statement& row) {
  PublishedState state;
  state.name.epoch = row.GuidAt(0);
  state.name.generation = row.Int(1);
  state.name.chain = row.DigestAt<Sha256Digest>(2);
  state.state_digest = row.DigestAt<Sha256Digest>(3);
  state.documents_digest = row.DigestAt<Sha256Digest>(4);
  state.intent_digest = row.DigestAt<Sha256Digest>(5);
  state.committed_at = row.Time(6);
  state.kind = row.String(7);
  state.passed_on_digest = row.DigestAt<Sha256Digest>(8);
  state.followed = static_cast<IntentOrigin>(row.Int32(9));
  return state;
}

Result<std::optional<PublishedState>> ReadOneState(Statement& row) {
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<PublishedState>();
  PublishedState state = ReadState(row);
  TRY(row.Check());
  return std::optional<PublishedState>(std::move(state));
}

}  // namespace

Result<PublishedState> Catalog::Published() {
  TRY_ASSIGN(auto row, db_.Prepare(std::string(kStateColumns) +
                                   "JOIN mirror m ON m.published = g.generation"));
  TRY_ASSIGN(auto state, ReadOneState(row));
  if (!state) {
    return Fail(ErrorCode::kCorrupt, db_.path().string() + ": the published generation is missing");
  }
  return *std::move(state);
}

Result<StateKnowledge> Catalog::Knows(const StateName& name) {
  TRY_ASSIGN(const auto state, StateAt(name.generation));
  if (!state || state->name != name) return StateKnowledge::kOtherHistory;
  TRY_ASSIGN(const auto published, db_.QueryInt("SELECT published FROM mirror"));
  return published == name.generation ? StateKnowledge::kCurrent : StateKnowledge::kOlder;
}

Result<std::optional<PublishedState>> Catalog::StateAt(Generation generation) {
  TRY_ASSIGN(auto row, db_.Prepare(std::string(kStateColumns) + "WHERE g.generation = ?"));
  row.BindAll(generation);
  return ReadOneState(row);
}

Result<std::optional<PublishedState>> Catalog::StateCommittedAt(UtcTime committed_at) {
  TRY_ASSIGN(auto row, db_.Prepare(std::string(kStateColumns) + "WHERE g.committed_at = ?"));
  row.BindAll(committed_at);
  return ReadOneState(row);
}

Result<std::vector<PublishedState>> Catalog::RecentStates(int limit) {
  TRY_ASSIGN(auto rows,
             db_.Prepare(std::string(kStateColumns) + "ORDER BY g.generation DESC LIMIT ?"));
  rows.BindAll(limit);
  std::vector<PublishedState> states;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return states;
    states.push_back(ReadState(rows));
  }
}

Result<std::vector<Sha256Digest>> Catalog::DocumentBuckets() {
  return ReadBuckets(db_, Tree::kDocuments);
}

Result<std::optional<std::string>> Catalog::AnchorValue(std::string_view kind,
                                                        std::string_view filter) {
  TRY_ASSIGN(auto row, db_.Prepare("SELECT value FROM anchor WHERE kind = ? AND filter = ?"));
  row.BindAll(kind, filter);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<std::string>();
  std::string value = row.String(0);
  TRY(row.Check());
  return std::optional<std::string>(std::move(value));
}

Result<Subscription> Catalog::ReadSubscription() {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT kind, value FROM subscription ORDER BY kind, value"));
  Subscription subscription;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) return subscription;
    const std::int64_t kind = rows.Int(0);
    if (kind == 3) {
      subscription.languages.push_back(rows.String(1));
      continue;
    }
    if (kind == 4) {
      subscription.drivers = true;
      continue;
    }
    TRY_ASSIGN(const Guid guid, Guid::Parse(rows.Text(1)), "subscription");
    (kind == 1 ? subscription.products : subscription.classifications).push_back(guid);
  }
}

Result<std::optional<UpstreamRecord>> Catalog::ReadUpstream() {
  TRY_ASSIGN(
      auto row,
      db_.Prepare("SELECT url, announced_version, protocol_version, catalog_only, lazy_sync, "
                  "hosts_psf, max_updates, max_decryption, max_computer_ids, "
                  "max_driver_sets, max_hardware_ids, read_at FROM upstream"));
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<UpstreamRecord>();
  UpstreamRecord record;
  auto& config = record.config;
  record.url = row.String(0);
  record.announced_version = row.String(1);
  config.protocol_version = row.String(2);
  config.catalog_only_sync = row.Bool(3);
  config.lazy_sync = row.Bool(4);
  config.server_hosts_psf_files = row.Bool(5);
  config.max_updates_per_request = row.Int32(6);
  config.max_updates_per_decryption_request = row.Int32(7);
  config.max_computer_ids_per_request = row.Int32(8);
  config.max_driver_sets_per_request = row.Int32(9);
  config.max_pnp_hardware_ids_per_request = row.Int32(10);
  record.read_at = UtcTime{row.Int(11)};
  TRY(row.Check());
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT id, short_name, long_name, is_enabled "
                                    "FROM upstream_language ORDER BY id"));
  for (;;) {
    TRY_ASSIGN(const bool more, rows.Step());
    if (!more) return std::optional(std::move(record));
    config.languages.push_back({rows.Int32(0), rows.String(1), rows.String(2), rows.Bool(3)});
  }
}

Result<std::vector<protocol::UpdateId>> Catalog::Unknown(
    const std::vector<protocol::UpdateId>& sorted) {
  return FindUnknown(db_, Sight::kPublished, sorted);
}

Result<std::optional<std::string>> Catalog::FileUrl(const Sha1Digest& sha1) {
  TRY_ASSIGN(auto row,
             db_.Prepare("SELECT u.url FROM file_url u JOIN change c ON c.id = u.change_id "
                         "WHERE u.sha1 = ? AND c.generation IS NOT NULL "
                         "ORDER BY u.change_id DESC LIMIT 1"));
  row.BindAll(sha1);
  TRY_ASSIGN(const bool found, row.Step());
  if (!found) return std::optional<std::string>();
  std::string url = row.String(0);
  TRY(row.Check());
  return std::optional<std::string>(std::move(url));
}

}  // namespace gapferry::mirror
