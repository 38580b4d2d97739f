// Parts of facts that are lists or have a long form.
#include "client/facts_reader.h"

namespace gapferry::client {

namespace {

Result<void> ReadFile(const FactsReader& reader, const YAML::Node& node, FileFact& file) {
  if (!node.IsMap()) {
    TRY_ASSIGN(file.version, reader.OptionalVersion(node));
    return {};
  }
  return reader.Section(node, {{"version",
                                [&](const YAML::Node& value) -> Result<void> {
                                  TRY_ASSIGN(file.version, reader.ReadVersion(value));
                                  return {};
                                }},
                               {"size", reader.IntoNumber(file.size)},
                               {"created", reader.Into(file.created)},
                               {"modified", reader.Into(file.modified)},
                               {"language", reader.IntoNumber(file.language)}});
}

Result<void> ReadDriver(const FactsReader& reader, const YAML::Node& node, DriverFact& driver) {
  return reader.Section(node, {{"version", reader.Into(driver.version)},
                               {"date", reader.Into(driver.date)},
                               {"matching_id", reader.Into(driver.matching_id)},
                               {"provider", reader.Into(driver.provider)},
                               {"manufacturer", reader.Into(driver.manufacturer)},
                               {"model", reader.Into(driver.model)},
                               {"matching_computer_id",
                                [&](const YAML::Node& value) -> Result<void> {
                                  TRY_ASSIGN(driver.matching_computer_id, reader.ReadGuid(value));
                                  return {};
                                }},
                               {"rank", reader.IntoNumber(driver.rank)}});
}

Result<void> ReadDevice(const FactsReader& reader, const YAML::Node& node, DeviceFact& device) {
  TRY(reader.Section(node, {{"hardware_ids", reader.Into(device.hardware_ids)},
                            {"compatible_ids", reader.Into(device.compatible_ids)},
                            {"class", reader.Into(device.device_class)},
                            {"driver", [&](const YAML::Node& value) -> Result<void> {
                               if (value.IsNull()) return {};
                               return ReadDriver(reader, value, device.driver.emplace());
                             }}}));
  if (device.hardware_ids.empty() && device.compatible_ids.empty()) {
    return reader.FailAt(node, "a device needs hardware_ids or compatible_ids");
  }
  if (device.driver && device.driver->matching_id.empty()) {
    device.driver->matching_id =
        device.hardware_ids.empty() ? device.compatible_ids.front() : device.hardware_ids.front();
  }
  return {};
}

}  // namespace

Result<void> ReadFiles(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Entries(node,
                        [&](const std::string& path, const YAML::Node&, const YAML::Node& value) {
                          return ReadFile(reader, value, facts.files[path]);
                        });
}

Result<void> ReadProducts(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Entries(
      node,
      [&](const std::string& code, const YAML::Node&, const YAML::Node& value) -> Result<void> {
        MsiProduct& product = facts.msi_products[code];
        if (!value.IsMap()) {
          TRY_ASSIGN(product.version, reader.ReadVersion(value));
          return {};
        }
        return reader.Section(value, {{"version", reader.Into(product.version)},
                                      {"language", reader.IntoNumber(product.language)},
                                      {"features", reader.Into(product.features)},
                                      {"components", reader.Into(product.components)},
                                      {"patches", reader.Into(product.patches)}});
      });
}

Result<void> ReadDevices(const FactsReader& reader, const YAML::Node& node, Facts& facts) {
  return reader.Elements(node, "devices", [&](const YAML::Node& item) {
    return ReadDevice(reader, item, facts.devices.emplace_back());
  });
}

}  // namespace gapferry::client
