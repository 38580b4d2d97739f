#include "exporter/export_return.h"

#include <algorithm>
#include <cstdio>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/version.h"
#include "exporter/own_keys.h"
#include "exporter/return_facts.h"
#include "exporter/server_summary.h"
#include "manifests/sign_file.h"
#include "manifests/signature.h"
#include "manifests/trust_store.h"
#include "mirror/audit.h"
#include "mirror/intent.h"
#include "mirror/rollup_state.h"
#include "mirror/witness.h"

namespace gapferry::exporter {
namespace {

using mirror::Mirror;
using mirror::exchange::ReturnDocument;
using mirror::exchange::ReturnHeader;

struct Recipient {
  Guid guid;
  std::string name;
  std::string stream;  ///< empty before the first import
};

Result<Recipient> FindRecipient(Mirror& mirror) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(auto cards, manifests::ReadTrustedCards(mirror.keys().trusted_folder));
  // Persons who release bundles get no returns.
  std::erase_if(cards, [](const manifests::TrustedCard& one) {
    return std::ranges::find(one.card.roles, manifests::SignerRole::kOrigin) ==
           one.card.roles.end();
  });
  TRY_ASSIGN(const auto last, ledger.LastImport());
  Recipient recipient;
  if (last) {
    recipient.guid = last->sender;
    recipient.stream = last->stream;
  } else if (cards.size() == 1) {
    recipient.guid = cards.front().card.guid;
  } else {
    return Fail(ErrorCode::kUsage, "no-recipient",
                "nothing was imported yet, and " + std::to_string(cards.size()) +
                    " senders are trusted: for whom would the return be");
  }
  for (const auto& card : cards) {
    if (card.card.guid == recipient.guid) recipient.name = card.card.name;
  }
  return recipient;
}

/// The site's own record as a downstream server of the recipient.
Result<mirror::DownstreamServer> OwnServer(Mirror& mirror, mirror::Activity& activity,
                                           UtcTime created) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  mirror::DownstreamServer server;
  server.id = mirror.identity().guid;
  server.name = mirror.identity().name;
  server.version = ProgramVersion();
  server.is_replica = mirror.config().replica;
  server.last_sync_time = last ? last->imported_at : kNever;
  server.last_rollup_time = created;
  TRY_ASSIGN(server.summary, SummaryOf(mirror, activity));
  TRY_ASSIGN(server.clients, activity.ClientSummaries(Guid{}));
  return server;
}

Result<void> AddServers(Mirror& mirror, mirror::Activity& activity, ReturnDocument& document) {
  TRY_ASSIGN(auto own, OwnServer(mirror, activity, document.header.created));
  document.servers.push_back(std::move(own));
  TRY_ASSIGN(auto below, activity.Servers());
  for (auto& server : below) {
    if (server.parent.IsZero()) server.parent = mirror.identity().guid;
    document.servers.push_back(std::move(server));
  }
  TRY_ASSIGN(document.activities, activity.InstallActivities());
  for (auto& one : document.activities) {
    if (one.server.IsZero()) one.server = mirror.identity().guid;
  }
  return {};
}

Result<void> AddComputers(Mirror& mirror, mirror::Activity& activity, ReturnDocument& document) {
  mirror::Ledger ledger(mirror.db());
  mirror::RollupState told(activity);
  std::vector<mirror::Computer> computers;
  TRY(activity.ForEachComputer(0, [&](const mirror::Computer& computer) -> Result<void> {
    computers.push_back(computer);
    return {};
  }));
  for (mirror::Computer& computer : computers) {
    // One that the upstream has deleted leaves again once it has registered since.
    TRY_ASSIGN(const auto state, told.Find(computer.id));
    if (state.deleted_at && computer.registered_at <= *state.deleted_at) continue;
    document.computers.push_back(std::move(computer));
  }
  for (mirror::Computer& computer : document.computers) {
    if (computer.parent_server.IsZero()) {
      computer.parent_server = mirror.identity().guid;
      TRY_ASSIGN(computer.details.target_group_ids, mirror.intent().AssignedGroups(computer.id));
      if (computer.details.target_group_ids.empty()) {
        computer.details.target_group_ids = {mirror::kUnassignedComputers};
      }
      // What a client behind the gap has evaluated ends where the sender had last synced.
      TRY_ASSIGN(const auto synced, ledger.UpstreamSyncAt(computer.scanned_generation));
      computer.effective_last_detection = synced.value_or(kNever);
    } else {
      TRY_ASSIGN(const auto synced, ledger.UpstreamSyncBefore(computer.effective_last_detection));
      computer.effective_last_detection = synced.value_or(kNever);
    }
    TRY_ASSIGN(const auto states, activity.StatusOf(computer.id));
    for (const auto& state : states) document.statuses.push_back({computer.id, state});
  }
  return {};
}

