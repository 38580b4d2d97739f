#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/progress.h"

namespace gapferry::cli {

enum class ProgressStyle {
  kTerminal,  ///< one line that is rewritten: items, bytes, rate, time left
  kLines,     ///< one plain line per step and each 10 seconds
  kJson,      ///< the same moments as JSON lines
  kNone,
};

/// Progress on stderr in `style`. Thread-safe.
std::unique_ptr<Progress> MakeProgress(ProgressStyle style);

/// The terminal for a stderr that is one, JSON lines with --json, none with --quiet, else lines.
ProgressStyle ChooseProgressStyle(bool json, bool quiet);

/// One state of a step, for formatting.
struct ProgressState {
  std::string step = {};
  std::uint64_t items = 0;
  std::uint64_t total_items = 0;  ///< 0: unknown
  std::uint64_t bytes = 0;
  std::uint64_t total_bytes = 0;  ///< 0: unknown
  double seconds = 0;             ///< since the step began
};

/// "reading revisions: 1,200 of 24,509, 12.0 MiB of 1.1 GiB, 3.1 MiB/s, 5 min left"; the time left
/// follows the bytes where their total is known, else the items; nothing is said of what is
/// unknown.
std::string FormatProgress(const ProgressState& state);

}  // namespace gapferry::cli
