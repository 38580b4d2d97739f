#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "base/result.h"
#include "mirror/content_store.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

enum class QuarantineState {
  kWithheld = 1,   ///< lies in quarantine/, its updates are not offered
  kReleased = 2,   ///< let in, by a person or by a later scan
  kDiscarded = 3,  ///< deleted; asked for again while an update needs it
};
std::string_view QuarantineStateName(QuarantineState state);

/// A file of a bundle that the scanner rejected.
struct QuarantinedFile {
  Sha1Digest sha1;
  Sha256Digest sha256;
  std::uint64_t size_bytes = 0;
  std::string extension;
  QuarantineState state = QuarantineState::kWithheld;
  std::string bundle;  ///< that brought it: "gapferry-plant-000007"
  Sha256Digest manifest;
  WithheldWhy why = WithheldWhy::kRejected;
  std::string output;   ///< of the scanner, its beginning
  std::string scanner;  ///< its program
  UtcTime at;

  std::string Name() const;  ///< "AB/<SHA1>.<ext>", as content files are called
};

/// DIR/quarantine (0700): files that came in a bundle, whole and as signed, and that the scanner
/// rejected. The store does not hold them, so that no update that needs one is offered. Each is one
/// row; who released or discarded it is in the audit trail. Thread rule of its mirror.
class Quarantine {
 public:
  explicit Quarantine(Mirror& mirror) : mirror_(mirror) {}

  /// Moves staged files in and notes them, in one transaction after the moves. Repeated after a
  /// crash it ends in the same.
  struct Arrival {
    QuarantinedFile file;
    std::filesystem::path staged;
  };
  Result<void> Withhold(const std::vector<Arrival>& files, std::string_view actor);

  /// Withheld files; with `all` also those of which somebody has decided. Newest first.
  Result<std::vector<QuarantinedFile>> List(bool all);
  Result<std::optional<QuarantinedFile>> Find(const Sha1Digest& sha1);
  /// By SHA-1 or at least 6 digits of its beginning, among the withheld ones; kNotFound, or kUsage
  /// when several begin so.
  Result<QuarantinedFile> FindByText(std::string_view text);
  bool IsWithheld(const Sha1Digest& sha1);  ///< false also when the catalogue cannot be read

  /// Lets a withheld file in: its digests are computed again (kCorrupt when they differ, and it
  /// stays), then it is published and clients are offered what waited for it. Audited.
  Result<void> Release(const QuarantinedFile& file, std::string_view actor);
  /// Deletes a withheld file. Audited.
  Result<void> Discard(const QuarantinedFile& file, std::string_view actor);
  /// Withheld files that the store holds now, since they came again and were let in: the old copy
  /// goes, its row says released. Audited.
  Result<void> Resolve(std::string_view actor);

  std::filesystem::path PathOf(const QuarantinedFile& file) const;

 private:
  Result<std::filesystem::path> Folder() const;
  Result<void> Settle(const QuarantinedFile& file, QuarantineState state, std::string_view action,
                      std::string_view actor);
  Mirror& mirror_;  // must outlive
};

/// Updates of the catalogue that need a file, at most `limit`.
struct UpdateOfFile {
  protocol::UpdateId update;
  std::string title;
};
Result<std::vector<UpdateOfFile>> UpdatesOfFile(Database& catalog, const Sha1Digest& sha1,
                                                int limit);

}  // namespace gapferry::mirror
