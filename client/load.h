#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/result.h"

namespace gapferry::client {

enum class LoadScan {
  kFirst,    ///< a computer that knows nothing: the whole walk
  kIdle,     ///< one that knows everything: a single call that brings nothing
  kCatchUp,  ///< one that lacks some of what it is to know
  kMixed,    ///< some of each, by LoadOptions::mix
  kNone,     ///< reports only
};

struct LoadOptions {
  std::string server;           ///< root URL
  std::size_t clients = 100;    ///< simulated computers, each with an id of its own
  std::size_t connections = 0;  ///< at once, each with a thread; 0: one per client, 32 at most
  std::chrono::seconds duration{30};
  double rate = 0;  ///< scans begun per second by all together; 0: as fast as answers come
  LoadScan scan = LoadScan::kFirst;
  struct Mix {
    unsigned first = 1;
    unsigned catch_up = 6;
    unsigned idle = 13;
  };
  Mix mix;                       ///< of kMixed, in turn; one of them at least
  std::size_t missing = 30;      ///< what a catch-up lacks
  unsigned holds_percent = 100;  ///< of categories and detectoids that count as true
  /// After each scan one report of 1 to so many events, in turn; 0: none.
  std::size_t events = 0;
  bool use_xpress = true;
  std::string ca_file;  ///< PEM, of the server's authority; empty: the system's store

  static constexpr std::size_t kMaxConnections = 2048;
  static constexpr std::size_t kMaxEvents = 500;
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
  std::uint64_t reports = 0;
  std::uint64_t events = 0;
  std::uint64_t requests = 0;
  std::uint64_t answer_bytes = 0;  ///< over the wire
  std::uint64_t updates = 0;       ///< delivered
  LatencySummary request;          ///< every one, reports too
  LatencySummary report;
  LatencySummary scan;     ///< with `rate`, from the moment it was due
  std::uint64_t late = 0;  ///< scans that could not begin within a second of that moment
  std::uint64_t errors = 0;
  std::map<std::string, std::uint64_t> error_texts;  ///< at most 20 different ones
  /// Microseconds of the latest answer among the requests that were sent in each second.
  std::vector<std::uint64_t> latest;
};

/// Measures a server with many computers at once: shakes hands and registers them all (ids and
/// names are the same in every run, so a server keeps one record each), then scans for `duration`.
/// Software passes only; rules are not evaluated: a share of the categories and detectoids counts
/// as true, the same for all; with all of them a walk is the longest there is. A computer remembers
/// what its last scan brought; what is equal for many is kept once, so memory grows little with
/// them. Each connection has a thread. Fails when preparing fails; later errors are counted.
/// Thread-safe.
Result<LoadResult> RunLoad(const LoadOptions& options, Progress& progress, std::stop_token stop);

}  // namespace gapferry::client
