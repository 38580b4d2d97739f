#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "mirror/config.h"
#include "mirror/identity.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

namespace gapferry::mirror {

class Catalog;
class FragmentStore;
class ContentStore;
class Intent;
class Activity;
class JobHistory;

struct MirrorOptions {
  /// Must outlive the mirror.
  const Clock* clock = &SystemClock();
  DatabaseOptions database;
};

/// One opened mirror directory:
///
///   gapferry.yaml   configuration           catalog.db    revisions, intent, ledgers, audit
///   fragments.db    what clients are sent   activity.db   computers, events, status
///   content/        verified files          keys/         0700
///   staging/        unfinished work, safe to delete while no job runs
///
/// Thread-compatible, one per thread: each has its own database connections, opened when first
/// used. Several mirrors on one directory, in one process or in many, see each other's commits.
class Mirror {
 public:
  /// Creates `directory` (which must be absent or empty: kUsage) with `config`, keys, GUID and
  /// epoch, published generation 0, the two built-in groups. A failure leaves nothing that Open
  /// would take for a mirror: gapferry.yaml is written last.
  static Result<void> Init(const std::filesystem::path& directory, const Config& config,
                           const MirrorOptions& options = {});

  /// Fails with kNotFound when there is no mirror, with kUsage and reason "wrong-owner" for another
  /// user's (the message gives the line to type), with kUnsupported for a newer schema. Older
  /// schemas are migrated.
  static Result<Mirror> Open(const std::filesystem::path& directory,
                             const MirrorOptions& options = {});
  /// The same, by a configuration that was read before: what opens a mirror several times goes by
  /// one reading of gapferry.yaml, which may be in an editor.
  static Result<Mirror> Open(const std::filesystem::path& directory, const MirrorOptions& options,
                             Config config);
  Mirror(Mirror&&) noexcept;
  Mirror& operator=(Mirror&&) noexcept;
  ~Mirror();

  const std::filesystem::path& path() const;
  std::filesystem::path staging() const;  ///< exists
  const Config& config() const;
  const Identity& identity() const;
  const Clock& clock() const;
  KeyPaths keys() const;

  /// catalog.db, for the modules of mirror/ that keep tables of their own there.
  Database& db();

  Catalog& catalog();
  Intent& intent();
  JobHistory& jobs();
  ContentStore& content();
  /// These open their database at the first call.
  Result<FragmentStore*> fragments();
  Result<Activity*> activity();

 private:
  struct Impl;
  explicit Mirror(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared only with handles that Impl keeps of itself
};

}  // namespace gapferry::mirror
