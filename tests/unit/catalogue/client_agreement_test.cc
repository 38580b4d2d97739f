#include <gtest/gtest.h>

#include "client/facts.h"
#include "client/fragment_reader.h"
#include "client/rules.h"
#include "protocol/fragments.h"
#include "protocol/update_document.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/machine.h"

// The generator's expectations and the client evaluate rules independently; they must agree on
// every rule of every machine, through documents, fragments and facts files.

namespace gapferry::catalogue {
namespace {

client::Truth Truth(const std::optional<client::Rule>& rule, client::RuleEvaluator& evaluator,
                    const client::RuleMetadata& metadata) {
  return rule ? evaluator.Evaluate(*rule, metadata) : client::Truth::kUnknown;
}

void CompareRule(const Revision& revision, const std::optional<Rule>& mine, client::Truth theirs,
                 const Machine& machine) {
  if (!mine.has_value()) return;
  EXPECT_EQ(Holds(*mine, machine), theirs == client::Truth::kTrue) << revision.path;
}

class Agreement : public testing::TestWithParam<std::string_view> {};

TEST_P(Agreement, OnEveryRule) {
  const Catalogue catalogue = Catalogue::Make(Options{}, 2).value();
  const Machine machine = MachineOf(catalogue, GetParam()).value();
  const auto facts = client::Facts::Parse(FactsYaml(machine), "facts");
  ASSERT_TRUE(facts.has_value()) << facts.error().message;
  client::RuleEvaluator evaluator(*facts);
  for (const Revision& revision : catalogue.revisions()) {
    if (revision.kind == Kind::kDriver) continue;  // matched by the server
    protocol::FragmentCollector fragments;
    ASSERT_TRUE(
        protocol::ParseUpdateDocument(Document(catalogue, revision), &fragments).has_value());
    const auto core = client::ParseCore(fragments.Find(protocol::FragmentKind::kCore));
    ASSERT_TRUE(core.has_value()) << revision.path << ": " << core.error().message;
    const RuleSet rules = RulesOf(revision);
    EXPECT_EQ(core->is_installed.has_value(), rules.is_installed.has_value());
    EXPECT_EQ(core->is_installable.has_value(), rules.is_installable.has_value());
    CompareRule(revision, rules.is_installed, Truth(core->is_installed, evaluator, core->metadata),
                machine);
    CompareRule(revision, rules.is_superseded,
                Truth(core->is_superseded, evaluator, core->metadata), machine);
    CompareRule(revision, rules.is_installable,
                Truth(core->is_installable, evaluator, core->metadata), machine);
  }
}

INSTANTIATE_TEST_SUITE_P(Machines, Agreement,
                         testing::Values("workstation-x64", "workstation-arm64", "server-x64",
                                         "workstation-current", "kiosk-x64"),
                         [](const auto& profile) {
                           std::string name(profile.param);
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace gapferry::catalogue
