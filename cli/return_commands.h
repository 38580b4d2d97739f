#pragma once

#include <string>

#include "base/result.h"
#include "cli/command.h"
#include "mirror/mirror.h"

namespace gapferry::cli {

/// gapferry export --return: shows every line, asks, writes.
Result<ExitCode> ExportReturn(Context& context, mirror::Mirror& mirror);

/// gapferry import RETURN, on the connected side.
Result<ExitCode> ImportReturn(Context& context, mirror::Mirror& mirror, const std::string& path);

}  // namespace gapferry::cli
