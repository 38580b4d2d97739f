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
  std::string text = {};  ///< character data, of the lists of some MSI rules

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
    std::string date = {};
  };
  struct PatchTarget {  ///< MsiPatch/TargetProduct
    std::vector<std::string> product_codes;
    std::string version;  ///< empty: any
    std::string comparison;
    std::string filter;  ///< Major, MajorMinor, MajorMinorUpdate: how much of it is compared
  };
  struct Patch {  ///< m.MsiPatchMetadata/MsiPatch
    std::string code;
    std::vector<PatchTarget> targets;
  };
  std::vector<Package> packages;
  std::vector<Driver> drivers;
  std::vector<Patch> patches;
  std::vector<std::string> product_codes;  ///< m.MsiApplicationMetadata
};

/// Rules of a kind that this program does not know are neither true nor false: `Not` keeps them
/// unknown, `And` and `Or` are decided by their other operands where these suffice.
enum class Truth { kFalse, kUnknown, kTrue };

/// Evaluates applicability rules (BaseApplicabilityRules.xsd, MsiApplicabilityRules.xsd,
/// WindowsDriver.xsd, and those that newer documents use without a schema) against the facts of a
/// simulated computer. docs/facts.md lists the operators. A rule whose attributes are missing,
/// malformed or not known here counts as unknown, and so do WMI queries that the facts do not
/// mention. Thread-compatible; `facts` must outlive it.
class RuleEvaluator {
 public:
  explicit RuleEvaluator(const Facts& facts) : facts_(facts) {}

  Truth Evaluate(const Rule& rule, const RuleMetadata& metadata);

  /// What InstalledOnce answers for the update whose rules come next.
  void SetInstalledOnce(bool installed_once) { installed_once_ = installed_once; }

  /// Names of the operators that were unknown so far, such as "b.WmiQuery".
  const std::set<std::string>& unknown_operators() const { return unknown_; }
  void ForgetUnknown() { unknown_.clear(); }

 private:
  Truth Leaf(const Rule& rule, const RuleMetadata& metadata);
  Truth BaseRule(const Rule& rule, std::string_view kind) const;
  Truth MsiRule(const Rule& rule, const RuleMetadata& metadata, std::string_view kind) const;
  Truth WindowsVersion(const Rule& rule) const;
  Truth Processor(const Rule& rule) const;
  Truth Language(const Rule& rule, bool mui) const;
  Truth ClosedQuery(const Rule& rule, std::string_view kind) const;
  Truth Registry(const Rule& rule, std::string_view kind) const;
  Truth File(const Rule& rule, std::string_view kind) const;
  Truth License(const Rule& rule, std::string_view kind) const;
  Truth MsiProductRule(const Rule& rule) const;
  Truth MsiParts(const Rule& rule, bool features) const;
  Truth MsiPatch(const RuleMetadata& metadata, std::string_view state) const;
  Truth Package(const RuleMetadata& metadata, bool installed) const;
  Truth Driver(const RuleMetadata& metadata, std::string_view kind) const;

  const Facts& facts_;
  std::set<std::string> unknown_;
  bool installed_once_ = false;
};

}  // namespace gapferry::client
