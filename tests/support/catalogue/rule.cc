#include "tests/support/catalogue/rule.h"

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>

#include "base/text.h"
#include "tests/support/catalogue/machine.h"

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kHive = "HKEY_LOCAL_MACHINE";

using Version = std::array<std::uint32_t, 4>;

Version ParseVersion(std::string_view text) {
  Version version{};
  std::size_t part = 0;
  for (const std::string_view piece : Split(text, '.')) {
    if (part == version.size()) break;
    version[part++] = ParseInt<std::uint32_t>(piece).value_or(0);
  }
  return version;
}

std::string_view Attribute(const Rule& rule, std::string_view name) {
  for (const auto& [key, value] : rule.attributes) {
    if (key == name) return value;
  }
  return {};
}

bool Compare(std::string_view comparison, std::strong_ordering order) {
  if (comparison == "EqualTo") return order == 0;
  if (comparison == "GreaterThan") return order > 0;
  if (comparison == "GreaterThanOrEqualTo") return order >= 0;
  if (comparison == "LessThan") return order < 0;
  return comparison == "LessThanOrEqualTo" && order <= 0;
}

std::string RegistryName(const Rule& rule) {
  std::string name(Attribute(rule, "Key"));
  name.append("\\").append(Attribute(rule, "Subkey"));
  return name.append("\\").append(Attribute(rule, "Value"));
}

bool WindowsVersionHolds(const Rule& rule, const Machine& machine) {
  const std::string_view type = Attribute(rule, "ProductType");
  if (!type.empty() && ParseInt<std::uint32_t>(type) != machine.product_type) return false;
  Version wanted{};
  Version actual{};
  const std::array<std::pair<std::string_view, std::uint32_t>, 3> parts{{
      {"MajorVersion", machine.os_major},
      {"MinorVersion", machine.os_minor},
      {"BuildNumber", machine.os_build},
  }};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string_view text = Attribute(rule, parts[i].first);
    if (text.empty()) continue;  // a part that is not named is not compared
    wanted[i] = ParseInt<std::uint32_t>(text).value_or(0);
    actual[i] = parts[i].second;
  }
  return Compare(Attribute(rule, "Comparison"), actual <=> wanted);
}

bool FileVersionHolds(const Rule& rule, const Machine& machine) {
  const auto folder = machine.strings.find(RegistryName(rule));
  if (folder == machine.strings.end()) return false;
  std::string path = folder->second;
  path.append("\\").append(Attribute(rule, "Path"));
  const auto file = machine.file_versions.find(path);
  if (file == machine.file_versions.end()) return false;
  return Compare(Attribute(rule, "Comparison"),
                 ParseVersion(file->second) <=> ParseVersion(Attribute(rule, "Version")));
}

bool MsiProductHolds(const Rule& rule, const Machine& machine) {
  const auto product = machine.msi_products.find(std::string(Attribute(rule, "ProductCode")));
  if (product == machine.msi_products.end()) return false;
  return ParseVersion(product->second) >= ParseVersion(Attribute(rule, "VersionMin"));
}

bool RegistryHolds(const Rule& rule, const Machine& machine) {
  const std::string name = RegistryName(rule);
  if (rule.name == "bar:RegValueExists") {
    return machine.dwords.contains(name) || machine.strings.contains(name);
  }
  if (rule.name == "bar:RegDword") {
    const auto value = machine.dwords.find(name);
    if (value == machine.dwords.end()) return false;
    const std::uint32_t data = ParseInt<std::uint32_t>(Attribute(rule, "Data")).value_or(0);
    return Compare(Attribute(rule, "Comparison"), value->second <=> data);
  }
  const auto value = machine.strings.find(name);
  return value != machine.strings.end() && value->second == Attribute(rule, "Data");
}

std::vector<std::pair<std::string_view, std::string>> RegistryAttributes(std::string subkey,
                                                                         std::string value) {
  return {{"Key", std::string(kHive)}, {"Subkey", std::move(subkey)}, {"Value", std::move(value)}};
}

}  // namespace

