// gapferry trust: whose bundles are accepted, and who has to release them.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/audited_change.h"
#include "cli/card_check.h"
#include "cli/command.h"
#include "cli/context.h"
#include "cli/key_support.h"
#include "cli/trust_support.h"
#include "importer/own_side.h"
#include "manifests/trust_store.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"
#include "mirror/trust_log.h"

namespace gapferry::cli {
namespace {

using manifests::LocalPolicy;
using manifests::StreamRule;
using mirror::Mirror;
using nlohmann::json;

mirror::AuditEntry EntryOf(const char* action, const std::string& object,
                           JsonValue::Object detail) {
  return {mirror::CurrentActor(), action, object, WriteCanonicalJson(JsonValue(std::move(detail)))};
}

std::unexpected<Error> Refuse(ErrorCode code, std::string reason, std::string message,
                              std::string next) {
  return std::unexpected(Error{code, std::move(message), std::move(reason), std::move(next)});
}

// ---- add ---------------------------------------------------------------------------------------

/// The roles that a card is trusted for: those it names, or fewer.
Result<std::vector<manifests::SignerRole>> ChooseRoles(Context& context,
                                                       const manifests::Card& card) {
  const auto given = context.args().List("role");
  if (given.empty()) return card.roles;
  std::vector<manifests::SignerRole> roles;
  for (const std::string& text : given) {
    TRY_ASSIGN(const auto role, manifests::ParseSignerRole(text));
    if (std::ranges::find(card.roles, role) == card.roles.end()) {
      return Refuse(
          ErrorCode::kUsage, "card-role",
          "the card of '" + EscapeForDisplay(card.name, 64) + "' is not made for role " + text,
          "ask its holder for a card of that role: gapferry key create --role " + text);
    }
    if (std::ranges::find(roles, role) == roles.end()) roles.push_back(role);
  }
  std::ranges::sort(roles);
  return roles;
}

/// Puts the card in place of the one that is there: the old key ends here.
Result<void> Replace(Mirror& mirror, const manifests::Holder& known, const Bytes& bytes) {
  const auto& folder = mirror.keys().trusted_folder;
  TRY_ASSIGN(LocalPolicy local, manifests::ReadLocalPolicy(folder));
  local.ended.push_back({known.card.signing_key.Id(), known.card.guid, known.card.name,
                         "replaced here by another card"});
  TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes));
  // People compared this key now, whatever was said about it before.
  std::erase_if(local.ended, [&](const auto& ended) { return ended.id == card.signing_key.Id(); });
  TRY(manifests::WriteLocalPolicy(folder, local));
  TRY(manifests::ReplaceTrustedCard(folder, bytes));
  return mirror::ForgetTrustDocuments(mirror.db(), known.card.guid);
}

Result<void> KeepRoles(Mirror& mirror, const manifests::Card& card,
                       const std::vector<manifests::SignerRole>& roles) {
  const auto& folder = mirror.keys().trusted_folder;
  TRY_ASSIGN(LocalPolicy local, manifests::ReadLocalPolicy(folder));
  const LocalPolicy before = local;
  local.roles.erase(card.guid);
  if (roles != card.roles) local.roles[card.guid] = roles;
  return local == before ? Result<void>() : manifests::WriteLocalPolicy(folder, local);
}

std::string Purpose(const std::vector<manifests::SignerRole>& roles) {
  const auto has = [&](manifests::SignerRole role) {
    return std::ranges::find(roles, role) != roles.end();
  };
  if (!has(manifests::SignerRole::kRelease)) return "may its bundles be imported here";
  if (!has(manifests::SignerRole::kOrigin)) return "may it release bundles for this mirror";
  return "may it send bundles here and release those of others";
}

/// The command that was typed, for those who have to answer it.
std::string AddCommand(const Context& context) {
  std::string words = "trust add " + ShellWord(*context.args().Text("CARD"));
  for (const std::string& role : context.args().List("role")) words += " --role " + role;
  if (context.args().Has("replace")) words += " --replace";
  return NextCommand(context, words);
}

