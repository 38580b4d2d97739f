#pragma once

#include <cstdint>
#include <string_view>

namespace gapferry {

/// Where long work says how far it is. Implementations decide what a terminal, a pipe or --json
/// shows (cli/progress.h). Thread-safe.
class Progress {
 public:
  virtual ~Progress() = default;
  /// Starts a step such as "reading revisions"; a total of 0 means unknown.
  virtual void Begin(std::string_view step, std::uint64_t total_items,
                     std::uint64_t total_bytes) = 0;
  /// Adds to what is done in the current step.
  virtual void Advance(std::uint64_t items, std::uint64_t bytes) = 0;
  virtual void End() = 0;
  /// A line for the operator, such as a retry.
  virtual void Note(std::string_view line) = 0;
};

/// Shows nothing.
Progress& NoProgress();

}  // namespace gapferry
