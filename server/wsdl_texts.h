#pragma once

#include <string_view>

namespace gapferry::server {

// wsdl/*.txt, embedded by embed_wsdl.cmake.
extern const std::string_view kClientText;
extern const std::string_view kSimpleAuthText;
extern const std::string_view kReportingText;
extern const std::string_view kServerSyncText;
extern const std::string_view kDssAuthText;

}  // namespace gapferry::server