/// Connected side: another card for a site that lost its keys, compared by voice.
Result<bool> ReplaceSiteCard(Context& context, Mirror& mirror, const manifests::Card& card,
                             const Bytes& bytes) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.SiteByGuid(card.guid));
  if (!site || !context.args().Has("replace")) return false;
  const std::string name = EscapeForDisplay(site->name, 64);
  context.Say("card of site " + name + "\nfingerprint " + card.Fingerprint() +
              "\nin place of the card that is known");
  TRY(ConfirmCard(context, card, AddCommand(context),
                  "Does " + name + " read the same fingerprint to you?"));
  TRY_ASSIGN(auto transaction,
             mirror::Transaction::Begin(mirror.db(), mirror::TransactionKind::kWrite));
  TRY(mirror.db().Run("UPDATE site SET card = ? WHERE guid = ?", bytes, card.guid));
  TRY(mirror::ForgetTrustDocuments(mirror.db(), card.guid));
  TRY(mirror::AppendAudit(
      mirror.db(), mirror.clock().Now(),
      {mirror::CurrentActor(), "site.replace", card.guid.ToString(),
       WriteCanonicalJson(JsonValue::Object{{"fingerprint", card.Fingerprint()},
                                            {"key", card.signing_key.Id().ToHex()}})}));
  TRY(transaction.Commit());
  context.Print("site " + name + " goes by its new card");
  context.Emit({{"guid", card.guid.ToString()},
                {"name", card.name},
                {"fingerprint", card.Fingerprint()},
                {"key_id", card.signing_key.Id().ToHex()},
                {"replaced", true}});
  return true;
}

Result<ExitCode> Add(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  const std::string file = *context.args().Text("CARD");
  TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
  TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes), "'" + file + "'");
  if (card.guid == mirror.identity().guid) {
    return std::unexpected(
        Error{ErrorCode::kUsage, "'" + file + "' is this mirror's own card", "trust-self",
              "name the card that the other side printed with: gapferry identity "
              "show"});
  }
  TRY_ASSIGN(const bool was_site, ReplaceSiteCard(context, mirror, card, bytes));
  if (was_site) return ExitCode::kDone;
  TRY_ASSIGN(const auto roles, ChooseRoles(context, card));
  TRY_ASSIGN(const auto state, importer::ReadTrust(mirror));
  const manifests::Holder* known = state.Find(card.guid);
  const bool replaces = context.args().Has("replace") && known != nullptr;
  const std::string name = EscapeForDisplay(card.name, 64);
  context.Say(fmt::format("card of {} ({})\nfingerprint {}", name, card.guid.ToString(),
                          card.Fingerprint()));
  if (replaces) {
    context.Say("in place of the card with fingerprint " + known->card.Fingerprint() +
                ", whose key ends here");
  }
  if (!replaces) TRY(manifests::CheckTrustedCard(mirror.keys().trusted_folder, bytes));
  TRY(ConfirmCard(
      context, card, AddCommand(context),
      "Does " + name + " read the same fingerprint to you, and " + Purpose(roles) + "?"));
  const auto keep = [&]() -> Result<void> {
    TRY(replaces ? Replace(mirror, *known, bytes)
                 : manifests::AddTrustedCard(mirror.keys().trusted_folder, bytes));
    return KeepRoles(mirror, card, roles);
  };
  TRY(ChangeAudited(mirror,
                    EntryOf(replaces ? "trust.replace" : "trust.add", card.guid.ToString(),
                            {{"fingerprint", card.Fingerprint()},
                             {"key", card.signing_key.Id().ToHex()},
                             {"name", card.name}}),
                    keep));
  const bool sends = std::ranges::find(roles, manifests::SignerRole::kOrigin) != roles.end();
  context.Print(sends ? "bundles of " + name + " are accepted"
                      : name +
                            " may release bundles; 'gapferry trust policy --release 1' asks "
                            "for it");
  context.Emit({{"guid", card.guid.ToString()},
                {"name", card.name},
                {"fingerprint", card.Fingerprint()},
                {"key_id", card.signing_key.Id().ToHex()},
                {"replaced", replaces}});
  return ExitCode::kDone;
}

// ---- list, policy ------------------------------------------------------------------------------

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto state, importer::ReadTrust(mirror));
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ROLES", "STATE", "KEY", "FINGERPRINT", "GUID"}};
  for (const auto& holder : state.holders) {
    rows.push_back({EscapeForDisplay(holder.card.name, 40), RolesText(holder),
                    holder.is_revoked ? "revoked" : "trusted", holder.card.signing_key.Id().ToHex(),
                    holder.card.Fingerprint(), holder.card.guid.ToString()});
    for (const auto& ended : holder.ended) {
      rows.push_back({"", "", "ended", ended.id.ToHex(), EscapeForDisplay(ended.why, 60), ""});
    }
    context.Emit(HolderToJson(holder));
  }
  context.Print(state.holders.empty() ? "nobody is trusted here yet" : FormatTable(rows));
  return ExitCode::kDone;
}

