#include "mirror/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/text.h"
#include "mirror/audit.h"
#include "mirror/bundle_event.h"
#include "mirror/intent.h"
#include "mirror/quarantine.h"

namespace gapferry::mirror {
namespace {

constexpr int kMostImports = 1'000'000;

std::string BundleName(const std::string& stream, std::uint64_t sequence) {
  return fmt::format("gapferry-{}-{:06}", stream, sequence);
}

/// Texts of the database go into JSON as they are when they can.
std::string Clean(std::string_view text) {
  const bool fine = IsValidUtf8(text) && text.find('\0') == text.npos;
  return fine ? std::string(text) : EscapeForDisplay(text, text.size() * 4);
}

// ---- Finding -----------------------------------------------------------------------------------

Result<std::vector<EvidenceSubject>> SubjectsOut(Ledger& ledger, std::uint64_t sequence) {
  std::vector<EvidenceSubject> out;
  TRY_ASSIGN(const auto sites, ledger.Sites());
  for (const Site& site : sites) {
    TRY_ASSIGN(const auto bundle, ledger.FindBundle(site.guid, sequence));
    if (bundle) out.push_back({site.stream, sequence, bundle, {site}, {}, false});
  }
  TRY_ASSIGN(const auto groups, ledger.Groups());
  for (const SiteGroup& group : groups) {
    TRY_ASSIGN(const auto bundle, ledger.FindBundle(group.guid, sequence));
    if (!bundle) continue;
    EvidenceSubject subject{group.stream, sequence, bundle, {}, {}, false};
    for (const Site& site : sites) {
      if (std::ranges::binary_search(group.members, site.guid)) subject.recipients.push_back(site);
    }
    out.push_back(std::move(subject));
  }
  return out;
}

Result<std::vector<EvidenceSubject>> SubjectsIn(Mirror& mirror, std::uint64_t sequence) {
  Ledger ledger(mirror.db());
  std::vector<EvidenceSubject> out;
  std::set<std::string> streams;
  TRY_ASSIGN(const auto imports, ledger.Imports(kMostImports));
  for (const BundleIn& bundle : imports) {
    if (bundle.sequence != sequence || !streams.insert(bundle.stream).second) continue;
    out.push_back({bundle.stream, sequence, {}, {}, bundle, false});
  }
  // Refused ones are known by their name alone.
  TRY_ASSIGN(auto rows, mirror.db().Prepare("SELECT DISTINCT object FROM audit WHERE action = "
                                            "'import.refused' AND object LIKE 'gapferry-%'"));
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    const std::string name = rows.String(0);
    const auto dash = name.rfind('-');
    const std::string stream = dash <= 9 ? std::string() : name.substr(9, dash - 9);
    if (stream.empty() || name != BundleName(stream, sequence)) continue;
    if (streams.insert(stream).second) out.push_back({stream, sequence, {}, {}, {}, true});
  }
  TRY(rows.Check());
  return out;
}

// ---- Telling -----------------------------------------------------------------------------------

JsonValue StateToJson(const KnownState& state) {
  return JsonValue::Object{{"chain", state.name.chain.ToHex()},
                           {"epoch", state.name.epoch.ToString()},
                           {"generation", state.name.generation},
                           {"state_digest", state.state_digest.ToHex()}};
}

JsonValue RecordToJson(const AuditRecord& record) {
  return JsonValue::Object{{"action", Clean(record.entry.action)},
                           {"actor", Clean(record.entry.actor)},
                           {"at", record.at.ToXml()},
                           {"detail", Clean(record.entry.detail)},
                           {"hash", record.hash.ToHex()},
                           {"number", record.id},
                           {"object", Clean(record.entry.object)}};
}

/// Records of the trail that speak of the bundle.
Result<JsonValue> AuditOf(Database& db, const EvidenceSubject& subject) {
  const auto manifest = subject.manifest();
  const std::string hex = manifest ? manifest->ToHex() : subject.Name();
  TRY_ASSIGN(auto rows,
             db.Prepare("SELECT id FROM audit WHERE object = ?1 OR instr(detail, ?1) > 0 OR "
                        "instr(detail, ?2) > 0 ORDER BY id LIMIT ?3"));
  rows.BindAll(subject.Name(), hex, kEvidenceItems);
  std::vector<std::int64_t> ids;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    ids.push_back(rows.Int(0));
  }
  TRY(rows.Check());
  JsonValue::Array records;
  for (const std::int64_t id : ids) {
    TRY_ASSIGN(const auto found, ReadAuditFrom(db, id, 1));
    if (!found.empty()) records.push_back(RecordToJson(found.front()));
  }
  TRY_ASSIGN(const AuditHead head, ReadAuditHead(db));
  return JsonValue(JsonValue::Object{
      {"head", head.hash.ToHex()}, {"records", head.id}, {"speaking_of_it", std::move(records)}});
}

