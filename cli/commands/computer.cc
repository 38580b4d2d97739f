// In work by engineer ADMIN (not MIRROR): leave this file alone.
#include "cli/command.h"

namespace gapferry::cli {

std::vector<Command> ComputerCommands() { return {}; }

}  // namespace gapferry::cli
