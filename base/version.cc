#include "base/version.h"

namespace gapferry {

std::string_view ProgramVersion() { return GAPFERRY_VERSION; }

}  // namespace gapferry