/// Titles and articles of the updates that the events name.
class Titles {
 public:
  explicit Titles(Database& db) : db_(db) {}

  void Want(const JsonValue& list) {
    if (list.AsArray() == nullptr) return;
    for (const JsonValue& item : *list.AsArray()) {
      const std::string* text = item.AsString();
      if (item.AsObject() != nullptr) {
        const auto member = item.AsObject()->find("update");
        text = member == item.AsObject()->end() ? nullptr : member->second.AsString();
      }
      if (text == nullptr || wanted_.size() >= 2 * kEvidenceItems) continue;
      const auto id = protocol::UpdateId::Parse(*text);
      if (id) wanted_.insert(*id);
    }
  }

  Result<JsonValue> Take() {
    TRY_ASSIGN(auto rows,
               db_.Prepare("SELECT coalesce(t.title, ''), r.kb_articles FROM revision_identity i "
                           "JOIN revision r ON r.id = i.id LEFT JOIN revision_text t ON "
                           "t.revision_id = r.id WHERE i.guid = ? AND i.revision = ?"));
    JsonValue::Array out;
    for (const auto& id : wanted_) {
      rows.Reset();
      rows.BindAll(id.guid, id.revision);
      TRY_ASSIGN(const bool known, rows.Step());
      JsonValue::Object item{{"update", id.ToString()}};
      if (known) {
        item["title"] = Clean(rows.Text(0));
        item["kb"] = Clean(rows.Text(1));
        TRY(rows.Check());
      }
      out.emplace_back(std::move(item));
    }
    return JsonValue(std::move(out));
  }

 private:
  Database& db_;
  std::set<protocol::UpdateId> wanted_;
};

Result<void> AddEvents(Database& db, const EvidenceSubject& subject, JsonValue::Object& out) {
  Titles titles(db);
  JsonValue::Array events;
  std::vector<Sha256Digest> keys;
  // A bundle of several media has events before it has a manifest.
  if (subject.out) keys.push_back(subject.out->plan_digest);
  if (const auto manifest = subject.manifest()) keys.push_back(*manifest);
  for (const Sha256Digest& key : keys) {
    TRY_ASSIGN(const auto stored, BundleEvents(db, key));
    for (const StoredEvent& one : stored) {
      const auto contents = one.event.facts.find("contents");
      if (contents != one.event.facts.end() && contents->second.AsObject() != nullptr) {
        for (const auto& [name, list] : *contents->second.AsObject()) titles.Want(list);
      }
      events.emplace_back(JsonValue::Object{{"actor", Clean(one.event.actor)},
                                            {"at", one.event.at.ToXml()},
                                            {"facts", one.event.facts},
                                            {"kind", one.event.kind},
                                            {"sha256", one.digest.ToHex()}});
    }
  }
  out["events"] = std::move(events);
  TRY_ASSIGN(out["updates"], titles.Take());
  return {};
}

Result<void> AddQuarantine(Mirror& mirror, const EvidenceSubject& subject, JsonValue::Object& out) {
  Quarantine quarantine(mirror);
  JsonValue::Array files;
  TRY_ASSIGN(const auto all, quarantine.List(/*all=*/true));
  for (const QuarantinedFile& file : all) {
    if (file.bundle != subject.Name() || files.size() == kEvidenceItems) continue;
    files.emplace_back(JsonValue::Object{{"at", file.at.ToXml()},
                                         {"name", file.Name()},
                                         {"output", Clean(file.output)},
                                         {"scanner", Clean(file.scanner)},
                                         {"sha256", file.sha256.ToHex()},
                                         {"state", QuarantineStateName(file.state)},
                                         {"why", WithheldWhyName(file.why)}});
  }
  out["quarantine"] = std::move(files);
  return {};
}