Result<std::string> Compose(Mirror& mirror, const Recipient& recipient, const ReturnHeader& header,
                            const mirror::exchange::ReturnFields& fields) {
  ReturnDocument document;
  document.header = header;
  TRY(AddBundlesAndFiles(mirror, recipient.guid, document));
  if (header.level != mirror::ReturnLevel::kReceipt) {
    TRY_ASSIGN(mirror::Activity * activity, mirror.activity());
    TRY(AddServers(mirror, *activity, document));
    if (header.level == mirror::ReturnLevel::kDetailed) {
      TRY(AddComputers(mirror, *activity, document));
    }
  }
  return EncodeReturn(Redact(std::move(document), fields));
}

std::string FileName(const Recipient& recipient, const Guid& site, std::uint64_t number) {
  const std::string stem =
      recipient.stream.empty() ? site.ToString().substr(0, 8) : recipient.stream;
  char digits[24];
  std::snprintf(digits, sizeof(digits), "%06llu", static_cast<unsigned long long>(number));
  return "return-" + stem + "-" + digits + ".jsonl";
}

fs::path StagedReturn(Mirror& mirror, std::uint64_t number) {
  return mirror.staging() / ("return-" + std::to_string(number) + ".jsonl");
}

/// What may leave: the upstream of the recipient may take sums only, and has said so.
Result<mirror::ReturnLevel> AllowedLevel(Mirror& mirror) {
  const mirror::ReturnLevel level = mirror.config().return_level;
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  const bool sums_only = last && !last->detailed;
  return sums_only ? std::min(level, mirror::ReturnLevel::kSummary) : level;
}

/// Whether what was once prepared may still leave: this mirror may have been restored since, the
/// level lowered, or fewer fields allowed.
Result<bool> IsStillAllowed(Mirror& mirror, const std::string& text,
                            const mirror::exchange::ReturnFields& fields) {
  TRY_ASSIGN(const auto document, mirror::exchange::DecodeReturn(text));
  TRY_ASSIGN(const auto level, AllowedLevel(mirror));
  if (document.header.level != level || document.header.site_epoch != mirror.identity().epoch) {
    return false;
  }
  return EncodeReturn(Redact(document, fields)) == text;
}

/// The bytes that an unfinished number was reserved for. When they are lost or may not leave any
/// more the number is void.
Result<std::optional<PreparedReturn>> Unfinished(Mirror& mirror, const Recipient& recipient,
                                                 const mirror::exchange::ReturnFields& fields) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto reserved, ledger.UnfinishedReturn(recipient.guid));
  if (!reserved) return std::optional<PreparedReturn>();
  auto text =
      ReadTextFile(StagedReturn(mirror, reserved->number), mirror::exchange::kMaxReturnBytes);
  bool usable = text && Sha256(*text) == reserved->sha256;
  if (usable) {
    TRY_ASSIGN(usable, IsStillAllowed(mirror, *text, fields));
  }
  if (!usable) {
    TRY(ledger.VoidReturn(recipient.guid, reserved->number));
    return std::optional<PreparedReturn>();
  }
  PreparedReturn prepared;
  prepared.text = std::move(*text);
  prepared.resumed = true;
  return std::optional(std::move(prepared));
}

/// The last return when it still lies where it was written and nothing has changed since.
Result<std::optional<PreparedReturn>> Repeated(Mirror& mirror, const Recipient& recipient,
                                               const mirror::exchange::ReturnFields& fields) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastReturn(recipient.guid));
  if (!last) return std::optional<PreparedReturn>();
  auto text = ReadTextFile(last->path, mirror::exchange::kMaxReturnBytes);
  std::error_code ignored;
  if (!text || Sha256(*text) != last->sha256 || !fs::exists(last->path + ".sig", ignored)) {
    return std::optional<PreparedReturn>();
  }
  TRY_ASSIGN(const auto document, mirror::exchange::DecodeReturn(*text));
  TRY_ASSIGN(const auto level, AllowedLevel(mirror));
  if (document.header.level != level || document.header.site_epoch != mirror.identity().epoch) {
    return std::optional<PreparedReturn>();
  }
  TRY_ASSIGN(const std::string again, Compose(mirror, recipient, document.header, fields));
  if (again != *text) return std::optional<PreparedReturn>();
  PreparedReturn prepared;
  prepared.text = std::move(*text);
  prepared.repeated = true;
  return std::optional(std::move(prepared));
}

