#include "tests/support/catalogue/expect.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/text.h"
#include "tests/support/catalogue/rule.h"

namespace gapferry::catalogue {
namespace {

enum class State { kNotApplicable, kApplicable, kInstalled };

class Evaluation {
 public:
  Evaluation(const Catalogue& catalogue, const Machine& machine)
      : catalogue_(catalogue), machine_(machine), states_(catalogue.revisions().size()) {
    for (std::size_t i = 0; i < catalogue.revisions().size(); ++i) {
      index_[catalogue.revisions()[i].id] = i;
    }
    // Every revision refers to earlier ones only: one pass is enough.
    for (std::size_t i = 0; i < states_.size(); ++i) states_[i] = Evaluate(i);
  }

  State state(std::size_t index) const { return states_[index]; }

 private:
  bool HasPrerequisites(const Revision& revision) const {
    return std::ranges::all_of(revision.prerequisites, [this](const Clause& clause) {
      return std::ranges::any_of(clause.alternatives, [this](const Guid& guid) {
        const auto newest = catalogue_.Newest(guid);
        return newest.has_value() && states_[*newest] == State::kInstalled;
      });
    });
  }

  State Evaluate(std::size_t index) const {
    const Revision& revision = catalogue_.revisions()[index];
    if (revision.expired || revision.kind == Kind::kDriver || !HasPrerequisites(revision)) {
      return State::kNotApplicable;
    }
    if (!revision.bundled.empty()) return EvaluateBundle(revision);
    const RuleSet rules = RulesOf(revision);
    if (rules.is_installed && Holds(*rules.is_installed, machine_)) return State::kInstalled;
    const bool installable = !rules.is_installable || Holds(*rules.is_installable, machine_);
    return installable ? State::kApplicable : State::kNotApplicable;
  }

  State EvaluateBundle(const Revision& revision) const {
    bool all_installed = true;
    for (const auto& group : revision.bundled) {
      State best = State::kNotApplicable;
      for (const UpdateId& member : group) best = std::max(best, states_[index_.at(member)]);
      if (best == State::kNotApplicable) return State::kNotApplicable;
      all_installed = all_installed && best == State::kInstalled;
    }
    return all_installed ? State::kInstalled : State::kApplicable;
  }

  const Catalogue& catalogue_;
  const Machine& machine_;
  std::vector<State> states_;
  std::unordered_map<UpdateId, std::size_t> index_;
};

bool IsNewer(const std::string& version, const std::string& installed) {
  const auto parse = [](const std::string& text) {
    std::vector<std::uint32_t> parts;
    for (const std::string_view part : Split(text, '.')) {
      parts.push_back(ParseInt<std::uint32_t>(part).value_or(0));
    }
    return parts;
  };
  return parse(version) > parse(installed);
}

bool DriverFits(const Revision& revision, const Machine& machine) {
  return std::ranges::any_of(revision.drivers, [&machine](const DriverSpec& driver) {
    const auto device = machine.hardware.find(driver.hardware_id);
    return device != machine.hardware.end() && IsNewer(driver.version, device->second);
  });
}

}  // namespace

Expectation Expect(const Catalogue& catalogue, const Machine& machine) {
  const Evaluation evaluation(catalogue, machine);
  Expectation expectation;
  std::unordered_set<Guid> superseded;
  for (std::size_t i = 0; i < catalogue.revisions().size(); ++i) {
    const Revision& revision = catalogue.revisions()[i];
    if (!catalogue.IsNewest(i)) continue;
    if (revision.kind == Kind::kDriver) {
      if (DriverFits(revision, machine)) expectation.drivers.push_back(i);
      continue;
    }
    if (revision.kind != Kind::kBundle && revision.kind != Kind::kLeaf) continue;
    const State state = evaluation.state(i);
    if (state == State::kNotApplicable) continue;
    (state == State::kInstalled ? expectation.installed : expectation.applicable).push_back(i);
    superseded.insert(revision.superseded.begin(), revision.superseded.end());
  }
  for (const std::size_t index : expectation.applicable) {
    if (!superseded.contains(catalogue.revisions()[index].id.guid)) {
      expectation.offered.push_back(index);
    }
  }
  return expectation;
}

}  // namespace gapferry::catalogue
