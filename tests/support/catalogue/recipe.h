#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gapferry::catalogue {

// Where rules look and profiles keep their facts: both sides of a rule read them from here.
inline constexpr std::string_view kWindowsKey = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
inline constexpr std::string_view kFeaturesKey =
    "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Features";
inline constexpr std::string_view kUpdatesKey =
    "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Updates";
inline constexpr std::string_view kLanguageKey =
    "SYSTEM\\CurrentControlSet\\Control\\Nls\\Language";

std::string OfficeProductCode(std::uint32_t product, std::uint32_t variant);
std::string OfficeVersion(std::uint32_t build);
std::string SignatureVersion(std::uint32_t a, std::uint32_t b);  ///< 1.a.b.0
std::string EngineVersion(std::uint32_t a, std::uint32_t b);     ///< 1.1.a.b

}  // namespace gapferry::catalogue
