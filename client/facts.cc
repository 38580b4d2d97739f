#include "client/facts.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace gapferry::client {

namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr std::pair<std::string_view, std::int32_t> kLocaleIds[] = {
    {"ar-sa", 1025}, {"bg-bg", 1026}, {"cs-cz", 1029}, {"da-dk", 1030}, {"de-at", 3079},
    {"de-ch", 2055}, {"de-de", 1031}, {"el-gr", 1032}, {"en-gb", 2057}, {"en-us", 1033},
    {"es-es", 3082}, {"et-ee", 1061}, {"fi-fi", 1035}, {"fr-fr", 1036}, {"he-il", 1037},
    {"hr-hr", 1050}, {"hu-hu", 1038}, {"it-it", 1040}, {"ja-jp", 1041}, {"ko-kr", 1042},
    {"lt-lt", 1063}, {"lv-lv", 1062}, {"nb-no", 1044}, {"nl-nl", 1043}, {"pl-pl", 1045},
    {"pt-br", 1046}, {"pt-pt", 2070}, {"ro-ro", 1048}, {"ru-ru", 1049}, {"sk-sk", 1051},
    {"sl-si", 1060}, {"sv-se", 1053}, {"th-th", 1054}, {"tr-tr", 1055}, {"uk-ua", 1058},
    {"zh-cn", 2052}, {"zh-tw", 1028},
};

}  // namespace

Result<Version> Version::Parse(std::string_view text) {
  Version version;
  std::size_t count = 0;
  for (const std::string_view piece : Split(text, '.')) {
    const auto number = ParseInt<std::uint32_t>(piece);
    if (!number || count == std::size(version.part)) {
      return Fail(ErrorCode::kUsage,
                  "'" + EscapeForDisplay(text, 60) + "' is no version of one to four numbers");
    }
    version.part[count++] = *number;
  }
  return version;
}

std::string Version::ToString() const {
  return fmt::format("{}.{}.{}.{}", part[0], part[1], part[2], part[3]);
}

bool LessIgnoringCase::operator()(std::string_view a, std::string_view b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](char x, char y) { return Lower(x) < Lower(y); });
}

Facts Facts::OfThisHost() {
  std::array<char, 256> host{};
  Facts facts;
  facts.name = gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "localhost";
  return facts;
}

std::uint32_t Facts::ArchitectureNumber() const {
  if (architecture == "x86") return 0;
  return architecture == "arm64" ? 12 : 9;
}

std::int32_t Facts::LocaleId() const {
  for (const auto& [tag, id] : kLocaleIds) {
    if (EqualsIgnoreCase(tag, locale)) return id;
  }
  return 1033;
}

std::string Facts::OsDescription() const {
  if (!description.empty()) return description;
  // The agent calls Windows 11 by its older name; servers tell it by the build.
  return product_type == 1 ? "Windows 10 Pro" : "Windows Server";
}

std::string_view FactsFormatHelp() {
  return R"(FACTS.yaml describes the computer that is simulated. Every key but `name` is optional; names of
the registry, of files and of hardware compare without case; what is not named does not exist.

  name: pc1.example                  # DNS name
  client_id: 2c5f0b0e-...            # GUID; else made once and kept in the state directory
  target_group: Pilots               # client-side targeting; else the server decides
  os:
    version: 10.0.26100.4349         # major.minor.build.revision; default 10.0.26100.1
    product_type: workstation        # or domain-controller, server
    architecture: amd64              # or x86, arm64
    locale: en-US
    service_pack: "0.0"
    suite_mask: 256
    sku: 48
    description: Windows 11 Pro
    mui_languages: [de-DE]           # languages of the user interface besides
    clustered: false
  processor: {count: 4, level: 6, revision: 0}
  make: QEMU                         # of the computer; model, bios too
  registry:                          # key: {value: data}; a key may have no values: {}
    HKEY_LOCAL_MACHINE\SOFTWARE\Example:
      Release: 533320                # a plain whole number is a REG_DWORD
      Version: "4.8"                 # everything else a REG_SZ
      Blob: {type: REG_BINARY}       # another type: exists, compares with nothing
  files:                             # full path: version, or nothing when it has none
    C:\Windows\System32\a.dll: 10.0.26100.1
    C:\b.exe: {version: 1.2.3.4, size: 4096, modified: 2026-01-31, language: 1033}
  msi_products:                      # product code: version, or all of it
    "{90160000-008C-0000-1000-0000000FF1CE}": 16.0.1.2
    "{90160000-008C-0000-0000-0000000FF1CE}": {version: 16.0, language: 1033, features: [Word],
      components: ["{...}"], patches: ["{...}"]}
  cbs_packages:                      # package: version, or nothing: can be installed
    Package_for_RollupFix: 26100.4349.1.10
  licenses:                          # software licence value: number
    Example-License: 1
  system_metrics: {"4096": 0}        # GetSystemMetrics
  wmi:                               # query: whether it returns anything; others cannot be told
    select * from Win32_Battery: false
  device_attributes: {OSSkuId: "48"} # what rules ask of the device
  product_releases: {Client.OS.rs2.amd64: 10.0.26100.4349}
  computer_ids: [GUID, ...]          # hardware ids of the computer, most specific first
  devices:
    - hardware_ids: [PCI\VEN_8086&DEV_1234&REV_01, PCI\VEN_8086&DEV_1234]
      compatible_ids: [PCI\VEN_8086]
      class: "{4d36e972-e325-11ce-bfc1-08002be10318}"   # or Printer
      driver: {version: 1.2.3.4, date: 2024-05-01, matching_id: PCI\VEN_8086&DEV_1234,
        provider: Intel, manufacturer: Intel, model: NIC}
  drivers:                           # the short form: hardware id: version, or nothing
    PCI\VEN_8086&DEV_1235: 1.2.3.4
  installed_updates: [GUID, ...]     # taken as installed whatever their rules say)";
}

}  // namespace gapferry::client
