#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/result.h"

namespace gapferry::client {

/// A version of up to four numbers; missing parts are 0.
struct Version {
  std::uint32_t part[4] = {0, 0, 0, 0};

  /// "10.0.26100.1", one to four numbers; fails with kUsage.
  static Result<Version> Parse(std::string_view text);
  std::string ToString() const;
  auto operator<=>(const Version&) const = default;
};

/// Orders and equals without regard to ASCII case, as names of the registry, of files and of
/// hardware do on Windows.
struct LessIgnoringCase {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};
template <class T>
using CaselessMap = std::map<std::string, T, LessIgnoringCase>;

enum class RegistryType { kString, kDword, kOther };

struct RegistryValue {
  RegistryType type = RegistryType::kString;
  std::string type_name = "REG_SZ";
  std::string text;          ///< of strings
  std::uint32_t number = 0;  ///< of REG_DWORD
};

struct MsiProduct {
  Version version;
  std::optional<std::int32_t> language;  ///< LCID
};

/// What a simulated computer is; the closed world that applicability rules are evaluated in: what
/// is not named here does not exist.
///
/// The file (`--as FACTS.yaml`), every key but `name` optional; names of the registry, of files and
/// of hardware compare without case, unknown keys are errors with line and column:
///
///   name: pc1.example                  # DNS name
///   client_id: 2c5f…                   # GUID; else made once and kept in the state directory
///   target_group: Pilots               # client-side targeting; else the server decides
///   os:
///     version: 10.0.26100.4349         # major.minor.build.revision; default 10.0.26100.1
///     product_type: workstation        # or domain-controller, server
///     architecture: amd64              # or x86, arm64
///     locale: en-US
///     service_pack: "0.0"
///     suite_mask: 256
///     sku: 48
///     description: Windows 11 Pro
///   make: QEMU                         # of the computer; model, bios too
///   model: Standard PC
///   bios: "1.0"
///   registry:                          # key: {value: data}; a key may have no values: {}
///     HKEY_LOCAL_MACHINE\SOFTWARE\Example:
///       Release: 533320                # a plain whole number is a REG_DWORD
///       Version: "4.8"                 # everything else a REG_SZ
///       Blob: {type: REG_BINARY}       # another type: it exists and compares with nothing
///   files:                             # full path: version, or nothing when it has none
///     C:\Windows\System32\a.dll: 10.0.26100.1
///   msi_products:                      # product code: version, or {version: …, language: 1033}
///     "{90160000-008C-0000-1000-0000000FF1CE}": 16.0.1.2
///   cbs_packages:                      # name of the package: version, or nothing: can be
///   installed
///     Package_for_RollupFix: 26100.4349.1.10
///   licenses:                          # software licence value: number
///     Example-License: 1
///   drivers:                           # hardware id: installed version, or nothing
///     PCI\VEN_8086&DEV_1234: 1.2.3.4
///   installed_updates: [GUID, …]       # taken as installed whatever their rules say
struct Facts {
  std::string name;
  std::optional<Guid> client_id;
  std::optional<std::string> target_group;

  Version os_version{{10, 0, 26100, 1}};
  std::uint32_t service_pack_major = 0;
  std::uint32_t service_pack_minor = 0;
  std::uint32_t product_type = 1;  ///< 1 workstation, 2 domain controller, 3 server
  std::uint32_t suite_mask = 256;
  std::uint32_t sku = 48;
  std::string architecture = "amd64";
  std::string locale = "en-US";
  std::string description;  ///< default: from build number and product type

  std::string make = "Unknown";
  std::string model = "Unknown";
  std::string bios = "Unknown";

  CaselessMap<CaselessMap<RegistryValue>> registry;  ///< full key -> value name -> data
  CaselessMap<std::optional<Version>> files;         ///< full path -> version
  CaselessMap<MsiProduct> msi_products;              ///< product code in braces
  CaselessMap<std::optional<Version>> cbs_packages;
  CaselessMap<std::uint32_t> licenses;
  CaselessMap<std::optional<Version>> drivers;
  std::vector<Guid> installed_updates;

  /// Fails with kNotFound or kUsage: `path`, line and column, what is wrong.
  static Result<Facts> Load(const std::filesystem::path& path);
  /// `origin` is what error messages call the text.
  static Result<Facts> Parse(std::string_view yaml, std::string_view origin);
  /// An ordinary workstation named after this host, with nothing installed.
  static Facts OfThisHost();

  /// PROCESSOR_ARCHITECTURE_*: 0 x86, 9 AMD64, 12 ARM64.
  std::uint32_t ArchitectureNumber() const;
  /// LCID of the locale; 1033 when it is not known here.
  std::int32_t LocaleId() const;
  std::string OsDescription() const;
};

/// The text above as the help of `client scan` shows it.
std::string_view FactsFormatHelp();

}  // namespace gapferry::client