Rule True() { return {"lar:True"}; }
Rule And(std::vector<Rule> operands) { return {"lar:And", {}, std::move(operands)}; }
Rule Or(std::vector<Rule> operands) { return {"lar:Or", {}, std::move(operands)}; }
Rule Not(Rule operand) {
  Rule rule{"lar:Not"};
  rule.operands.push_back(std::move(operand));
  return rule;
}

Rule RegDword(std::string subkey, std::string value, std::string_view comparison,
              std::string data) {
  Rule rule{"bar:RegDword", RegistryAttributes(std::move(subkey), std::move(value))};
  rule.attributes.emplace_back("Comparison", comparison);
  rule.attributes.emplace_back("Data", std::move(data));
  return rule;
}

Rule RegSz(std::string subkey, std::string value, std::string_view comparison, std::string data) {
  Rule rule = RegDword(std::move(subkey), std::move(value), comparison, std::move(data));
  rule.name = "bar:RegSz";
  return rule;
}

Rule RegValueExists(std::string subkey, std::string value, std::string type) {
  Rule rule{"bar:RegValueExists", RegistryAttributes(std::move(subkey), std::move(value))};
  rule.attributes.emplace_back("Type", std::move(type));
  return rule;
}

Rule FileVersion(std::string path, std::string_view comparison, std::string version,
                 std::string subkey, std::string value) {
  return {"bar:FileVersionPrependRegSz",
          {{"Path", std::move(path)},
           {"Comparison", std::string(comparison)},
           {"Version", std::move(version)},
           {"Key", std::string(kHive)},
           {"Subkey", std::move(subkey)},
           {"Value", std::move(value)}}};
}

Rule MsiProduct(std::string product_code, std::string version_min) {
  return {"mar:MsiProductInstalled",
          {{"ProductCode", std::move(product_code)}, {"VersionMin", std::move(version_min)}}};
}

Rule Processor(std::string architecture) {
  return {"bar:Processor", {{"Architecture", std::move(architecture)}}};
}

Rule License(std::string value, std::string data) {
  return {"bar:LicenseDword",
          {{"Value", std::move(value)}, {"Comparison", "EqualTo"}, {"Data", std::move(data)}}};
}

Rule WindowsBuild(std::string build, std::string product_type) {
  Rule rule{"bar:WindowsVersion",
            {{"Comparison", "EqualTo"},
             {"MajorVersion", "10"},
             {"MinorVersion", "0"},
             {"BuildNumber", std::move(build)}}};
  if (!product_type.empty()) rule.attributes.emplace_back("ProductType", std::move(product_type));
  return rule;
}

Rule WindowsAtLeast(std::string major, std::string minor, std::string product_type) {
  Rule rule{"bar:WindowsVersion",
            {{"Comparison", "GreaterThanOrEqualTo"},
             {"MajorVersion", std::move(major)},
             {"MinorVersion", std::move(minor)}}};
  if (!product_type.empty()) rule.attributes.emplace_back("ProductType", std::move(product_type));
  return rule;
}

Rule CbsInstalled() { return {"cbsar:CbsPackageInstalled"}; }
Rule CbsInstallable() { return {"cbsar:CbsPackageInstallable"}; }

bool Holds(const Rule& rule, const Machine& machine) {
  const auto holds = [&machine](const Rule& operand) { return Holds(operand, machine); };
  if (rule.name == "lar:True") return true;
  if (rule.name == "lar:And") return std::ranges::all_of(rule.operands, holds);
  if (rule.name == "lar:Or") return std::ranges::any_of(rule.operands, holds);
  if (rule.name == "lar:Not") return !Holds(rule.operands.front(), machine);
  if (rule.name == "bar:WindowsVersion") return WindowsVersionHolds(rule, machine);
  if (rule.name == "bar:Processor") {
    return ParseInt<std::uint32_t>(Attribute(rule, "Architecture")) == machine.architecture;
  }
  if (rule.name == "bar:FileVersionPrependRegSz") return FileVersionHolds(rule, machine);
  if (rule.name == "mar:MsiProductInstalled") return MsiProductHolds(rule, machine);
  if (rule.name.starts_with("bar:Reg")) return RegistryHolds(rule, machine);
  return false;  // licences and the component store: no profile has them
}

}  // namespace gapferry::catalogue
