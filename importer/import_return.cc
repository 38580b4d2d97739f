#include "importer/import_return.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/canonical_json.h"
#include "base/file.h"
#include "importer/import_evidence.h"
#include "importer/our_states.h"
#include "importer/own_side.h"
#include "manifests/card.h"
#include "manifests/trust_store.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/job_history.h"
#include "mirror/job_lock.h"
#include "mirror/rollup_state.h"
#include "mirror/short_writes.h"

namespace gapferry::importer {
namespace {

using mirror::Mirror;
using mirror::exchange::ReturnDocument;

/// The trust documents beside a return: a site that changed its keys says so in PATH.trust.
Result<std::vector<manifests::TrustDocument>> DocumentsBeside(const fs::path& path) {
  const auto bytes = ReadFile(path.string() + ".trust", manifests::kMaxTrustFileBytes);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    return std::vector<manifests::TrustDocument>();
  }
  if (!bytes) return std::unexpected(bytes.error());
  return manifests::DecodeTrustDocuments(*bytes);
}

struct TrustedReturn {
  ReturnDocument document;
  mirror::Site site;
  Sha256Digest sha256;
  std::vector<manifests::TrustDocument> trust;  ///< that its signature rests on
};

/// The people whose signatures a site's returns need.
Result<void> AddReviewers(mirror::Ledger& ledger, const mirror::Site& site,
                          manifests::TrustPolicy& policy) {
  TRY_ASSIGN(const auto review, ledger.ReviewOf(site.guid));
  if (review.required == 0) return {};
  manifests::StreamRule rule;
  rule.sender = site.guid;
  rule.rule.release_persons = review.required;
  for (const Bytes& bytes : review.cards) {
    TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes),
               "a reviewer of '" + site.stream + "'");
    rule.reviewers.push_back(card.guid);
    const auto known = [&](const manifests::TrustedKey& key) {
      return key.key == card.signing_key && key.role == manifests::SignerRole::kRelease;
    };
    if (std::ranges::none_of(policy.keys, known)) {
      policy.keys.push_back(
          {card.signing_key, manifests::SignerRole::kRelease, card.guid, card.name});
    }
  }
  std::ranges::sort(rule.reviewers);
  policy.rules.push_back(std::move(rule));
  return {};
}

Result<TrustedReturn> ReadTrusted(Mirror& mirror, const fs::path& path) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  TrustedReturn out;
  TRY_ASSIGN(auto trust, ReadSiteTrust(mirror));
  TRY_ASSIGN(auto documents, DocumentsBeside(path));
  TRY_ASSIGN(out.trust, manifests::ApplyTrustDocuments(trust, std::move(documents)));
  manifests::TrustPolicy policy = trust.Policy();
  for (const mirror::Site& site : sites) TRY(AddReviewers(ledger, site, policy));
  const auto signatures = ReadTextFile(path.string() + ".sig", manifests::kMaxSignatureFileBytes);
  if (!signatures && signatures.error().code == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kNotFound, "signature-missing",
                "the file with its signatures, '" + path.filename().string() +
                    ".sig', does not lie beside it");
  }
  if (!signatures) return std::unexpected(signatures.error());
  TRY_ASSIGN(const std::string text, ReadTextFile(path, mirror::exchange::kMaxReturnBytes));
  TRY_ASSIGN(const auto report,
             manifests::CheckSignatures(AsBytes(text), manifests::DocumentType::kReturn,
                                        *signatures, policy));
  out.sha256 = Sha256(text);
  TRY_ASSIGN(out.document, mirror::exchange::DecodeReturn(text));
  const auto& header = out.document.header;
  if (header.site != report.origin.holder) {
    return Fail(ErrorCode::kUntrusted, "sender-mismatch",
                "says it comes from " + header.site.ToString() + ", signed is it by " +
                    report.origin.holder.ToString());
  }
  if (header.recipient != mirror.identity().guid) {
    return Fail(ErrorCode::kUntrusted, "recipient-foreign",
                "is for " + header.recipient.ToString() + ", this mirror is " +
                    mirror.identity().guid.ToString());
  }
  const auto site = std::ranges::find(sites, header.site, &mirror::Site::guid);
  out.site = *site;
  return out;
}

/// A site speaks for itself and for servers below it, not for this mirror, other sites, or servers
/// that report over the network or in returns of others.
Result<void> CheckServers(Mirror& mirror, const TrustedReturn& from) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  TRY_ASSIGN(mirror::Activity * activity, mirror.activity());
  std::set<Guid> listed = {from.site.guid};
  const auto refuse = [](const Guid& guid) {
    return Fail(ErrorCode::kUntrusted, "return-foreign-server",
                "speaks of server " + guid.ToString() + ", which is not below the site");
  };
  for (const auto& server : from.document.servers) {
    if (server.id == from.site.guid) continue;
    const bool foreign = server.id == mirror.identity().guid || server.id.IsZero() ||
                         std::ranges::find(sites, server.id, &mirror::Site::guid) != sites.end();
    TRY_ASSIGN(const auto known, activity->FindServer(server.id));
    if (foreign || (known && known->site != from.site.guid)) return refuse(server.id);
    listed.insert(server.id);
  }
  for (const auto& server : from.document.servers) {
    if (server.id != from.site.guid && !listed.contains(server.parent))
      return refuse(server.parent);
  }
  for (const auto& computer : from.document.computers) {
    if (!listed.contains(computer.parent_server)) return refuse(computer.parent_server);
  }
  for (const auto& activity_of : from.document.activities) {
    if (!listed.contains(activity_of.server)) return refuse(activity_of.server);
  }
  return {};
}

