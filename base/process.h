#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace gapferry {

/// Names one process so that a number used again is not taken for it: "PID/START/BOOT", START in
/// clock ticks since the boot that BOOT (a GUID) names. Processes of another PID namespace are not
/// seen.
std::string ThisProcess();
/// Of a process that runs now; empty when there is none.
std::string ProcessNamed(int pid);

/// The number in a name; 0 when it is none.
int ProcessNumber(std::string_view process);

/// Whether the named process has not ended yet (a zombie has).
bool IsRunning(std::string_view process);

/// Sends `signal` to exactly this process. Fails with kNotFound when it has ended, with kUntrusted
/// when it belongs to another user.
Result<void> SignalProcess(std::string_view process, int signal);

}  // namespace gapferry