/// On the sender's side: what each recipient's returns said.
Result<void> AddReceipts(Mirror& mirror, const EvidenceSubject& subject, JsonValue::Object& out) {
  Ledger ledger(mirror.db());
  JsonValue::Array sites;
  for (const Site& site : subject.recipients) {
    JsonValue::Object one{
        {"acknowledged", false}, {"guid", site.guid.ToString()}, {"name", Clean(site.name)}};
    TRY_ASSIGN(const auto sent, ledger.Sent(site.guid));
    for (const SentBundle& bundle : sent) {
      if (bundle.owner != subject.out->site || bundle.sequence != subject.sequence) continue;
      one["acknowledged"] = bundle.acknowledged;
    }
    if (site.acknowledged_sequence == subject.sequence && site.acknowledged_at) {
      one["acknowledged_at"] = site.acknowledged_at->ToXml();
    }
    if (!site.diverged.empty()) one["diverged"] = Clean(site.diverged);
    TRY_ASSIGN(const auto withheld, ledger.WithheldAt(site.guid));
    JsonValue::Array files;
    for (const auto& file : withheld) {
      if (files.size() == kEvidenceItems) break;
      files.emplace_back(
          JsonValue::Object{{"sha1", file.sha1.ToHex()}, {"why", WithheldWhyName(file.why)}});
    }
    one["withheld_there"] = std::move(files);
    sites.emplace_back(std::move(one));
  }
  out["receipts"] = std::move(sites);
  return {};
}

std::string Outcome(const EvidenceSubject& subject) {
  if (subject.in) return "imported";
  if (subject.is_refused) return "refused";
  return std::string(BundleStateName(subject.out->state));
}

Result<void> AddWitnessed(Mirror& mirror, const EvidenceSubject& subject, JsonValue::Object& out) {
  std::set<Guid> partners{mirror.identity().guid};
  for (const Site& site : subject.recipients) partners.insert(site.guid);
  if (subject.in) partners.insert(subject.in->sender);
  JsonValue::Array heads;
  for (const Guid& partner : partners) {
    TRY_ASSIGN(const auto found, WitnessedHeads(mirror.db(), partner));
    const std::size_t first = found.size() > kEvidenceItems ? found.size() - kEvidenceItems : 0;
    for (std::size_t i = first; i < found.size(); ++i) heads.push_back(HeadToJson(found[i]));
  }
  out["witnessed"] = std::move(heads);
  return {};
}

}  // namespace

std::string EvidenceSubject::Name() const { return BundleName(stream, sequence); }

std::optional<Sha256Digest> EvidenceSubject::manifest() const {
  if (in) return in->manifest;
  return out ? out->manifest : std::nullopt;
}

Result<EvidenceSubject> FindBundleForEvidence(Mirror& mirror, std::uint64_t sequence,
                                              const std::optional<std::string>& stream,
                                              const std::optional<std::string>& site) {
  Ledger ledger(mirror.db());
  TRY_ASSIGN(auto all, SubjectsIn(mirror, sequence));
  if (site) all.clear();
  TRY_ASSIGN(auto out, SubjectsOut(ledger, sequence));
  all.insert(all.end(), out.begin(), out.end());
  if (site) {
    TRY_ASSIGN(const Destination wanted, ledger.FindDestination(*site));
    std::erase_if(all, [&](const auto& one) { return one.out->site != wanted.guid; });
  }
  if (stream) std::erase_if(all, [&](const auto& one) { return one.stream != *stream; });
  if (all.size() == 1) return std::move(all.front());
  if (all.empty()) {
    return Fail(ErrorCode::kNotFound, "bundle-unknown",
                fmt::format("no bundle {}{} was written, imported or refused here", sequence,
                            stream ? " of stream '" + EscapeForDisplay(*stream, 64) + "'"
                            : site ? " for '" + EscapeForDisplay(*site, 64) + "'"
                                   : std::string()));
  }
  std::string names;
  for (const auto& one : all) names += (names.empty() ? "" : ", ") + one.stream;
  return Fail(ErrorCode::kUsage, "stream-needed",
              fmt::format("several streams have a bundle {}: {}", sequence, names));
}

