#include "client/rules.h"

#include <compare>
#include <optional>

#include "base/text.h"

namespace gapferry::client {

namespace {

Truth Of(bool value) { return value ? Truth::kTrue : Truth::kFalse; }

Truth Of(std::optional<bool> value) { return value ? Of(*value) : Truth::kUnknown; }

// ScalarComparison; nothing for another word.
std::optional<bool> Compare(std::string_view comparison, std::strong_ordering order) {
  if (comparison == "EqualTo") return order == 0;
  if (comparison == "LessThan") return order < 0;
  if (comparison == "LessThanOrEqualTo") return order <= 0;
  if (comparison == "GreaterThan") return order > 0;
  if (comparison == "GreaterThanOrEqualTo") return order >= 0;
  return std::nullopt;
}

// StringComparison; the registry's strings compare without case.
std::optional<bool> CompareText(std::string_view comparison, std::string_view actual,
                                std::string_view wanted) {
  const std::string a = ToLowerAscii(actual);
  const std::string b = ToLowerAscii(wanted);
  if (comparison == "EqualTo") return a == b;
  if (comparison == "BeginsWith") return a.starts_with(b);
  if (comparison == "EndsWith") return a.ends_with(b);
  if (comparison == "Contains") return a.find(b) != std::string::npos;
  return std::nullopt;
}

std::string_view Text(const Rule& rule, std::string_view attribute) {
  const std::string* value = rule.Find(attribute);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

std::optional<Version> VersionOf(std::string_view text) {
  const auto version = Version::Parse(text);
  return version ? std::optional(*version) : std::nullopt;
}

bool IsTrue(std::string_view text) { return text == "true" || text == "1"; }

// "C:\a\\b" and "C:\a\b" are one path.
std::string JoinPath(std::string_view folder, std::string_view path) {
  std::string joined;
  for (const char c : std::string(folder) + "\\" + std::string(path)) {
    if (c != '\\' || joined.empty() || joined.back() != '\\') joined += c;
  }
  return joined;
}

// Folders that a CSIDL can stand for in rules about files.
std::optional<std::string_view> FolderOfCsidl(std::string_view csidl) {
  if (csidl == "36") return "C:\\Windows";
  if (csidl == "37") return "C:\\Windows\\System32";
  if (csidl == "38") return "C:\\Program Files";
  if (csidl == "41") return "C:\\Windows\\SysWOW64";
  if (csidl == "42") return "C:\\Program Files (x86)";
  if (csidl == "43") return "C:\\Program Files\\Common Files";
  if (csidl == "44") return "C:\\Program Files (x86)\\Common Files";
  if (csidl == "35") return "C:\\ProgramData";
  return std::nullopt;
}

std::string RegistryKey(const Rule& rule) {
  return JoinPath(Text(rule, "Key"), Text(rule, "Subkey"));
}

const RegistryValue* FindValue(const Facts& facts, const Rule& rule) {
  const auto key = facts.registry.find(RegistryKey(rule));
  if (key == facts.registry.end()) return nullptr;
  const auto value = key->second.find(Text(rule, "Value"));
  return value == key->second.end() ? nullptr : &value->second;
}

}  // namespace

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
  if (name == "m.MsiProductInstalled") return MsiProduct(rule);
  if (name.starts_with("d.WindowsDriver")) return Driver(metadata, name.substr(15));
  if (!name.starts_with("b.")) return Truth::kUnknown;
  const std::string_view kind = name.substr(2);
  if (kind == "WindowsVersion" || kind == "PlatformVersion") return WindowsVersion(rule);
  if (kind == "Platform") return Of(Text(rule, "PlatformID") == "2");  // VER_PLATFORM_WIN32_NT
  if (kind == "Processor") {
    const auto architecture = ParseInt<std::uint32_t>(Text(rule, "Architecture"));
    return architecture ? Of(*architecture == facts_.ArchitectureNumber()) : Truth::kUnknown;
  }
  if (kind == "WindowsLanguage" || kind == "PlatformLanguage") {
    const std::string_view language = Text(rule, "Language");
    const std::string_view locale = facts_.locale;
    return Of(EqualsIgnoreCase(language, locale) ||
              EqualsIgnoreCase(language, locale.substr(0, locale.find('-'))));
  }
  if (kind.starts_with("Reg")) return Registry(rule, kind);
  if (kind.starts_with("File")) return File(rule, kind);
  if (kind.starts_with("License")) return License(rule, kind);
  return Truth::kUnknown;
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

Truth RuleEvaluator::Registry(const Rule& rule, std::string_view kind) const {
  if (kind == "RegKeyExists") {
    // A key exists when it or anything below it is named.
    const std::string key = RegistryKey(rule);
    const auto at = facts_.registry.lower_bound(key);
    if (at == facts_.registry.end()) return Truth::kFalse;
    if (EqualsIgnoreCase(at->first, key)) return Truth::kTrue;
    const auto below = facts_.registry.lower_bound(key + "\\");
    return Of(
        below != facts_.registry.end() &&
        EqualsIgnoreCase(std::string_view(below->first).substr(0, key.size() + 1), key + "\\"));
  }
  const RegistryValue* value = FindValue(facts_, rule);
  if (kind == "RegValueExists") {
    const std::string* type = rule.Find("Type");
    return Of(value != nullptr && (type == nullptr || *type == value->type_name));
  }
  const std::string_view comparison = Text(rule, "Comparison");
  if (kind == "RegDword") {
    const auto wanted = ParseInt<std::uint32_t>(Text(rule, "Data"));
    if (!wanted) return Truth::kUnknown;
    if (value == nullptr || value->type != RegistryType::kDword) return Truth::kFalse;
    return Of(Compare(comparison, value->number <=> *wanted));
  }
  const bool is_text = value != nullptr && value->type == RegistryType::kString;
  if (kind == "RegSz" || kind == "RegExpandSz") {
    return is_text ? Of(CompareText(comparison, value->text, Text(rule, "Data"))) : Truth::kFalse;
  }
  if (kind == "RegSzToVersion") {
    const auto wanted = VersionOf(Text(rule, "Data"));
    if (!wanted) return Truth::kUnknown;
    const auto actual = is_text ? VersionOf(value->text) : std::nullopt;
    return actual ? Of(Compare(comparison, *actual <=> *wanted)) : Truth::kFalse;
  }
  return Truth::kUnknown;
}

Truth RuleEvaluator::File(const Rule& rule, std::string_view kind) const {
  const bool prepends = kind.ends_with("PrependRegSz");
  const std::string_view what = prepends ? kind.substr(0, kind.size() - 12) : kind;
  if (what != "FileExists" && what != "FileVersion") return Truth::kUnknown;
  std::string path(Text(rule, "Path"));
  if (prepends) {
    const RegistryValue* folder = FindValue(facts_, rule);
    if (folder == nullptr || folder->type != RegistryType::kString) return Truth::kFalse;
    path = JoinPath(folder->text, path);
  } else if (const std::string* csidl = rule.Find("Csidl"); csidl != nullptr) {
    const auto folder = FolderOfCsidl(*csidl);
    if (!folder) return Truth::kUnknown;
    path = JoinPath(*folder, path);
  }
  const auto file = facts_.files.find(path);
  const std::string* version_text = rule.Find("Version");
  if (version_text == nullptr) {
    return what == "FileExists" ? Of(file != facts_.files.end()) : Truth::kUnknown;
  }
  const auto wanted = VersionOf(*version_text);
  if (!wanted) return Truth::kUnknown;
  if (file == facts_.files.end() || !file->second) return Truth::kFalse;
  const std::string_view comparison = what == "FileExists" ? "EqualTo" : Text(rule, "Comparison");
  return Of(Compare(comparison, *file->second <=> *wanted));
}

Truth RuleEvaluator::License(const Rule& rule, std::string_view kind) const {
  const auto value = facts_.licenses.find(Text(rule, "Value"));
  if (kind == "LicenseValueExists") return Of(value != facts_.licenses.end());
  if (kind != "LicenseDword") return Truth::kUnknown;
  const auto wanted = ParseInt<std::uint32_t>(Text(rule, "Data"));
  if (!wanted) return Truth::kUnknown;
  if (value == facts_.licenses.end()) return Truth::kFalse;
  return Of(Compare(Text(rule, "Comparison"), value->second <=> *wanted));
}

Truth RuleEvaluator::MsiProduct(const Rule& rule) const {
  const auto product = facts_.msi_products.find(Text(rule, "ProductCode"));
  if (product == facts_.msi_products.end()) return Truth::kFalse;
  if (const std::string* text = rule.Find("VersionMin"); text != nullptr) {
    const auto least = VersionOf(*text);
    if (!least) return Truth::kUnknown;
    const bool excluded = IsTrue(Text(rule, "ExcludeVersionMin"));
    if (excluded ? product->second.version <= *least : product->second.version < *least) {
      return Truth::kFalse;
    }
  }
  if (const std::string* text = rule.Find("VersionMax"); text != nullptr) {
    const auto most = VersionOf(*text);
    if (!most) return Truth::kUnknown;
    const bool excluded = IsTrue(Text(rule, "ExcludeVersionMax"));
    if (excluded ? product->second.version >= *most : product->second.version > *most) {
      return Truth::kFalse;
    }
  }
  if (const std::string* text = rule.Find("Language"); text != nullptr) {
    const auto language = ParseInt<std::int32_t>(*text);
    if (!language) return Truth::kUnknown;
    if (product->second.language && *product->second.language != *language) return Truth::kFalse;
  }
  return Truth::kTrue;
}

Truth RuleEvaluator::Package(const RuleMetadata& metadata, bool installed) const {
  if (metadata.packages.empty()) return Truth::kUnknown;
  for (const RuleMetadata::Package& package : metadata.packages) {
    const auto wanted = VersionOf(package.version);
    if (!wanted) return Truth::kUnknown;
    const bool fits = package.architecture.empty() || package.architecture == "neutral" ||
                      EqualsIgnoreCase(package.architecture, facts_.architecture);
    const auto present = facts_.cbs_packages.find(package.name);
    if (!fits || present == facts_.cbs_packages.end()) return Truth::kFalse;
    const bool has_it = present->second && *present->second >= *wanted;
    if (has_it != installed) return Truth::kFalse;
  }
  return Truth::kTrue;
}

Truth RuleEvaluator::Driver(const RuleMetadata& metadata, std::string_view kind) const {
  if (kind != "Installed" && kind != "Installable" && kind != "Superseded") return Truth::kUnknown;
  // True when it holds for any device; the ranking by date and feature score is the server's.
  for (const RuleMetadata::Driver& driver : metadata.drivers) {
    const auto device = facts_.drivers.find(driver.hardware_id);
    const auto offered = VersionOf(driver.version);
    if (device == facts_.drivers.end() || !offered) continue;
    const std::strong_ordering order =
        device->second ? *device->second <=> *offered : std::strong_ordering::less;
    if (kind == "Installed" && order == 0) return Truth::kTrue;
    if (kind == "Installable" && order < 0) return Truth::kTrue;
    if (kind == "Superseded" && order > 0) return Truth::kTrue;
  }
  return Truth::kFalse;
}

}  // namespace gapferry::client
