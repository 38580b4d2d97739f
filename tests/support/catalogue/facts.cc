#include <fmt/format.h>

#include <map>

#include "tests/support/catalogue/machine.h"

// Apart from machine.cc because the form of the file belongs to the client: see client/facts.h.

namespace gapferry::catalogue {
namespace {

// Single quotes: backslashes mean themselves. None of our texts contains one.
std::string Quoted(std::string_view text) { return fmt::format("'{}'", text); }

std::string_view ArchitectureName(const Machine& machine) {
  return machine.architecture == 12 ? "arm64" : machine.architecture == 0 ? "x86" : "amd64";
}

// Splits HKEY\subkey\value before the value.
using Values = std::map<std::string, std::map<std::string, std::string>>;
void AddValue(Values& values, const std::string& name, std::string data) {
  const std::size_t slash = name.rfind('\\');
  values[name.substr(0, slash)][name.substr(slash + 1)] = std::move(data);
}

std::string Section(std::string_view name, const std::map<std::string, std::string>& entries) {
  if (entries.empty()) return {};
  std::string out = fmt::format("{}:\n", name);
  for (const auto& [key, value] : entries) out += fmt::format("  {}: {}\n", Quoted(key), value);
  return out;
}

}  // namespace

std::string FactsYaml(const Machine& machine) {
  std::string out = fmt::format("# {}: {}\n", machine.name, machine.description);
  out += fmt::format("name: {}.catalogue.example\n", machine.name);
  out +=
      fmt::format("os:\n  version: {}.{}.{}.{}\n  product_type: {}\n  architecture: {}\n",
                  machine.os_major, machine.os_minor, machine.os_build, machine.os_revision,
                  machine.product_type == 3 ? "server" : "workstation", ArchitectureName(machine));
  out += fmt::format("  locale: {}\nmake: Contoso\nmodel: Virtual Machine\nbios: '1.0'\n",
                     machine.locale);
  Values values;
  for (const auto& [name, data] : machine.dwords) AddValue(values, name, std::to_string(data));
  for (const auto& [name, data] : machine.strings) AddValue(values, name, Quoted(data));
  out += "registry:\n";
  for (const auto& [key, entries] : values) {
    out += fmt::format("  {}:\n", Quoted(key));
    for (const auto& [name, data] : entries) out += fmt::format("    {}: {}\n", name, data);
  }
  out += Section("files", machine.file_versions);
  out += Section("msi_products", machine.msi_products);
  return out + Section("drivers", machine.hardware);
}

}  // namespace gapferry::catalogue
