// gapferry evidence: what a security officer is handed, and the check of logs and evidence.
#include "mirror/evidence.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/media_support.h"
#include "manifests/card.h"
#include "manifests/evidence_document.h"
#include "manifests/trust_store.h"
#include "mirror/audit.h"
#include "mirror/evidence_html.h"
#include "mirror/evidence_log.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using manifests::Card;
using nlohmann::json;

Result<Card> OwnCard(const mirror::Mirror& mirror) {
  Card card;
  card.guid = mirror.identity().guid;
  card.name = mirror.identity().name;
  TRY_ASSIGN(card.signing_key, manifests::LoadSigningPublicKey(mirror.keys().signing));
  TRY_ASSIGN(card.encryption_key, manifests::LoadEncryptionPublicKey(mirror.keys().encryption));
  return card;
}

/// Cards of everybody this mirror deals with, its own first.
Result<std::vector<Card>> CardsOf(mirror::Mirror& mirror) {
  TRY_ASSIGN(Card own, OwnCard(mirror));
  std::vector<Card> cards{std::move(own)};
  TRY_ASSIGN(auto trusted, manifests::ReadTrustedCards(mirror.keys().trusted_folder));
  for (auto& one : trusted) cards.push_back(std::move(one.card));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  for (const auto& site : sites) {
    TRY_ASSIGN(auto card, manifests::DecodeCard(site.card), "site '" + site.stream + "'");
    cards.push_back(std::move(card));
  }
  return cards;
}

Result<JsonValue::Array> Parties(mirror::Mirror& mirror, const mirror::EvidenceSubject& subject) {
  TRY_ASSIGN(const auto cards, CardsOf(mirror));
  std::map<Guid, std::string> parts;
  const bool sends = subject.out.has_value();
  for (std::size_t i = 1; i < cards.size(); ++i) {
    const bool origin = subject.in && cards[i].guid == subject.in->sender;
    parts[cards[i].guid] = origin ? "sender" : sends ? "other site" : "trusted here";
  }
  for (const auto& site : subject.recipients) parts[site.guid] = "recipient";
  parts[cards.front().guid] = sends ? "sender, this mirror" : "recipient, this mirror";
  JsonValue::Array out;
  for (const Card& card : cards) {
    const std::string& part = parts[card.guid];
    if (part == "other site") continue;
    out.emplace_back(JsonValue::Object{{"fingerprint", card.Fingerprint()},
                                       {"guid", card.guid.ToString()},
                                       {"key_id", card.signing_key.Id().ToHex()},
                                       {"name", card.name},
                                       {"part", part}});
  }
  return out;
}

std::unexpected<Error> WithEvidenceNext(const Context& context, Error error) {
  if (error.reason == "stream-needed") {
    return WithNext(std::move(error),
                    NextCommand(context, fmt::format("evidence --bundle {} --stream STREAM",
                                                     *context.args().Number("bundle"))));
  }
  if (error.reason == "bundle-unknown") {
    return WithNext(std::move(error), NextCommand(context, "log bundle"));
  }
  return std::unexpected(std::move(error));
}

Result<ExitCode> Make(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  auto subject =
      mirror::FindBundleForEvidence(mirror, *context.args().Number("bundle"),
                                    context.args().Text("stream"), context.args().Text("site"));
  if (!subject) return WithEvidenceNext(context, std::move(subject.error()));
  TRY_ASSIGN(JsonValue::Object members, mirror::CollectEvidence(mirror, *subject));
  TRY_ASSIGN(members["parties"], Parties(mirror, *subject));
  members["made_by"] = mirror::CurrentActor();
  members["program"] = "gapferry " + std::string(ProgramVersion());
  const std::string page = mirror::EvidenceHtml(members);
  TRY_ASSIGN(const auto key, manifests::SigningKey::Load(mirror.keys().signing));
  TRY_ASSIGN(const std::string text, manifests::SignEvidence(std::move(members), key));
  const fs::path folder = fs::absolute(context.args().TextOr("to", "."));
  TRY(CheckTargetFolder(folder));
  const fs::path stem =
      folder / ("evidence-" + subject->Name() + (subject->out ? "-sender" : "-recipient"));
  const fs::path file = stem.string() + ".json";
  const fs::path html = stem.string() + ".html";
  TRY(WriteFileAtomically(file, AsBytes(text)));
  TRY(WriteFileAtomically(html, AsBytes(page)));
  context.Print(fmt::format("{}\n{}\nsha256 of the first, for a paper: {}", file.string(),
                            html.string(), Sha256(text).ToHex()));
  context.Emit({{"evidence", file.string()},
                {"page", html.string()},
                {"bundle", subject->Name()},
                {"sha256", Sha256(text).ToHex()}});
  return ExitCode::kDone;
}

// ---- Verifying ---------------------------------------------------------------------------------

struct KnownEvidence {
  JsonValue::Object members;
  Card signer;
};

