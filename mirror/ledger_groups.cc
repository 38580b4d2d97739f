// Ledger: groups of sites, and for whom a bundle is.
#include <algorithm>

#include "base/canonical_json.h"
#include "base/text.h"
#include "mirror/ledger.h"
#include "mirror/row_reading.h"

namespace gapferry::mirror {
namespace {

SiteGroup ReadGroup(Statement& row) {
  SiteGroup group;
  group.guid = row.GuidAt(0);
  group.stream = row.String(1);
  group.name = row.String(2);
  group.last_sequence = static_cast<std::uint64_t>(row.Int(3));
  group.last_manifest = row.OptionalDigest<Sha256Digest>(4).value_or(Sha256Digest{});
  return group;
}

template <class Named>
const Named* FindNamed(const std::vector<Named>& all, std::string_view text) {
  const auto guid = Guid::Parse(text);
  for (const Named& one : all) {
    if (one.stream == text || (guid && one.guid == *guid)) return &one;
  }
  for (const Named& one : all) {
    if (EqualsIgnoreCase(one.name, text)) return &one;
  }
  return nullptr;
}

std::string Streams(const std::vector<SiteGroup>& groups) {
  std::string text;
  for (const SiteGroup& group : groups) text += (text.empty() ? "" : ", ") + group.stream;
  return text;
}

std::string MembersDetail(const SiteGroup& group, const std::vector<Site>& members) {
  JsonValue::Array streams;
  for (const Site& site : members) streams.emplace_back(site.stream);
  return WriteCanonicalJson(JsonValue::Object{
      {"name", group.name}, {"sites", std::move(streams)}, {"stream", group.stream}});
}

}  // namespace

Result<std::vector<SiteGroup>> Ledger::Groups() {
  TRY_ASSIGN(auto rows, db_.Prepare("SELECT guid, stream, name, last_sequence, last_manifest FROM "
                                    "site_group WHERE removed_at IS NULL ORDER BY stream"));
  TRY_ASSIGN(auto groups, ReadAllRows(rows, ReadGroup));
  for (SiteGroup& group : groups) {
    TRY_ASSIGN(
        auto members,
        db_.Prepare("SELECT site FROM site_group_member WHERE site_group = ? ORDER BY site"));
    members.BindAll(group.guid);
    TRY_ASSIGN(group.members, ReadAllRows(members, [](Statement& row) { return row.GuidAt(0); }));
  }
  return groups;
}

Result<SiteGroup> Ledger::FindGroup(std::string_view text) {
  TRY_ASSIGN(const auto groups, Groups());
  if (const SiteGroup* found = FindNamed(groups, text)) return *found;
  return Fail(ErrorCode::kNotFound, "site-group-unknown",
              "there is no group of sites '" + EscapeForDisplay(text, 64) + "'" +
                  (groups.empty() ? "; none was added yet" : "; there are: " + Streams(groups)));
}

Result<SiteGroup> Ledger::AddToGroup(std::string_view name, const std::vector<Site>& members,
                                     UtcTime now, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  TRY_ASSIGN(const auto sites, Sites());
  if (FindNamed(sites, name) != nullptr) {
    return Fail(ErrorCode::kUsage, "name-taken",
                "'" + EscapeForDisplay(name, 64) + "' is a site; a group has a name of its own");
  }
  TRY_ASSIGN(auto groups, Groups());
  const SiteGroup* known = FindNamed(groups, name);
  SiteGroup group;
  if (known != nullptr) {
    group = *known;
  } else {
    // One of that name that was removed comes back with its numbers.
    TRY_ASSIGN(auto rows, db_.Prepare("SELECT guid, stream, name, last_sequence, last_manifest "
                                      "FROM site_group WHERE name = ?"));
    rows.BindAll(name);
    TRY_ASSIGN(const auto removed, ReadFirstRow(rows, ReadGroup));
    if (removed) {
      group = *removed;
      TRY(db_.Run("UPDATE site_group SET removed_at = NULL WHERE guid = ?", group.guid));
    } else {
      group.guid = Guid::Random();
      group.name = name;
      TRY_ASSIGN(group.stream, FreeStream(name));
      TRY(db_.Run("INSERT INTO site_group (guid, stream, name) VALUES (?, ?, ?)", group.guid,
                  group.stream, name));
    }
  }
  for (const Site& site : members) {
    TRY(db_.Run("INSERT OR IGNORE INTO site_group_member (site_group, site) VALUES (?, ?)",
                group.guid, site.guid));
  }
  TRY_ASSIGN(
      const auto count,
      db_.QueryInt("SELECT count(*) FROM site_group_member WHERE site_group = ?", group.guid));
  if (static_cast<std::size_t>(count.value_or(0)) > kMaxGroupSites) {
    return Fail(ErrorCode::kUsage, "group-full",
                "group '" + EscapeForDisplay(group.name, 64) + "' would have " +
                    std::to_string(*count) + " sites, a bundle has room for " +
                    std::to_string(kMaxGroupSites));
  }
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "site-group.add", group.guid.ToString(),
                   MembersDetail(group, members)}));
  TRY(tx.Commit());
  return FindGroup(group.stream);
}

Result<std::uint64_t> Ledger::RemoveFromGroup(const SiteGroup& group,
                                              const std::vector<Site>& members, UtcTime now,
                                              std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(db_, TransactionKind::kWrite));
  std::uint64_t removed = 0;
  if (members.empty()) {
    TRY(db_.Run("DELETE FROM site_group_member WHERE site_group = ?", group.guid));
    TRY(db_.Run("UPDATE site_group SET removed_at = ? WHERE guid = ?", now, group.guid));
    removed = group.members.size();
  }
  for (const Site& site : members) {
    TRY(db_.Run("DELETE FROM site_group_member WHERE site_group = ? AND site = ?", group.guid,
                site.guid));
    removed += std::ranges::binary_search(group.members, site.guid) ? 1U : 0U;
  }
  TRY(AppendAudit(db_, now,
                  {std::string(actor), "site-group.remove", group.guid.ToString(),
                   MembersDetail(group, members)}));
  TRY(tx.Commit());
  return removed;
}

Result<Destination> Ledger::FindDestination(std::string_view text) {
  TRY_ASSIGN(const auto groups, Groups());
  const SiteGroup* group = FindNamed(groups, text);
  if (group == nullptr) {
    auto site = FindSite(text);
    if (!site && site.error().code == ErrorCode::kNotFound && !groups.empty()) {
      site.error().message += "; groups: " + Streams(groups);
    }
    TRY(site);
    return Destination{site->guid,          site->stream,        site->name, /*is_group=*/false,
                       site->last_sequence, site->last_manifest, {*site}};
  }
  Destination out{group->guid,          group->stream,        group->name, /*is_group=*/true,
                  group->last_sequence, group->last_manifest, {}};
  for (const Guid& member : group->members) {
    TRY_ASSIGN(auto site, SiteByGuid(member));
    if (site) out.recipients.push_back(std::move(*site));
  }
  if (out.recipients.empty()) {
    return Fail(ErrorCode::kUsage, "group-empty",
                "group '" + EscapeForDisplay(group->name, 64) + "' has no sites");
  }
  return out;
}

}  // namespace gapferry::mirror