/// GUIDs of the reviewers named, ascending.
Result<std::vector<Guid>> NamedReviewers(Context& context, const manifests::TrustState& state) {
  std::vector<Guid> guids;
  for (const std::string& text : context.args().List("reviewer")) {
    TRY_ASSIGN(const auto holder, FindHolder(state, text));
    if (!holder.Has(manifests::SignerRole::kRelease)) {
      return Refuse(ErrorCode::kUsage, "not-a-reviewer",
                    "'" + EscapeForDisplay(holder.card.name, 64) + "' is trusted as " +
                        RolesText(holder) + ", not for release",
                    "gapferry trust add CARD --role release");
    }
    guids.push_back(holder.card.guid);
  }
  std::ranges::sort(guids);
  const auto repeated = std::ranges::unique(guids);
  guids.erase(repeated.begin(), repeated.end());
  return guids;
}

/// The rule that the options describe, checked: more releases than reviewers would let nothing in.
Result<StreamRule> WantedRule(Context& context, const manifests::TrustState& state) {
  StreamRule rule;
  if (const auto sender = context.args().Text("SENDER")) {
    TRY_ASSIGN(const auto holder, FindHolder(state, *sender));
    if (!holder.Has(manifests::SignerRole::kOrigin)) {
      return Refuse(ErrorCode::kUsage, "not-a-sender",
                    "'" + EscapeForDisplay(holder.card.name, 64) + "' is trusted as " +
                        RolesText(holder) + " and sends no bundles",
                    "gapferry trust list");
    }
    rule.sender = holder.card.guid;
  }
  rule.stream = context.args().TextOr("stream", "");
  TRY_ASSIGN(rule.reviewers, NamedReviewers(context, state));
  const std::uint64_t release = context.args().Number("release").value_or(0);
  const std::size_t there = state.Reviewers(rule).size();
  if (release > there) {
    return Refuse(
        ErrorCode::kUsage, "policy-impossible",
        fmt::format("{} releases are asked for, but {} reviewers are trusted here", release, there),
        "gapferry trust add CARD --role release");
  }
  rule.rule.release_persons = static_cast<unsigned>(release);
  return rule;
}

/// Whether anything at all is to be changed.
bool ChangesPolicy(const Context& context) {
  return context.args().Has("release") || context.args().Has("default") ||
         context.args().Has("reviewer") || context.args().Has("stream");
}

Result<void> ChangePolicy(Context& context, Mirror& mirror, const manifests::TrustState& state) {
  TRY_ASSIGN(const StreamRule rule, WantedRule(context, state));
  const bool drops = context.args().Has("default");
  const bool is_default = rule.sender == Guid{};
  if (!drops && !context.args().Has("release")) {
    return Refuse(ErrorCode::kUsage, "usage", "--release is missing: how many persons?",
                  "gapferry trust policy --help");
  }
  if (is_default && (drops || !rule.stream.empty() || !rule.reviewers.empty())) {
    return Refuse(ErrorCode::kUsage, "usage", "--stream, --reviewer and --default need a SENDER",
                  "gapferry trust policy SENDER --release K");
  }
  TRY_ASSIGN(LocalPolicy local, manifests::ReadLocalPolicy(mirror.keys().trusted_folder));
  if (is_default) {
    local.rule = rule.rule;
  } else {
    std::erase_if(local.rules, [&](const StreamRule& one) {
      return one.sender == rule.sender && one.stream == rule.stream;
    });
    if (!drops) local.rules.push_back(rule);
  }
  TRY(context.ConfirmOnTerminal("Change the policy to '" +
                                (drops ? std::string("the default") : RuleText(state, rule)) +
                                "'?"));
  return ChangeAudited(
      mirror,
      EntryOf("trust.policy", is_default ? "default" : rule.sender.ToString(),
              {{"policy", drops ? std::string("default") : rule.rule.ToString()},
               {"reviewers", rule.reviewers.size()},
               {"stream", rule.stream}}),
      [&] { return manifests::WriteLocalPolicy(mirror.keys().trusted_folder, local); });
}

Result<ExitCode> Policy(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(auto state, importer::ReadTrust(mirror));
  if (ChangesPolicy(context)) {
    TRY(ChangePolicy(context, mirror, state));
    TRY_ASSIGN(state, importer::ReadTrust(mirror));
  }
  context.Print(FormatTable(RuleRows(state)));
  context.Emit({{"rules", RulesToJson(state)}});
  return ExitCode::kDone;
}