Result<PreparedReturn> Fresh(Mirror& mirror, const Recipient& recipient,
                             const mirror::exchange::ReturnFields& fields) {
  mirror::Ledger ledger(mirror.db());
  ReturnHeader header;
  header.site = mirror.identity().guid;
  header.site_epoch = mirror.identity().epoch;
  header.recipient = recipient.guid;
  TRY_ASSIGN(header.number, ledger.NextReturn(recipient.guid));
  TRY_ASSIGN(header.level, AllowedLevel(mirror));
  header.created = mirror.clock().Now();
  TRY_ASSIGN(header.audit, mirror::ReadAuditHead(mirror.db()));
  TRY_ASSIGN(header.seen, mirror::LastWitnessed(mirror.db(), recipient.guid, header.site));
  PreparedReturn prepared;
  TRY_ASSIGN(prepared.text, Compose(mirror, recipient, header, fields));
  return prepared;
}

}  // namespace

Result<PreparedReturn> PrepareReturn(Mirror& mirror, const mirror::JobLock&,
                                     const mirror::exchange::ReturnFields& fields) {
  TRY_ASSIGN(const Recipient recipient, FindRecipient(mirror));
  TRY_ASSIGN(auto prepared, Unfinished(mirror, recipient, fields));
  if (!prepared) {
    TRY_ASSIGN(prepared, Repeated(mirror, recipient, fields));
  }
  if (!prepared) {
    TRY_ASSIGN(prepared, Fresh(mirror, recipient, fields));
  }
  // Our own reader must accept what leaves.
  TRY_ASSIGN(const auto document, mirror::exchange::DecodeReturn(prepared->text));
  prepared->header = document.header;
  prepared->file_name = FileName(recipient, document.header.site, document.header.number);
  prepared->recipient_name = recipient.name;
  prepared->is_limited = document.header.level < mirror.config().return_level;
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  if (last && last->applied_return > 0) {
    TRY_ASSIGN(const auto known, ledger.FindReturn(recipient.guid, last->applied_return));
    if (!known) prepared->sender_knows = last->applied_return;
  }
  return std::move(*prepared);
}

Result<WrittenReturn> WriteReturn(Mirror& mirror, const mirror::JobLock&,
                                  const PreparedReturn& prepared, const fs::path& to,
                                  const manifests::SigningKey* reviewer, const std::string& actor) {
  mirror::Ledger ledger(mirror.db());
  mirror::ReturnOut out;
  out.recipient = prepared.header.recipient;
  out.number = prepared.header.number;
  out.level = mirror::ReturnLevelName(prepared.header.level);
  out.sha256 = Sha256(prepared.text);
  out.created_at = prepared.header.created;
  const fs::path path = to / prepared.file_name;
  if (prepared.repeated) {
    TRY_ASSIGN(const auto last, ledger.LastReturn(out.recipient));
    if (last && fs::path(last->path) == path) {
      const fs::path beside(path.string() + ".sig");
      if (reviewer != nullptr) {
        TRY(manifests::AddSignature(AsBytes(prepared.text), beside, beside, *reviewer,
                                    manifests::SignerRole::kRelease));
      }
      return WrittenReturn{path, out.number};
    }
  }
  TRY_ASSIGN(const auto key, manifests::SigningKey::Load(mirror.keys().signing));
  const fs::path staged = StagedReturn(mirror, out.number);
  if (!prepared.resumed && !prepared.repeated) {
    TRY(WriteFileAtomically(staged, AsBytes(prepared.text)));
    TRY(ledger.ReserveReturn(out));
  }
  TRY(CreateDirectories(to));
  TRY(WriteFileAtomically(path, AsBytes(prepared.text)));
  TRY_ASSIGN(const auto line,
             manifests::SignDocument(AsBytes(prepared.text), key, manifests::SignerRole::kOrigin));
  std::vector<manifests::SignatureLine> lines = {line};
  if (reviewer != nullptr) {
    TRY_ASSIGN(lines.emplace_back(), manifests::SignDocument(AsBytes(prepared.text), *reviewer,
                                                             manifests::SignerRole::kRelease));
  }
  TRY(WriteFileAtomically(fs::path(path.string() + ".sig"),
                          AsBytes(manifests::EncodeSignatures(lines))));
  // A site that changed its keys says so beside: read before the signature is judged.
  TRY_ASSIGN(const std::string trust, CarriedTrust(mirror.keys()));
  if (!trust.empty()) TRY(WriteFileAtomically(fs::path(path.string() + ".trust"), AsBytes(trust)));
  out.path = path.string();
  TRY(ledger.MarkReturnWritten(
      out,
      {actor, "export.return", out.recipient.ToString(),
       WriteCanonicalJson(JsonValue::Object{
           {"level", out.level}, {"number", out.number}, {"sha256", out.sha256.ToHex()}})},
      mirror.clock().Now()));
  TRY(RemoveFile(staged));
  return WrittenReturn{path, out.number};
}

}  // namespace gapferry::exporter
