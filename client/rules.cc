#include "client/rules.h"

#include <algorithm>

#include "client/rule_values.h"

namespace gapferry::client {

const std::string* Rule::Find(std::string_view attribute) const {
  for (const auto& [name_, value] : attributes) {
    if (name_ == attribute) return &value;
  }
  return nullptr;
}

Truth RuleEvaluator::Evaluate(const Rule& rule, const RuleMetadata& metadata) {
  if (rule.name == "True") return Truth::kTrue;
  if (rule.name == "False") return Truth::kFalse;
  if (rule.name == "Not") {
    if (rule.operands.size() != 1) return Truth::kUnknown;
    const Truth operand = Evaluate(rule.operands.front(), metadata);
    if (operand == Truth::kUnknown) return operand;
    return Of(operand == Truth::kFalse);
  }
  if (rule.name == "And" || rule.name == "Or") {
    // The order of the enumerators makes And the least and Or the greatest of the operands.
    const bool is_and = rule.name == "And";
    Truth result = Of(is_and);
    for (const Rule& operand : rule.operands) {
      const Truth truth = Evaluate(operand, metadata);
      result = is_and ? std::min(result, truth) : std::max(result, truth);
      if (result == Of(!is_and)) break;
    }
    return result;
  }
  const Truth truth = Leaf(rule, metadata);
  if (truth == Truth::kUnknown) unknown_.insert(EscapeForDisplay(rule.name, 80));
  return truth;
}

Truth RuleEvaluator::Leaf(const Rule& rule, const RuleMetadata& metadata) {
  const std::string_view name = rule.name;
  if (name == "CbsPackageInstalled") return Package(metadata, /*installed=*/true);
  if (name == "CbsPackageInstallable") return Package(metadata, /*installed=*/false);
  if (name.starts_with("m.")) return MsiRule(rule, metadata, name.substr(2));
  if (name.starts_with("d.WindowsDriver")) return Driver(metadata, name.substr(15));
  // Newer rules have no schema and come with or without a prefix.
  const std::string_view kind = name.starts_with("b.") ? name.substr(2) : name;
  if (kind == "DeviceAttribute" || kind == "ProductReleaseInstalled") {
    return ClosedQuery(rule, kind);
  }
  return name.starts_with("b.") ? BaseRule(rule, kind) : Truth::kUnknown;
}

Truth RuleEvaluator::BaseRule(const Rule& rule, std::string_view kind) const {
  if (kind == "WindowsVersion" || kind == "PlatformVersion") return WindowsVersion(rule);
  if (kind == "Platform") return Of(Text(rule, "PlatformID") == "2");  // VER_PLATFORM_WIN32_NT
  if (kind == "Processor" || kind == "NumberOfProcessors") return Processor(rule);
  if (kind == "WindowsLanguage" || kind == "PlatformLanguage") return Language(rule, false);
  if (kind == "MuiLanguageInstalled") return Language(rule, true);
  if (kind == "MuiInstalled") return Of(!facts_.mui_languages.empty());
  if (kind == "ClusteredOS") return Of(facts_.is_clustered);
  if (kind == "InstalledOnce") return Of(installed_once_);
  if (kind == "WmiQuery" || kind == "SystemMetric") return ClosedQuery(rule, kind);
  if (kind.starts_with("Reg")) return Registry(rule, kind);
  if (kind.starts_with("File")) return File(rule, kind);
  if (kind.starts_with("License")) return License(rule, kind);
  return Truth::kUnknown;
}

Truth RuleEvaluator::Processor(const Rule& rule) const {
  if (rule.name == "b.NumberOfProcessors") {
    const auto wanted = ParseInt<std::uint32_t>(Text(rule, "Number"));
    if (!wanted) return Truth::kUnknown;
    return Of(Compare(Text(rule, "Comparison"), facts_.processor_count <=> *wanted));
  }
  const std::pair<std::string_view, std::uint32_t> parts[] = {
      {"Architecture", facts_.ArchitectureNumber()},
      {"Level", facts_.processor_level},
      {"Revision", facts_.processor_revision}};
  Truth truth = rule.Find("Architecture") == nullptr ? Truth::kUnknown : Truth::kTrue;
  for (const auto& [attribute, actual] : parts) {
    const std::string* text = rule.Find(attribute);
    if (text == nullptr) continue;
    const auto wanted = ParseInt<std::uint32_t>(*text);
    truth = std::min(truth, wanted ? Of(*wanted == actual) : Truth::kUnknown);
  }
  return truth;
}

Truth RuleEvaluator::Language(const Rule& rule, bool mui) const {
  const std::string_view language = Text(rule, "Language");
  if (language.empty()) return Truth::kUnknown;
  const auto is_it = [&](std::string_view locale) {
    return EqualsIgnoreCase(language, locale) ||
           EqualsIgnoreCase(language, locale.substr(0, locale.find('-')));
  };
  return Of(mui ? std::ranges::any_of(facts_.mui_languages, is_it) : is_it(facts_.locale));
}

// Questions whose answers the facts list one by one.
Truth RuleEvaluator::ClosedQuery(const Rule& rule, std::string_view kind) const {
  if (kind == "WmiQuery") {
    const auto answer = facts_.wmi_queries.find(Text(rule, "WqlQuery"));
    return answer == facts_.wmi_queries.end() ? Truth::kUnknown : Of(answer->second);
  }
  const std::string_view comparison =
      rule.Find("Comparison") == nullptr ? std::string_view("EqualTo") : Text(rule, "Comparison");
  if (kind == "SystemMetric") {
    const auto wanted = ParseInt<std::int32_t>(Text(rule, "Value"));
    if (!wanted) return Truth::kUnknown;
    const auto metric = facts_.system_metrics.find(Text(rule, "Index"));
    const std::int32_t value = metric == facts_.system_metrics.end() ? 0 : metric->second;
    return Of(Compare(comparison, value <=> *wanted));  // GetSystemMetrics gives 0 for the unknown
  }
  const std::string_view name = Text(rule, "Name");
  if (name.empty()) return Truth::kUnknown;
  if (kind == "ProductReleaseInstalled") {
    const auto release = facts_.product_releases.find(name);
    if (release == facts_.product_releases.end()) return Truth::kFalse;
    if (rule.Find("Version") == nullptr) return Truth::kTrue;
    const auto wanted = VersionOf(Text(rule, "Version"));
    if (!wanted) return Truth::kUnknown;
    return release->second ? Of(Compare(comparison, *release->second <=> *wanted)) : Truth::kFalse;
  }
  if (rule.Find("Value") == nullptr) return Truth::kUnknown;
  const auto attribute = facts_.device_attributes.find(name);
  if (attribute == facts_.device_attributes.end()) return Truth::kFalse;
  const auto wanted = ParseInt<std::int64_t>(Text(rule, "Value"));
  const auto actual = ParseInt<std::int64_t>(attribute->second);
  if (wanted && actual) return Of(Compare(comparison, *actual <=> *wanted));
  const std::string has = ToLowerAscii(attribute->second);
  return Of(Compare(comparison, has <=> ToLowerAscii(Text(rule, "Value"))));
}

// VerifyVersionInfo: the parts that are named are compared as one number, the first deciding most.
Truth RuleEvaluator::WindowsVersion(const Rule& rule) const {
  if (const std::string* type = rule.Find("ProductType"); type != nullptr) {
    const auto wanted = ParseInt<std::uint32_t>(*type);
    if (!wanted) return Truth::kUnknown;
    if (*wanted != facts_.product_type) return Truth::kFalse;
  }
  if (const std::string* suites = rule.Find("SuiteMask"); suites != nullptr) {
    const auto wanted = ParseInt<std::uint32_t>(*suites);
    if (!wanted) return Truth::kUnknown;
    const std::uint32_t present = facts_.suite_mask & *wanted;
    if (IsTrue(Text(rule, "AllSuitesMustBePresent")) ? present != *wanted : present == 0) {
      return Truth::kFalse;
    }
  }
  const std::pair<std::string_view, std::uint32_t> parts[] = {
      {"MajorVersion", facts_.os_version.part[0]},
      {"MinorVersion", facts_.os_version.part[1]},
      {"BuildNumber", facts_.os_version.part[2]},
      {"ServicePackMajor", facts_.service_pack_major},
      {"ServicePackMinor", facts_.service_pack_minor},
  };
  std::strong_ordering order = std::strong_ordering::equal;
  for (const auto& [attribute, actual] : parts) {
    const std::string* text = rule.Find(attribute);
    if (text == nullptr) continue;
    const auto wanted = ParseInt<std::uint32_t>(*text);
    if (!wanted) return Truth::kUnknown;
    if (order == 0) order = actual <=> *wanted;
  }
  const std::string* comparison = rule.Find("Comparison");
  return Of(Compare(comparison == nullptr ? "EqualTo" : std::string_view(*comparison), order));
}

}  // namespace gapferry::client
