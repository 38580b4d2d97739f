#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gapferry::catalogue {

class Catalogue;

/// What a computer's rules are evaluated against. Keys of the maps compare without case on a real
/// computer; here they are written as the rules write them.
struct Machine {
  std::string name;
  std::string description;
  std::uint32_t os_major = 10;
  std::uint32_t os_minor = 0;
  std::uint32_t os_build = 0;
  std::uint32_t os_revision = 0;   ///< the UBR
  std::uint32_t product_type = 1;  ///< 1 workstation, 3 server
  std::uint32_t architecture = 9;  ///< 9 AMD64, 12 ARM64, as in the Processor rule
  std::string locale = "en-US";
  std::map<std::string, std::uint32_t> dwords;       ///< HKEY\subkey\value
  std::map<std::string, std::string> strings;        ///< HKEY\subkey\value
  std::map<std::string, std::string> file_versions;  ///< full path
  std::map<std::string, std::string> msi_products;   ///< product code -> version
  std::map<std::string, std::string> hardware;       ///< hardware id -> installed driver version
};

/// The names that MachineOf knows, with one line of description each.
struct ProfileName {
  std::string_view name;
  std::string_view description;
};
const std::vector<ProfileName>& ProfileNames();

/// A computer of the given profile; product codes and versions come from `catalogue` (its steps do
/// not matter: a machine stays what it is while the catalogue moves on). Fails with kNotFound.
Result<Machine> MachineOf(const Catalogue& catalogue, std::string_view profile);

/// The machine as a facts file for `gapferry client --as`.
std::string FactsYaml(const Machine& machine);

}  // namespace gapferry::catalogue
