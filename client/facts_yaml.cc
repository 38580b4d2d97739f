// Facts::Load and Facts::Parse: the YAML form of facts. Exceptions of yaml-cpp end here.
#include "base/file.h"
#include "client/facts_reader.h"

namespace gapferry::client {

namespace {

constexpr std::uint64_t kMaxFactsBytes = 64 << 20;

Result<void> ReadOs(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Section(
      node, {
                {"version", reader.Into(facts.os_version)},
                {"product_type",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(const std::string word,
                              reader.Choice(value, {"workstation", "domain-controller", "server"}));
                   facts.product_type = word == "workstation" ? 1 : word == "server" ? 3 : 2;
                   return {};
                 }},
                {"architecture",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(facts.architecture, reader.Choice(value, {"amd64", "x86", "arm64"}));
                   return {};
                 }},
                {"service_pack",
                 [&](const YAML::Node& value) -> Result<void> {
                   TRY_ASSIGN(const Version version, reader.ReadVersion(value));
                   facts.service_pack_major = version.part[0];
                   facts.service_pack_minor = version.part[1];
                   return {};
                 }},
                {"locale", reader.Into(facts.locale)},
                {"suite_mask", reader.Into(facts.suite_mask)},
                {"sku", reader.Into(facts.sku)},
                {"description", reader.Into(facts.description)},
                {"mui_languages", reader.Into(facts.mui_languages)},
                {"clustered", reader.Into(facts.is_clustered)},
            });
}

Result<RegistryValue> ReadRegistryValue(const FactsReader& reader, const YAML::Node& node) {
  RegistryValue value;
  if (node.IsMap()) {
    value.type = RegistryType::kOther;
    TRY(reader.Section(node, {{"type", reader.Into(value.type_name)},
                              {"data", [](const YAML::Node&) -> Result<void> { return {}; }}}));
    return value;
  }
  TRY_ASSIGN(value.text, reader.Text(node));
  // A plain scalar is tagged "?", a quoted one "!".
  if (node.Tag() != "!" && !value.text.empty() &&
      value.text.find_first_not_of("0123456789") == std::string::npos) {
    value.type = RegistryType::kDword;
    value.type_name = "REG_DWORD";
    TRY_ASSIGN(value.number, reader.Number<std::uint32_t>(node));
  }
  return value;
}

Result<void> ReadRegistry(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Entries(
      node, [&](const std::string& key, const YAML::Node&, const YAML::Node& values) {
        auto& target = facts.registry[key];
        return reader.Entries(values,
                              [&](const std::string& name, const YAML::Node&,
                                  const YAML::Node& value) -> Result<void> {
                                TRY_ASSIGN(target[name], ReadRegistryValue(reader, value));
                                return {};
                              });
      });
}

// The short form of devices: hardware id, and the version of its driver.
Result<void> ReadDrivers(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  CaselessMap<std::optional<Version>> drivers;
  TRY(reader.Into(drivers)(node));
  for (auto& [hardware_id, version] : drivers) {
    DeviceFact device;
    device.hardware_ids = {hardware_id};
    if (version) {
      device.driver.emplace();
      device.driver->version = *version;
      device.driver->matching_id = hardware_id;
    }
    facts.devices.push_back(std::move(device));
  }
  return {};
}

Result<void> ReadAll(const FactsReader& reader, const YAML::Node& root, Facts& facts) {
  return reader.Section(
      root,
      {
          {"name", reader.Into(facts.name)},
          {"client_id",
           [&](const YAML::Node& node) -> Result<void> {
             TRY_ASSIGN(facts.client_id, reader.ReadGuid(node));
             return {};
           }},
          {"target_group",
           [&](const YAML::Node& node) -> Result<void> {
             TRY_ASSIGN(facts.target_group, reader.Text(node));
             return {};
           }},
          {"os", [&](const YAML::Node& node) { return ReadOs(reader, node, facts); }},
          {"make", reader.Into(facts.make)},
          {"model", reader.Into(facts.model)},
          {"bios", reader.Into(facts.bios)},
          {"registry", [&](const YAML::Node& node) { return ReadRegistry(reader, node, facts); }},
          {"files", [&](const YAML::Node& node) { return ReadFiles(reader, node, facts); }},
          {"msi_products",
           [&](const YAML::Node& node) { return ReadProducts(reader, node, facts); }},
          {"cbs_packages", reader.Into(facts.cbs_packages)},
          {"licenses", reader.IntoNumbers(facts.licenses)},
          {"processor",
           [&](const YAML::Node& node) {
             return reader.Section(node, {{"count", reader.Into(facts.processor_count)},
                                          {"level", reader.Into(facts.processor_level)},
                                          {"revision", reader.Into(facts.processor_revision)}});
           }},
          {"system_metrics", reader.IntoNumbers(facts.system_metrics)},
          {"wmi", reader.Into(facts.wmi_queries)},
          {"device_attributes", reader.Into(facts.device_attributes)},
          {"product_releases",
           [&](const YAML::Node& node) { return reader.Into(facts.product_releases)(node); }},
          {"computer_ids", reader.Into(facts.computer_ids)},
          {"devices", [&](const YAML::Node& node) { return ReadDevices(reader, node, facts); }},
          {"drivers", [&](const YAML::Node& node) { return ReadDrivers(reader, node, facts); }},
          {"installed_updates", reader.Into(facts.installed_updates)},
      });
}

}  // namespace

Result<Facts> Facts::Parse(std::string_view yaml, std::string_view origin) {
  const FactsReader reader(origin);
  try {
    Facts facts;
    TRY(ReadAll(reader, YAML::Load(std::string(yaml)), facts));
    if (facts.name.empty()) {
      return Fail(ErrorCode::kUsage, fmt::format("{}: the key 'name' is missing", origin));
    }
    return facts;
  } catch (const YAML::Exception& exception) {
    return reader.FailAt(exception.mark, exception.msg);
  }
}

Result<Facts> Facts::Load(const std::filesystem::path& path) {
  TRY_ASSIGN(const std::string text, ReadTextFile(path, kMaxFactsBytes));
  return Parse(text, path.string());
}

}  // namespace gapferry::client
