#pragma once

#include <string_view>

namespace gapferry {

/// Of this program: "0.1.0", integers with dots.
std::string_view ProgramVersion();

}  // namespace gapferry