// ---- revoke, rotate ----------------------------------------------------------------------------

/// The document that reviewers sign to end somebody's key at all sites.
Result<ExitCode> WriteRevocation(Context& context, const Mirror& mirror,
                                 const manifests::Holder& holder, const std::string& why) {
  manifests::TrustDocument document;
  document.act = manifests::TrustAct::kRevocation;
  document.holder = holder.card.guid;
  document.number = holder.number + 1;
  document.ended_key = holder.card.signing_key.Id();
  document.created = mirror.clock().Now();
  document.why = why;
  context.Say(DescribeTrust(document));
  TRY(HandOut(context, document));
  context.Say("reviewers sign it: gapferry sign " + *context.args().Text("to") + " --key KEYS");
  context.Emit({{"guid", holder.card.guid.ToString()},
                {"key_id", document.ended_key.ToHex()},
                {"document", *context.args().Text("to")}});
  return ExitCode::kDone;
}

Result<ExitCode> Revoke(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(const auto state, importer::ReadTrust(mirror));
  TRY_ASSIGN(const auto holder, FindHolder(state, *context.args().Text("WHO")));
  const std::string why = context.args().TextOr("why", "no reason given");
  if (why.size() > 120) {
    return Fail(ErrorCode::kUsage, "--why: longer than 120 bytes");
  }
  if (context.args().Has("to")) return WriteRevocation(context, mirror, holder, why);
  const manifests::KeyId key = holder.card.signing_key.Id();
  const std::string name = EscapeForDisplay(holder.card.name, 64);
  if (!holder.is_revoked) {
    TRY(context.Confirm("Stop accepting what key " + key.ToHex() + " of " + name + " signs?"));
    TRY_ASSIGN(LocalPolicy local, manifests::ReadLocalPolicy(mirror.keys().trusted_folder));
    local.ended.push_back({key, holder.card.guid, holder.card.name, "revoked: " + why});
    TRY(ChangeAudited(
        mirror,
        EntryOf("trust.revoke", holder.card.guid.ToString(),
                {{"ended_key", key.ToHex()}, {"why", why}}),
        [&] { return manifests::WriteLocalPolicy(mirror.keys().trusted_folder, local); }));
  }
  context.Print(fmt::format(
      "key {} of {} does not count here any more\na new card, compared by voice: gapferry trust "
      "add CARD --replace",
      key.ToHex(), name));
  context.Emit({{"guid", holder.card.guid.ToString()},
                {"key_id", key.ToHex()},
                {"changed", !holder.is_revoked}});
  return ExitCode::kDone;
}

std::string OutcomeText(const importer::TrustVerdict& verdict) {
  using enum manifests::TrustOutcome;
  switch (verdict.outcome) {
    case kApplied:
      return "applied";
    case kOld:
      return "known already";
    case kForeign:
      return "nobody here trusts its holder; to let bundles carry it: gapferry key carry FILE";
    case kUnproven:
      return "not applied: neither the key that ends nor enough reviewers signed it";
    case kOutOfTurn:
      return "not applied: an earlier change of these keys is missing";
  }
  return "";
}

Result<ExitCode> Rotate(Context& context) {
  TRY_ASSIGN(auto mirror, OpenMirror(context));
  TRY_ASSIGN(auto documents, ReadTrustFile(*context.args().Text("FILE")));
  for (const auto& document : documents) context.Say(DescribeTrust(document));
  TRY(context.ConfirmOnTerminal("Apply this?"));
  TRY_ASSIGN(const auto verdicts,
             importer::AcceptTrust(mirror, std::move(documents), mirror::CurrentActor()));
  bool refused = false;
  for (const auto& verdict : verdicts) {
    using enum manifests::TrustOutcome;
    refused = refused || (verdict.outcome != kApplied && verdict.outcome != kOld);
    context.Print(fmt::format("number {} of {}: {}", verdict.document.number,
                              verdict.document.holder.ToString(), OutcomeText(verdict)));
    context.Emit({{"holder", verdict.document.holder.ToString()},
                  {"number", verdict.document.number},
                  {"outcome", manifests::TrustOutcomeName(verdict.outcome)},
                  {"of", verdict.of}});
  }
  if (!refused) return ExitCode::kDone;
  return Refuse(
      ErrorCode::kUntrusted, "trust-unproven",
      "not all documents could be applied; what could be is",
      "let the reviewers sign it (gapferry sign FILE --key KEYS), or compare a new card by "
      "voice: gapferry trust add CARD --replace");
}

}  // namespace

