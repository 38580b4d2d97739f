#pragma once

#include <string_view>

/// Namespace URIs of update documents (metadata notes, section 1.2).
namespace gapferry::protocol::update_ns {

inline constexpr std::string_view kUpdate = "http://schemas.microsoft.com/msus/2002/12/Update";
inline constexpr std::string_view kBaseRules =
    "http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules";
inline constexpr std::string_view kMsiRules =
    "http://schemas.microsoft.com/msus/2002/12/MsiApplicabilityRules";
inline constexpr std::string_view kDriver =
    "http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver";

/// What a client's fragment writes before an element's name: "b.", "m.", "d." or nothing.
constexpr std::string_view FragmentPrefix(std::string_view uri) {
  if (uri == kBaseRules) return "b.";
  if (uri == kMsiRules) return "m.";
  if (uri == kDriver) return "d.";
  return {};
}

}  // namespace gapferry::protocol::update_ns