/// Evidence by somebody whose card is known.
Result<KnownEvidence> ReadKnownEvidence(const std::string& path, const std::vector<Card>& cards) {
  TRY_ASSIGN(const Bytes bytes, ReadFile(path, manifests::kMaxEvidenceBytes));
  auto read = manifests::ReadEvidence(bytes);
  if (!read) return WithContext(std::move(read.error()), "'" + path + "'");
  for (const Card& card : cards) {
    if (card.signing_key != read->key) continue;
    const auto found = read->members.find("mirror");
    const JsonValue own = found == read->members.end() ? JsonValue() : found->second;
    JsonFields fields(own, "mirror");
    const Guid guid = fields.GuidValue("guid");
    fields.Text("name", 64);
    TRY(fields.Finish());
    if (guid != card.guid) {
      return Fail(
          ErrorCode::kUntrusted, "evidence-foreign",
          fmt::format("'{}': is of mirror {}, signed is it by '{}' ({})", path, guid.ToString(),
                      EscapeForDisplay(card.name, 64), card.guid.ToString()));
    }
    return KnownEvidence{std::move(read->members), card};
  }
  Error error;
  error.code = ErrorCode::kUntrusted;
  error.reason = "evidence-unknown-key";
  error.message = fmt::format("'{}': is signed by the key {}, which is on no card known here", path,
                              read->key.Id().ToHex());
  error.next =
      "with the card of the mirror it comes from: gapferry evidence verify FILE --trust "
      "CARD";
  return std::unexpected(std::move(error));
}

/// Cards of --trust and, when there is a mirror, of that; its witnessed heads too.
struct Knowledge {
  std::vector<Card> cards;
  std::optional<mirror::Mirror> mirror;
};

Result<Knowledge> Know(Context& context) {
  Knowledge out;
  for (const std::string& path : context.args().List("trust")) {
    TRY_ASSIGN(const Bytes bytes, ReadFile(path, manifests::kMaxCardBytes));
    TRY_ASSIGN(auto card, manifests::DecodeCard(bytes), "'" + path + "'");
    out.cards.push_back(std::move(card));
  }
  if (!context.global().mirror && !context.MirrorPath()) return out;  // works without one
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(auto cards, CardsOf(mirror));
  for (auto& card : cards) out.cards.push_back(std::move(card));
  out.mirror.emplace(std::move(mirror));
  return out;
}

Result<ExitCode> VerifyEvidence(Context& context, const std::string& path,
                                const Knowledge& knowledge) {
  TRY_ASSIGN(const auto known, ReadKnownEvidence(path, knowledge.cards));
  const auto bundle = known.members.find("bundle");
  const auto* object = bundle == known.members.end() ? nullptr : bundle->second.AsObject();
  const auto name = object == nullptr ? JsonValue::Object::const_iterator() : object->find("name");
  const bool named = object != nullptr && name != object->end() && name->second.AsString();
  const std::string text = named ? *name->second.AsString() : std::string();
  context.Print(fmt::format("{}: as '{}' signed it\nabout {}\nfingerprint {}", path,
                            EscapeForDisplay(known.signer.name, 64), EscapeForDisplay(text, 80),
                            known.signer.Fingerprint()));
  context.Emit({{"evidence", path},
                {"verified", true},
                {"bundle", text},
                {"signer", known.signer.name},
                {"guid", known.signer.guid.ToString()},
                {"fingerprint", known.signer.Fingerprint()}});
  return ExitCode::kDone;
}

/// Heads of the log that evidence files hold: what their signer itself saw.
Result<void> AddHeadsOf(const KnownEvidence& evidence, std::vector<mirror::WitnessedHead>& heads) {
  const auto list = evidence.members.find("witnessed");
  if (list == evidence.members.end()) return {};
  TRY_ASSIGN(const auto found, mirror::HeadsFromJson(list->second));
  for (const auto& head : found) {
    if (head.witness == evidence.signer.guid) heads.push_back(head);
  }
  return {};
}

Result<mirror::LogHeader> HeaderOf(const std::string& path) {
  TRY_ASSIGN(File file, File::OpenRead(path));
  FileSource source(file);
  return mirror::ReadLogHeader(source);
}

