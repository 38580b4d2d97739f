#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gapferry::catalogue {

struct Machine;

/// One applicability rule: a name with the prefix it is written with ("bar:RegDword"), attributes
/// in document order, operands.
struct Rule {
  std::string_view name;  ///< a literal
  std::vector<std::pair<std::string_view, std::string>> attributes = {};
  std::vector<Rule> operands = {};
};

/// The expressions below ApplicabilityRules that a computer evaluates.
struct RuleSet {
  std::optional<Rule> is_installed;
  std::optional<Rule> is_superseded;
  std::optional<Rule> is_installable;
};

Rule True();
Rule And(std::vector<Rule> operands);
Rule Or(std::vector<Rule> operands);
Rule Not(Rule operand);
Rule RegDword(std::string subkey, std::string value, std::string_view comparison, std::string data);
Rule RegSz(std::string subkey, std::string value, std::string_view comparison, std::string data);
Rule RegValueExists(std::string subkey, std::string value, std::string type);
Rule FileVersion(std::string path, std::string_view comparison, std::string version,
                 std::string subkey, std::string value);
Rule MsiProduct(std::string product_code, std::string version_min);
Rule Processor(std::string architecture);
Rule License(std::string value, std::string data);
/// Exactly this build; an empty product type means any.
Rule WindowsBuild(std::string build, std::string product_type);
Rule WindowsAtLeast(std::string major, std::string minor, std::string product_type);
Rule CbsInstalled();
Rule CbsInstallable();

/// True when the rule holds on `machine`. Operators that need the component store are false: no
/// profile has one.
bool Holds(const Rule& rule, const Machine& machine);

}  // namespace gapferry::catalogue