/// Times beyond the return's own clock, or beyond ours, would never be overtaken (wsusss.md 4.5,
/// rule 3). Ours counts as long as it is later than the last commit: a clock that fell back knows
/// less than the site's.
Result<UtcTime> LatestTime(Mirror& mirror, UtcTime created) {
  const UtcTime now = mirror.clock().Now();
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  return now < published.committed_at ? created : std::min(created, now);
}

void ClampTimes(mirror::Computer& computer, UtcTime limit) {
  for (UtcTime mirror::Computer::*member :
       {&mirror::Computer::registered_at, &mirror::Computer::last_contact,
        &mirror::Computer::last_sync_time, &mirror::Computer::last_reported_status,
        &mirror::Computer::last_reported_reboot, &mirror::Computer::last_inventory,
        &mirror::Computer::effective_last_detection}) {
    computer.*member = std::min(computer.*member, limit);
  }
}

void ClampTimes(mirror::DownstreamServer& server, UtcTime limit) {
  for (UtcTime mirror::DownstreamServer::*member :
       {&mirror::DownstreamServer::first_seen, &mirror::DownstreamServer::last_contact,
        &mirror::DownstreamServer::last_sync_time, &mirror::DownstreamServer::last_rollup_time}) {
    server.*member = std::min(server.*member, limit);
  }
}

/// A computer that is known elsewhere (here, below a server of the network, at another site) is the
/// site's when it was there later.
Result<bool> IsTheSites(mirror::Activity& activity, const mirror::Computer& computer,
                        const Guid& site) {
  TRY_ASSIGN(const auto known, activity.Find(computer.id));
  if (!known) return true;
  TRY_ASSIGN(const auto parent, activity.FindServer(known->parent_server));
  return (parent && parent->site == site) || computer.last_contact > known->last_contact;
}

/// Parents before children, whatever the order of GUIDs.
std::vector<mirror::DownstreamServer> Ordered(std::vector<mirror::DownstreamServer> servers,
                                              const Guid& site) {
  std::vector<mirror::DownstreamServer> out;
  std::set<Guid> placed;
  for (std::size_t before = servers.size() + 1; !servers.empty() && before != servers.size();) {
    before = servers.size();
    std::erase_if(servers, [&](mirror::DownstreamServer& server) {
      if (server.id != site && !placed.contains(server.parent)) return false;
      if (server.id == site) server.parent = Guid{};
      placed.insert(server.id);
      out.push_back(std::move(server));
      return true;
    });
  }
  return out;
}

/// Totals only grow within an epoch. Where they are lower the site was put back to an older day:
/// what it counts until it has caught up was counted before, and is rather lost than counted twice.
Result<void> KeepHigherTotals(mirror::Activity& activity, TrustedReturn& from) {
  if (from.site.site_epoch != from.document.header.site_epoch) return {};
  using Key = mirror::RollupState::ActivityKey;
  const auto key_of = [](const mirror::InstallActivity& one) {
    return Key{one.server, mirror::RollupState::OsDigest(one.os), one.update};
  };
  TRY_ASSIGN(const auto known, activity.InstallActivities());
  std::map<Key, const mirror::InstallActivity*> by_key;
  for (const auto& one : known) by_key.emplace(key_of(one), &one);
  for (auto& one : from.document.activities) {
    const auto before = by_key.find(key_of(one));
    if (before == by_key.end()) continue;
    one.success_total = std::max(one.success_total, before->second->success_total);
    one.failure_total = std::max(one.failure_total, before->second->failure_total);
  }
  return {};
}

Result<void> ReplaceActivity(Mirror& mirror, TrustedReturn& from, std::uint64_t& left_alone) {
  ReturnDocument& document = from.document;
  if (document.header.level == mirror::ReturnLevel::kReceipt) return {};
  TRY_ASSIGN(mirror::Activity * activity, mirror.activity());
  TRY_ASSIGN(const UtcTime limit, LatestTime(mirror, document.header.created));
  mirror::ShortWrites writes(activity->db());
  for (auto& server : Ordered(document.servers, from.site.guid)) {
    server.site = from.site.guid;
    ClampTimes(server, limit);
    TRY(writes.Run([&] { return activity->PutServer(server); }));
  }
  std::map<std::string, std::vector<mirror::UpdateStatus>> statuses;
  for (auto& change : document.statuses) {
    change.status.last_change = std::min(change.status.last_change, limit);
    statuses[change.computer_id].push_back(change.status);
  }
  for (mirror::Computer& computer : document.computers) {
    ClampTimes(computer, limit);
    const auto put = [&]() -> Result<void> {
      TRY_ASSIGN(const bool is_the_sites, IsTheSites(*activity, computer, from.site.guid));
      if (!is_the_sites) {
        ++left_alone;
        return {};
      }
      TRY(activity->PutComputer(computer));
      return activity->PutStatus(computer.id, /*replace_all=*/true, statuses[computer.id]);
    };
    TRY(writes.Run(put));
  }
  TRY(KeepHigherTotals(*activity, from));
  for (const auto& totals : document.activities) {
    TRY(writes.Run([&] { return activity->PutInstallActivity(totals); }));
  }
  return writes.Commit();
}