Result<ExitCode> VerifyLog(Context& context, const std::string& path, Knowledge& knowledge) {
  TRY_ASSIGN(const auto header, HeaderOf(path), "'" + path + "'");
  std::vector<mirror::WitnessedHead> heads;
  for (const std::string& file : context.args().List("evidence")) {
    TRY_ASSIGN(const auto evidence, ReadKnownEvidence(file, knowledge.cards));
    TRY(AddHeadsOf(evidence, heads));
  }
  if (knowledge.mirror) {
    TRY_ASSIGN(const auto own, mirror::WitnessedHeads(knowledge.mirror->db(), header.mirror));
    heads.insert(heads.end(), own.begin(), own.end());
  }
  TRY_ASSIGN(File file, File::OpenRead(path));
  FileSource source(file);
  auto check = mirror::CheckLog(source, heads);
  if (!check) {
    Error error = WithContext(std::move(check.error()), "'" + path + "'").error();
    error.next =
        error.reason == "log-malformed" || error.reason == "log-truncated"
            ? "export the log again there (gapferry log --export FILE); if it is the same, "
              "keep both files and tell the security officer"
            : "keep the file, and tell the security officer";
    return std::unexpected(std::move(error));
  }
  const std::string name = EscapeForDisplay(header.name, 64);
  json object = {{"log", path},
                 {"mirror", header.mirror.ToString()},
                 {"name", header.name},
                 {"records", check->header.head.id},
                 {"heads", check->heads},
                 {"intact_up_to", nullptr},
                 {"witnessed_in", nullptr}};
  if (!check->last) {
    context.Print(
        fmt::format("log of {}: {} records, whole in itself\nnobody whose heads are here "
                    "has seen it: it may have been written anew",
                    name, check->header.head.id));
    context.Emit(object);
    return ExitCode::kPartlyDone;
  }
  const auto& last = *check->last;
  object["intact_up_to"] = last.head.id;
  object["witnessed_in"] = last.Source();
  context.Print(fmt::format(
      "log of {}: {} records, whole in itself\nintact up to record {}, which was seen in {} of {}; "
      "{} heads were compared\n{} records after it were not seen by anybody yet",
      name, check->header.head.id, last.head.id, last.Source(), Minute(last.created), check->heads,
      check->header.head.id - last.head.id));
  context.Emit(object);
  return ExitCode::kDone;
}

Result<ExitCode> Verify(Context& context) {
  const std::string path = *context.args().Text("FILE");
  TRY_ASSIGN(auto knowledge, Know(context));
  TRY_ASSIGN(File file, File::OpenRead(path));
  Bytes begin(64);
  TRY_ASSIGN(const std::size_t count, file.ReadAt(0, begin));
  const std::string_view first = AsText(begin).substr(0, count);
  if (first.starts_with("{\"_type\":\"gapferry-log/")) return VerifyLog(context, path, knowledge);
  if (first.starts_with("{\"_type\":\"gapferry-evidence/")) {
    return VerifyEvidence(context, path, knowledge);
  }
  Error error;
  error.code = ErrorCode::kUsage;
  error.reason = "evidence-kind";
  error.message = "'" + path + "' is neither a log nor evidence";
  error.next = "gapferry log --export FILE writes a log, gapferry evidence --bundle SEQ evidence";
  return std::unexpected(std::move(error));
}

}  // namespace

std::vector<Command> EvidenceCommands() {
  return {
      {.path = {"evidence"},
       .summary = "write what is known of a bundle, for the security officer",
       .description =
           "Writes two files: signed JSON, and a page to print that says the same: who, when, on "
           "which medium, digests,\nsignatures, what the scanner said, what was imported, what was "
           "refused, receipts, and the heads of the\naudit trails that each side saw of the other. "
           "Both sides of the gap can write it of the same bundle.",
       .examples = {{"gapferry evidence --bundle 7 --to /media/stick"},
                    {"gapferry evidence --bundle 7 --site plant", "of several sites"}},
       .options = {{"--bundle", Takes::kNumber, "SEQ", "the bundle's number", true},
                   {"--stream", Takes::kText, "STREAM", "of the bundle"},
                   {"--site", Takes::kText, "SITE", "for whom it was: stream, name or GUID"},
                   {"--to", Takes::kText, "DIR", "where the files are made (default: here)"}},
       .exits = {ExitCode::kNotFound, ExitCode::kCorrupt},
       .run = Make},
      {.path = {"evidence", "verify"},
       .summary = "check an exported log, or evidence, against what the partner has seen",
       .description =
           "A log that 'gapferry log --export' wrote is walked record by record and compared with "
           "the heads that its\npartner holds: those of the mirror, and of evidence files. It ends "
           "with exit code 21 when records were cut off,\naltered, removed or put in another "
           "order, or the whole log was written anew; with 3 when nobody has seen it.",
       .examples = {{"gapferry evidence verify plant.log", "on the mirror of the other side"},
                    {"gapferry evidence verify plant.log --evidence E.json --trust harbour.card",
                     "anywhere: with evidence of the other side, and its card"},
                    {"gapferry evidence verify evidence-gapferry-plant-000007-sender.json",
                     "whether it is as it was signed, and by whom"}},
       .options = {{"FILE", Takes::kText, {}, "a log or an evidence file", true},
                   {"--evidence", Takes::kList, "FILE", "evidence whose heads count"},
                   {"--trust", Takes::kList, "CARD", "a card whose signature counts"}},
       .exits = {ExitCode::kPartlyDone, ExitCode::kNotFound, ExitCode::kCorrupt,
                 ExitCode::kUntrusted},
       .run = Verify}};
}

}  // namespace gapferry::cli