std::vector<Command> TrustCommands() {
  const std::vector<ExitCode> exits = {ExitCode::kNotFound, ExitCode::kCorrupt,
                                       ExitCode::kUntrusted};
  return {
      {.path = {"trust", "add"},
       .summary = "trust the mirror or the person whose card this is",
       .description =
           "The fingerprint is shown and must be compared with what the other side "
           "reads from its own screen: a card that nobody compared is the way in; without "
           "a terminal nothing is added unless --fingerprint or --yes answers. Cards "
           "of mirrors send bundles, cards of persons ('gapferry key create') release "
           "them.",
       .examples = {{"gapferry trust add harbour.card", "shows the fingerprint and asks"},
                    {"gapferry trust add harbour.card --fingerprint "
                     "abcd-efgh-ijkl-mnop-qrst-uvwx-yz23-4567",
                     "what the other side reads by telephone: added when it is the card's"},
                    {"gapferry trust add jane.card --role release --yes",
                     "compared before: does not ask"},
                    {"gapferry trust add harbour.card --replace",
                     "the old key is lost and nobody could sign for the new one"}},
       .options =
           {{"CARD", Takes::kText, {}, "the other's card", true},
            {"--role",
             Takes::kList,
             "ROLE",
             "only for this, not for all that the card names",
             false,
             {"origin", "release"}},
            {"--replace", Takes::kNothing, {}, "in place of another card of the same holder"},
            FingerprintOption()},
       .asks = true,
       .exits = exits,
       .run = Add},
      {.path = {"trust", "list"},
       .summary = "list who is trusted: roles, keys, fingerprints, keys that ended",
       .examples = {{"gapferry trust list", "one line per card, and per key that ended"},
                    {"gapferry trust list --json", "the same for programs, one object per line"}},
       .exits = exits,
       .run = List},
      {.path = {"trust", "policy"},
       .summary = "show or change how many persons have to release a bundle",
       .description =
           "Every bundle needs the signature of its sender (origin). With --release K it "
           "needs those of K different persons as well; persons are counted, not keys.",
       .examples = {{"gapferry trust policy", "shows which policy applies to whom"},
                    {"gapferry trust policy --release 1", "for every sender"},
                    {"gapferry trust policy Harbour --stream plant --release 2 --reviewer Jane "
                     "--reviewer Joe --reviewer Ann",
                     "two of these three, for one stream"}},
       .options = {{"SENDER", Takes::kText, {}, "name, GUID or key id; without: the default"},
                   {"--release", Takes::kNumber, "K", "persons beside the sender; 0: none"},
                   {"--stream", Takes::kText, "STREAM", "only for this stream of the sender"},
                   {"--reviewer", Takes::kList, "WHO", "only these persons count"},
                   {"--default", Takes::kNothing, {}, "drop the sender's own rule"}},
       .asks = true,
       .exits = exits,
       .run = Policy},
      {.path = {"trust", "revoke"},
       .summary = "stop trusting somebody's key, or write the document that ends it everywhere",
       .examples = {{"gapferry trust revoke Harbour --why 'laptop stolen'",
                     "at once, for this mirror"},
                    {"gapferry trust revoke Harbour --to harbour.revocation",
                     "to be signed by reviewers and carried to all sites"}},
       .options = {{"WHO", Takes::kText, {}, "name, GUID or key id", true},
                   {"--why", Takes::kText, "TEXT", "for people, at most 120 bytes"},
                   {"--to", Takes::kText, "FILE", "write a document, change nothing here"}},
       .asks = true,
       .exits = exits,
       .run = Revoke},
      {.path = {"trust", "rotate"},
       .summary = "apply changes and ends of keys that came as a file",
       .description =
           "Bundles and returns bring them by themselves. A document counts when the key "
           "that ends signed it, or as many reviewers as the policy asks for.",
       .examples = {{"gapferry trust rotate harbour.rotation", "the sender's new keys"},
                    {"gapferry trust rotate plant.rotation", "connected side: those of a site"}},
       .options = {{"FILE", Takes::kText, {}, "trust documents, one per line", true}},
       .asks = true,
       .exits = exits,
       .run = Rotate}};
}

}  // namespace gapferry::cli