mirror::ReturnEffect EffectOf(const TrustedReturn& from) {
  const ReturnDocument& document = from.document;
  mirror::ReturnEffect effect;
  effect.site = from.site.guid;
  effect.number = document.header.number;
  effect.sha256 = from.sha256;
  effect.site_epoch = document.header.site_epoch;
  for (const auto& receipt : document.receipts) {
    effect.receipts.push_back({receipt.stream, receipt.sequence, receipt.manifest, receipt.target});
  }
  for (const auto& one : document.requests) effect.requests.push_back({one.sha1, one.asked});

  effect.removed = document.removed;
  effect.blocks = document.blocks;
  effect.resends = document.resends;
  effect.blocked = document.blocked;
  effect.withheld = document.withheld;
  return effect;
}

/// Nullopt: it is to be applied.
Result<std::optional<ReturnOutcome>> Seen(Mirror& mirror, const TrustedReturn& from) {
  mirror::Ledger ledger(mirror.db());
  const auto& header = from.document.header;
  TRY_ASSIGN(const bool same, ledger.IsReturnApplied(from.site.guid, from.sha256));
  const bool same_epoch = !from.site.site_epoch || *from.site.site_epoch == header.site_epoch;
  if (same) {
    const bool newest = same_epoch && header.number == from.site.applied_return;
    return std::optional(newest ? ReturnOutcome::kAlreadyApplied : ReturnOutcome::kLate);
  }
  if (!same_epoch) {
    // An epoch that the site has left does not come back: a courier who was late.
    TRY_ASSIGN(const bool left, ledger.HadReturnOf(from.site.guid, header.site_epoch));
    return left ? std::optional(ReturnOutcome::kLate) : std::optional<ReturnOutcome>();
  }
  if (header.number > from.site.applied_return) return std::optional<ReturnOutcome>();
  if (header.number < from.site.applied_return) return std::optional(ReturnOutcome::kLate);
  return Fail(
      ErrorCode::kUntrusted, "return-reused",
      "number " + std::to_string(header.number) + " of this site was applied with other content");
}

Result<ReturnResult> Apply(Mirror& mirror, const fs::path& path, const std::string& actor) {
  TRY(CheckMedium(mirror, path));
  TRY_ASSIGN(TrustedReturn from, ReadTrusted(mirror, path));
  TRY(CheckServers(mirror, from));
  TRY(RecordReturnHeads(mirror, from.document.header, from.sha256));
  ReturnResult result;
  result.site = from.site;
  result.header = from.document.header;
  result.servers = from.document.servers.size();
  result.computers = from.document.computers.size();
  result.statuses = from.document.statuses.size();
  TRY_ASSIGN(const auto seen, Seen(mirror, from));
  if (seen) {
    result.outcome = *seen;
    return result;
  }
  const mirror::ReturnEffect effect = EffectOf(from);
  // Two databases: reports first, for they may be repeated; the ledger says that it is done.
  TRY(ReplaceActivity(mirror, from, result.left_alone));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(result.applied,
             ledger.ApplyReturn(effect, OurStates(mirror), mirror.clock().Now(), actor));
  TRY(KeepSiteTrust(mirror, from.trust, actor));
  TRY_ASSIGN(const auto site, ledger.SiteByGuid(from.site.guid));
  result.site = *site;
  return result;
}

bool IsRefusal(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kUntrusted ||
         error.code == ErrorCode::kUnsupported;
}

}  // namespace

std::string_view ReturnOutcomeName(ReturnOutcome outcome) {
  switch (outcome) {
    case ReturnOutcome::kApplied:
      return "applied";
    case ReturnOutcome::kAlreadyApplied:
      return "already-applied";
    case ReturnOutcome::kLate:
      return "late";
  }
  return "unknown";
}

Result<ReturnResult> ImportReturn(Mirror& mirror, const fs::path& path, const std::string& actor) {
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "import-return"));
  auto result = Apply(mirror, path, actor);
  if (result) return result;
  if (IsRefusal(result.error())) {
    TRY(mirror::AppendAuditAlone(
        mirror.db(), mirror.clock().Now(),
        {actor, "return.refused", path.filename().string(),
         WriteCanonicalJson(JsonValue::Object{{"error", ErrorCodeName(result.error().code)},
                                              {"message", result.error().message},
                                              {"reason", result.error().reason}})}));
  }
  return WithContext(std::move(result.error()), "'" + path.string() + "'");
}

bool IsReturnFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

}  // namespace gapferry::importer
