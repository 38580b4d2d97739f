#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/facts.h"

namespace gapferry::client {

/// One node of a rule expression, with the name it has in a client's fragment: "And", "b.RegDword".
struct Rule {
  std::string name;
  std::vector<std::pair<std::string, std::string>> attributes = {};
  std::vector<Rule> operands = {};

  /// Null when absent.
  const std::string* Find(std::string_view attribute) const;
};

/// What some rules look at besides the computer: the update's own applicability metadata.
struct RuleMetadata {
  struct Package {  ///< CbsPackageApplicabilityMetadata/assembly/assemblyIdentity
    std::string name;
    std::string version;
    std::string architecture;
  };
  struct Driver {  ///< d.WindowsDriverMetaData
    std::string hardware_id;
    std::string version;
  };
  std::vector<Package> packages;
  std::vector<Driver> drivers;
};

/// Rules of a kind that this program does not know are neither true nor false: `Not` keeps them
/// unknown, `And` and `Or` are decided by their other operands where these suffice.
enum class Truth { kFalse, kUnknown, kTrue };

/// Evaluates applicability rules (BaseApplicabilityRules.xsd, MsiApplicabilityRules.xsd) against
/// the facts of a simulated computer. Operators: And, Or, Not, True, False; WindowsVersion,
/// PlatformVersion, Platform, Processor, WindowsLanguage, RegDword, RegSz, RegExpandSz,
/// RegSzToVersion, RegKeyExists, RegValueExists, FileExists, FileVersion (both also with
/// PrependRegSz), LicenseDword, LicenseValueExists, MsiProductInstalled, CbsPackageInstalled,
/// CbsPackageInstallable, WindowsDriverInstalled, WindowsDriverInstallable,
/// WindowsDriverSuperseded. A rule whose attributes are missing or malformed counts as unknown.
/// Thread-compatible; `facts` must outlive it.
class RuleEvaluator {
 public:
  explicit RuleEvaluator(const Facts& facts) : facts_(facts) {}

  Truth Evaluate(const Rule& rule, const RuleMetadata& metadata);

  /// Names of the operators that were unknown so far, such as "b.WmiQuery".
  const std::set<std::string>& unknown_operators() const { return unknown_; }
  void ForgetUnknown() { unknown_.clear(); }

 private:
  Truth Leaf(const Rule& rule, const RuleMetadata& metadata);
  Truth WindowsVersion(const Rule& rule) const;
  Truth Registry(const Rule& rule, std::string_view kind) const;
  Truth File(const Rule& rule, std::string_view kind) const;
  Truth MsiProduct(const Rule& rule) const;
  Truth Package(const RuleMetadata& metadata, bool installed) const;
  Truth Driver(const RuleMetadata& metadata, std::string_view kind) const;
  Truth License(const Rule& rule, std::string_view kind) const;

  const Facts& facts_;
  std::set<std::string> unknown_;
};

}  // namespace gapferry::client
