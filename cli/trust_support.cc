#include "cli/trust_support.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/admin_support.h"

namespace gapferry::cli {
namespace {

using manifests::Holder;
using manifests::StreamRule;
using manifests::TrustState;
using nlohmann::json;

bool IsMeant(const Holder& holder, const std::string& text) {
  return holder.card.guid.ToString() == text || EqualsIgnoreCase(holder.card.name, text) ||
         holder.card.signing_key.Id().ToHex() == text;
}

/// The default, as a rule of nobody.
std::vector<StreamRule> AllRules(const TrustState& state) {
  std::vector<StreamRule> rules = {{Guid{}, "", state.rule, {}}};
  rules.insert(rules.end(), state.rules.begin(), state.rules.end());
  return rules;
}

std::string SenderText(const TrustState& state, const StreamRule& rule) {
  if (rule.sender == Guid{}) return "(every sender without a rule of its own)";
  const Holder* holder = state.Find(rule.sender);
  return holder == nullptr ? rule.sender.ToString() : EscapeForDisplay(holder->card.name, 40);
}

}  // namespace

Result<Holder> FindHolder(const TrustState& state, const std::string& text) {
  std::vector<const Holder*> found;
  std::string known;
  for (const Holder& holder : state.holders) {
    if (IsMeant(holder, text)) found.push_back(&holder);
    known += (known.empty() ? "" : ", ") + EscapeForDisplay(holder.card.name, 40);
  }
  if (found.size() == 1) return *found.front();
  if (found.empty()) {
    return std::unexpected(
        Error{ErrorCode::kNotFound,
              fmt::format("nobody called '{}' is trusted here{}", EscapeForDisplay(text, 64),
                          known.empty() ? "" : "; there are " + known),
              "holder-unknown", "gapferry trust list"});
  }
  return std::unexpected(
      Error{ErrorCode::kUsage,
            fmt::format("{} cards are called '{}'", found.size(), EscapeForDisplay(text, 64)),
            "holder-ambiguous", "name the GUID: gapferry trust list"});
}

std::string RolesText(const Holder& holder) {
  std::vector<std::string> roles;
  for (const auto role : holder.roles) roles.emplace_back(manifests::SignerRoleName(role));
  return fmt::format("{}", fmt::join(roles, "+"));
}

std::string RuleText(const TrustState& state, const StreamRule& rule) {
  if (rule.rule.release_persons == 0) return "origin";
  std::vector<std::string> names;
  for (const Holder* reviewer : state.Reviewers(rule)) {
    names.push_back(EscapeForDisplay(reviewer->card.name, 40));
  }
  return fmt::format("{} of {}: {}", rule.rule.ToString(), names.size(), fmt::join(names, ", "));
}

std::vector<std::vector<std::string>> RuleRows(const TrustState& state) {
  std::vector<std::vector<std::string>> rows = {{"SENDER", "STREAM", "POLICY"}};
  for (const StreamRule& rule : AllRules(state)) {
    rows.push_back({SenderText(state, rule), rule.stream.empty() ? "(all)" : rule.stream,
                    RuleText(state, rule)});
  }
  return rows;
}

json RulesToJson(const TrustState& state) {
  json list = json::array();
  for (const StreamRule& rule : AllRules(state)) {
    json reviewers = json::array();
    for (const Holder* reviewer : state.Reviewers(rule)) {
      reviewers.push_back(reviewer->card.guid.ToString());
    }
    list.push_back({{"sender", rule.sender == Guid{} ? json() : json(rule.sender.ToString())},
                    {"stream", rule.stream},
                    {"policy", rule.rule.ToString()},
                    {"release", rule.rule.release_persons},
                    {"reviewers", std::move(reviewers)}});
  }
  return list;
}

json HolderToJson(const Holder& holder) {
  json ended = json::array();
  for (const auto& key : holder.ended) {
    ended.push_back({{"key_id", key.id.ToHex()}, {"why", key.why}});
  }
  json roles = json::array();
  for (const auto role : holder.roles) roles.push_back(manifests::SignerRoleName(role));
  return {{"guid", holder.card.guid.ToString()},
          {"name", holder.card.name},
          {"roles", std::move(roles)},
          {"state", holder.is_revoked ? "revoked" : "trusted"},
          {"number", holder.number},
          {"key_id", holder.card.signing_key.Id().ToHex()},
          {"fingerprint", holder.card.Fingerprint()},
          {"ended_keys", std::move(ended)}};
}

std::vector<std::vector<std::string>> TrustRows(const TrustState& state) {
  std::vector<std::vector<std::string>> rows;
  const auto policy = state.Policy();
  for (const Holder& holder : state.holders) {
    if (!holder.Has(manifests::SignerRole::kOrigin)) continue;
    const std::string name = EscapeForDisplay(holder.card.name, 40);
    rows.push_back({"  trusts " + name,
                    holder.is_revoked ? "nothing: its key was revoked"
                                      : RuleText(state, policy.RuleFor(holder.card.guid, ""))});
    for (const StreamRule& rule : state.rules) {
      if (rule.sender != holder.card.guid || rule.stream.empty()) continue;
      rows.push_back({"  trusts " + name + "/" + rule.stream, RuleText(state, rule)});
    }
  }
  return rows;
}

std::vector<Notice> FindTrustNotices(const Context& context, const mirror::Config& config,
                                     const TrustState& state, const Everything& all) {
  std::vector<Notice> notices;
  for (const Holder& holder : state.holders) {
    if (!holder.is_revoked) continue;
    notices.push_back({"key-revoked",
                       fmt::format("the key of '{}' was revoked and nothing took its place",
                                   EscapeForDisplay(holder.card.name, 64)),
                       NextCommand(context, "trust add CARD --replace")});
  }
  for (const StreamRule& rule : AllRules(state)) {
    const std::size_t there = state.Reviewers(rule).size();
    if (rule.rule.release_persons <= there) continue;
    notices.push_back({"policy-impossible",
                       fmt::format("the policy asks for {} releases, and {} reviewers are trusted: "
                                   "no bundle can be imported",
                                   rule.rule.release_persons, there),
                       NextCommand(context, "trust policy")});
  }
  const std::uint32_t days = config.import.warn_after_days;
  if (days == 0 || !all.last_import) return notices;
  const UtcTime at = all.last_import->imported_at;
  if (all.now > at + std::chrono::hours(24 * days)) {
    notices.push_back({"bundle-old",
                       fmt::format("no bundle has been imported since {}, for more than {} days: "
                                   "somebody may be keeping them back",
                                   at.ToXml(), days),
                       NextCommand(context, "import PATH")});
  }
  return notices;
}

}  // namespace gapferry::cli
