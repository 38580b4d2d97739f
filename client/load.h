#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "base/result.h"

namespace gapferry::client {

enum class LoadScan {
  kFirst,    ///< a computer that knows nothing: the whole walk
  kIdle,     ///< one that knows everything: a single call that brings nothing
  kCatchUp,  ///< one that lacks some of what it is to know
};

struct LoadOptions {
  std::string server;           ///< root URL
  std::size_t clients = 100;    ///< simulated computers, each with an id of its own
  std::size_t connections = 0;  ///< at once; 0: one per client, 32 at most
  std::chrono::seconds duration{30};
  double rate = 0;  ///< scans begun per second by all together; 0: as fast as answers come
  LoadScan scan = LoadScan::kFirst;
  std::size_t missing = 30;  ///< what a catch-up lacks
  bool use_xpress = true;
};

/// Microseconds, within 3 %.
struct LatencySummary {
  std::uint64_t count = 0;
  std::uint64_t p50 = 0;
  std::uint64_t p99 = 0;
  std::uint64_t max = 0;
};

struct LoadResult {
  std::size_t clients = 0;
  std::size_t connections = 0;
  std::size_t revisions = 0;  ///< that a computer comes to know
  double prepared_seconds = 0;
  double seconds = 0;  ///< of the measurement
  std::uint64_t scans = 0;
  std::uint64_t requests = 0;
  std::uint64_t answer_bytes = 0;  ///< over the wire
  std::uint64_t updates = 0;       ///< delivered
  LatencySummary request;
  LatencySummary scan;     ///< with `rate`, from the moment it was due
  std::uint64_t late = 0;  ///< scans that could not begin within a second of that moment
  std::uint64_t errors = 0;
  std::map<std::string, std::uint64_t> error_texts;  ///< at most 20 different ones
};

/// Measures a server with many computers at once: shakes hands and registers them all (ids and
/// names are the same in every run, so a server keeps one record each), then scans for `duration`.
/// Software passes only; rules are not evaluated, every category and detectoid counts as true, so a
/// walk is the longest there is. What computers know is kept once for all, so memory does not grow
/// with them. Fails when preparing fails; later errors are counted. Thread-safe.
Result<LoadResult> RunLoad(const LoadOptions& options, Progress& progress, std::stop_token stop);

}  // namespace gapferry::client