Result<JsonValue::Object> CollectEvidence(Mirror& mirror, const EvidenceSubject& subject) {
  JsonValue::Object out;
  JsonValue::Object bundle{{"name", subject.Name()},
                           {"outcome", Outcome(subject)},
                           {"sequence", subject.sequence},
                           {"stream", subject.stream}};
  if (const auto manifest = subject.manifest()) bundle["manifest"] = manifest->ToHex();
  if (subject.out) {
    bundle["base"] = StateToJson(subject.out->base);
    bundle["bytes"] = subject.out->bytes;
    bundle["path"] = Clean(subject.out->path);
    bundle["reserved"] = subject.out->reserved_at.ToXml();
    bundle["scope"] = subject.out->full ? "full" : "delta";
    bundle["target"] = StateToJson(subject.out->target);
    if (subject.out->finished_at) bundle["finished"] = subject.out->finished_at->ToXml();
  }
  if (subject.in) {
    bundle["generation_here"] = subject.in->local_generation;
    bundle["imported"] = subject.in->imported_at.ToXml();
    bundle["scope"] = subject.in->full ? "full" : "delta";
    bundle["sender"] = subject.in->sender.ToString();
    bundle["target"] = StateToJson(subject.in->target);
  }
  out["bundle"] = std::move(bundle);
  out["made"] = mirror.clock().Now().ToXml();
  out["mirror"] = JsonValue::Object{{"guid", mirror.identity().guid.ToString()},
                                    {"name", Clean(mirror.identity().name)}};
  out["side"] = subject.out ? "sender" : "recipient";
  TRY(AddEvents(mirror.db(), subject, out));
  TRY(AddQuarantine(mirror, subject, out));
  TRY(AddReceipts(mirror, subject, out));
  TRY(AddWitnessed(mirror, subject, out));
  TRY_ASSIGN(const auto groups, mirror.intent().Groups());
  JsonValue::Array names;
  for (const TargetGroup& group : groups) {
    names.emplace_back(
        JsonValue::Object{{"guid", group.id.ToString()}, {"name", Clean(group.name)}});
  }
  out["groups"] = std::move(names);
  TRY_ASSIGN(out["audit"], AuditOf(mirror.db(), subject));
  return out;
}

JsonValue HeadToJson(const WitnessedHead& head) {
  return JsonValue::Object{{"created", head.created.ToXml()}, {"document", head.document.ToHex()},
                           {"head", head.head.hash.ToHex()},  {"kind", head.kind},
                           {"log", head.log.ToString()},      {"number", head.number},
                           {"records", head.head.id},         {"seen", head.seen_at.ToXml()},
                           {"stream", head.stream},           {"witness", head.witness.ToString()}};
}

Result<std::vector<WitnessedHead>> HeadsFromJson(const JsonValue& list) {
  std::vector<WitnessedHead> out;
  if (list.AsArray() == nullptr) return out;
  for (const JsonValue& item : *list.AsArray()) {
    JsonFields fields(item, "witnessed head");
    WitnessedHead head;
    head.created = fields.Time("created");
    head.document = fields.Sha256Value("document");
    head.head.hash = fields.Sha256Value("head");
    head.kind = fields.Text("kind", 16);
    head.log = fields.GuidValue("log");
    head.number = fields.Count("number");
    head.head.id = static_cast<std::int64_t>(fields.Count("records"));
    head.seen_at = fields.Time("seen");
    head.stream = fields.Text("stream", 64);
    head.witness = fields.GuidValue("witness");
    TRY(fields.Finish());
    out.push_back(std::move(head));
  }
  return out;
}

}  // namespace gapferry::mirror
