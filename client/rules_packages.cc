// Rules about installed packages: Windows Installer, component store, drivers.
#include <algorithm>

#include "client/rule_values.h"

namespace gapferry::client {

namespace {

bool Contains(const std::vector<std::string>& list, std::string_view wanted) {
  return std::ranges::any_of(
      list, [&](const std::string& item) { return EqualsIgnoreCase(item, wanted); });
}

// Whether a patch is meant for this state of a product it names.
std::optional<bool> Fits(const RuleMetadata::PatchTarget& target, const MsiProduct& product) {
  if (target.version.empty() || target.comparison == "None") return true;
  const auto wanted = VersionOf(target.version);
  if (!wanted) return std::nullopt;
  Version has = product.version;
  Version limit = *wanted;
  const std::size_t parts = target.filter == "Major"        ? 1
                            : target.filter == "MajorMinor" ? 2
                                                            : 3;  // Installer compares no more
  for (std::size_t i = parts; i < 4; ++i) has.part[i] = limit.part[i] = 0;
  if (target.comparison == "LessThan") return has < limit;
  if (target.comparison == "LessThanOrEqual") return has <= limit;
  if (target.comparison == "GreaterThan") return has > limit;
  if (target.comparison == "GreaterThanOrEqual") return has >= limit;
  return has == limit;
}

std::optional<std::size_t> PlaceOf(const DeviceFact& device, std::string_view hardware_id) {
  std::size_t place = 0;
  for (const auto* list : {&device.hardware_ids, &device.compatible_ids}) {
    for (const std::string& id : *list) {
      if (EqualsIgnoreCase(id, hardware_id)) return place;
      ++place;
    }
  }
  return std::nullopt;
}

}  // namespace

Truth RuleEvaluator::MsiProductRule(const Rule& rule) const {
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

// MsiFeatureInstalledForProduct and MsiComponentInstalledForProduct: one of the parts in one of the
// products, unless all are asked for.
Truth RuleEvaluator::MsiParts(const Rule& rule, bool features) const {
  const std::string_view part = features ? "Feature" : "Component";
  const bool all_parts =
      IsTrue(Text(rule, features ? "AllFeaturesRequired" : "AllComponentsRequired"));
  const bool all_products = IsTrue(Text(rule, "AllProductsRequired"));
  std::vector<std::string_view> parts;
  std::vector<std::string_view> products;
  for (const Rule& child : rule.operands) {
    const std::string_view name =
        child.name.starts_with("m.") ? std::string_view(child.name).substr(2) : child.name;
    if (name == part) parts.push_back(child.text);
    if (name == "Product") products.push_back(child.text);
  }
  if (parts.empty() || products.empty()) return Truth::kUnknown;
  const auto has = [&](std::string_view code) {
    const auto product = facts_.msi_products.find(code);
    if (product == facts_.msi_products.end()) return false;
    const auto& list = features ? product->second.features : product->second.components;
    const auto is_there = [&](std::string_view wanted) { return Contains(list, wanted); };
    return all_parts ? std::ranges::all_of(parts, is_there) : std::ranges::any_of(parts, is_there);
  };
  return Of(all_products ? std::ranges::all_of(products, has) : std::ranges::any_of(products, has));
}

// By the metadata of the update: the products that its patches are for, and what they have.
Truth RuleEvaluator::MsiPatch(const RuleMetadata& metadata, std::string_view state) const {
  if (metadata.patches.empty()) return Truth::kUnknown;
  // Which patches replace a patch, the newer one says; of those the facts know nothing more.
  if (state == "Superseded") return Truth::kFalse;
  bool is_missing = false;
  bool is_there = false;
  for (const RuleMetadata::Patch& patch : metadata.patches) {
    for (const RuleMetadata::PatchTarget& target : patch.targets) {
      for (const std::string& code : target.product_codes) {
        const auto product = facts_.msi_products.find(code);
        if (product == facts_.msi_products.end()) continue;
        if (Contains(product->second.patches, patch.code)) {
          is_there = true;
          continue;
        }
        const auto fits = Fits(target, product->second);
        if (!fits) return Truth::kUnknown;
        is_missing = is_missing || *fits;
      }
    }
  }
  return Of(state == "Installed" ? is_there && !is_missing : is_missing);
}

Truth RuleEvaluator::MsiRule(const Rule& rule, const RuleMetadata& metadata,
                             std::string_view kind) const {
  if (kind == "MsiProductInstalled") return MsiProductRule(rule);
  if (kind == "MsiFeatureInstalledForProduct") return MsiParts(rule, /*features=*/true);
  if (kind == "MsiComponentInstalledForProduct") return MsiParts(rule, /*features=*/false);
  if (kind == "MsiPatchInstalledForProduct") {
    const Truth product = MsiProductRule(rule);
    if (product != Truth::kTrue) return product;
    return Of(Contains(facts_.msi_products.find(Text(rule, "ProductCode"))->second.patches,
                       Text(rule, "PatchCode")));
  }
  if (kind.starts_with("MsiPatch")) {
    const std::string_view state = kind.substr(8);
    const bool known = state == "Installed" || state == "Installable" || state == "Superseded";
    return known ? MsiPatch(metadata, state) : Truth::kUnknown;
  }
  if (kind.starts_with("MsiApplication") && !metadata.product_codes.empty()) {
    const bool installed = std::ranges::any_of(metadata.product_codes, [&](const auto& code) {
      return facts_.msi_products.contains(code);
    });
    if (kind.ends_with("Installed")) return Of(installed);
    if (kind.ends_with("Installable")) return Of(!installed);
    if (kind.ends_with("Superseded")) return Truth::kFalse;
  }
  return Truth::kUnknown;
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

// True when it holds for any device. Better is: an earlier id of the device, then a later date,
// then a higher version (MS-WUSP 3.1.5.7); feature scores and computers are the server's to know.
// Without a date in the facts the versions decide.
Truth RuleEvaluator::Driver(const RuleMetadata& metadata, std::string_view kind) const {
  if (kind != "Installed" && kind != "Installable" && kind != "Superseded") return Truth::kUnknown;
  for (const RuleMetadata::Driver& offered : metadata.drivers) {
    const auto version = VersionOf(offered.version);
    if (!version) continue;
    for (const DeviceFact& device : facts_.devices) {
      const auto place = PlaceOf(device, offered.hardware_id);
      if (!place) continue;
      std::strong_ordering order = std::strong_ordering::less;  // of what is there to the offer
      if (device.driver) {
        const auto has = PlaceOf(device, device.driver->matching_id);
        order = has ? *place <=> *has : std::strong_ordering::equal;
        const auto date = UtcTime::ParseXmlDate(offered.date);
        if (order == 0 && date && device.driver->date) {
          order = device.driver->date->ticks <=> date->ticks;
        }
        if (order == 0) order = device.driver->version <=> *version;
      }
      if (kind == "Installed" && order == 0) return Truth::kTrue;
      if (kind == "Installable" && order < 0) return Truth::kTrue;
      if (kind == "Superseded" && order > 0) return Truth::kTrue;
    }
  }
  return Truth::kFalse;
}

}  // namespace gapferry::client
