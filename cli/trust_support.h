#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "cli/survey.h"
#include "manifests/trust_state.h"

namespace gapferry::cli {

/// A holder by GUID, name (without case) or key id. kNotFound lists those there are, kUsage when
/// several fit.
Result<manifests::Holder> FindHolder(const manifests::TrustState& state, const std::string& text);

/// "origin + 2 release of 3: Jane, Joe, Ann"
std::string RuleText(const manifests::TrustState& state, const manifests::StreamRule& rule);

/// Every rule, the default first; rows for people and for programs.
std::vector<std::vector<std::string>> RuleRows(const manifests::TrustState& state);
nlohmann::json RulesToJson(const manifests::TrustState& state);
nlohmann::json HolderToJson(const manifests::Holder& holder);
std::string RolesText(const manifests::Holder& holder);

/// One row per sender and stream with a rule: "  trusts Harbour", the policy that applies.
std::vector<std::vector<std::string>> TrustRows(const manifests::TrustState& state);

/// What is wrong with trust on a mirror fed by bundles: senders whose key was revoked, policies
/// that nobody can satisfy, and no bundle for longer than `import.warn_after_days`.
std::vector<Notice> FindTrustNotices(const Context& context, const mirror::Config& config,
                                     const manifests::TrustState& state, const Everything& all);

}  // namespace gapferry::cli
