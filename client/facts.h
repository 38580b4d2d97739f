#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
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

struct FileFact {
  std::optional<Version> version;
  std::optional<std::uint64_t> size;  ///< bytes
  std::optional<UtcTime> created;
  std::optional<UtcTime> modified;
  std::optional<std::uint32_t> language;  ///< of the version resource
};

struct MsiProduct {
  Version version;
  std::optional<std::int32_t> language;  ///< LCID
  std::vector<std::string> features;     ///< names of installed ones
  std::vector<std::string> components;   ///< codes in braces
  std::vector<std::string> patches;      ///< codes in braces
};

struct DriverFact {
  Version version;
  std::optional<UtcTime> date;
  std::string matching_id;  ///< the hardware or compatible id it was installed for
  std::string provider;
  std::string manufacturer;
  std::string model;
  std::optional<Guid> matching_computer_id;
  std::optional<std::int32_t> rank;
};

struct DeviceFact {
  std::vector<std::string> hardware_ids;  ///< most specific first
  std::vector<std::string> compatible_ids;
  std::string device_class;  ///< set-up class GUID in braces, or Printer
  std::optional<DriverFact> driver;
};

/// What a simulated computer is; the closed world that applicability rules are evaluated in: what
/// is not named here does not exist.
///
/// FactsFormatHelp describes the file (`--as FACTS.yaml`). Every key but `name` is optional; names
/// of the registry, of files and of hardware compare without case; unknown keys are errors with
/// line and column.
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
  std::string description;                 ///< default: from build number and product type
  std::vector<std::string> mui_languages;  ///< of the multilingual user interface; empty: none
  bool is_clustered = false;
  std::uint32_t processor_count = 1;
  std::uint32_t processor_level = 6;
  std::uint32_t processor_revision = 0;

  std::string make = "Unknown";
  std::string model = "Unknown";
  std::string bios = "Unknown";

  CaselessMap<CaselessMap<RegistryValue>> registry;  ///< full key -> value name -> data
  CaselessMap<FileFact> files;                       ///< by full path
  CaselessMap<MsiProduct> msi_products;              ///< product code in braces
  CaselessMap<std::optional<Version>> cbs_packages;
  CaselessMap<std::uint32_t> licenses;
  CaselessMap<std::int32_t> system_metrics;    ///< index as text -> value
  CaselessMap<bool> wmi_queries;               ///< WQL -> whether it returns anything
  CaselessMap<std::string> device_attributes;  ///< as DeviceAttribute rules name them
  CaselessMap<std::optional<Version>> product_releases;
  std::vector<Guid> computer_ids;  ///< hardware ids, most specific first
  std::vector<DeviceFact> devices;
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
