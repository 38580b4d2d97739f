#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "mirror/catalog.h"
#include "mirror/sqlite.h"

// How rows of catalog.db become the structs of catalog.h; for the sources of mirror/ only.

namespace gapferry::mirror {

/// Which revisions a query sees.
enum class Sight {
  kPublished,  ///< what readers see
  kLoading,    ///< these and those of the open change
};

/// SELECT of the columns ReadRevision wants, with `r` (revision), `i` (revision_identity) and `c`
/// (change); `rest` continues after the condition of sight: "AND ... ORDER BY ...".
std::string RevisionSelect(Sight sight, std::string_view rest);
RevisionRow ReadRevision(Statement& row);
Result<std::optional<RevisionRow>> ReadOneRevision(Statement& row);

/// Reads the relations of revisions that are asked for in ascending order of id.
class RelationsReader {
 public:
  enum class Pattern {
    kMost,  ///< most revisions will be asked for: whole tables are read in step
    kFew,
  };
  static Result<RelationsReader> Open(Database& db, Pattern pattern);
  Result<void> Fill(RevisionRelations& out);
  Result<void> FillFiles(RevisionRelations& out);  ///< nothing else; kFew only

 private:
  struct Cursor {
    Statement rows;
    bool started = false;
    bool has_row = false;
  };
  RelationsReader(Pattern pattern, Cursor prerequisites, Cursor members, Cursor superseded,
                  Cursor files)
      : pattern_(pattern),
        prerequisites_(std::move(prerequisites)),
        members_(std::move(members)),
        superseded_(std::move(superseded)),
        files_(std::move(files)) {}
  Result<void> Each(Cursor& cursor, RevisionId id, const std::function<void(Statement&)>& take);
  Pattern pattern_;
  Cursor prerequisites_;
  Cursor members_;
  Cursor superseded_;
  Cursor files_;
};

Result<std::vector<protocol::UpdateId>> FindUnknown(Database& db, Sight sight,
                                                    const std::vector<protocol::UpdateId>& sorted);

/// `which`: a condition that narrows the rows, from "AND" on; c is the change, t the relation.
Result<std::vector<Catalog::Dangling>> FindDanglingIn(Database& db, Sight sight,
                                                      std::string_view which, int limit);

inline constexpr std::int64_t kPartBits = 12;
inline constexpr std::size_t kPartBytes = 256 * 1024;
inline std::int64_t PartId(std::int64_t owner, std::int64_t part) {
  return owner << kPartBits | part;
}
/// Highest payload that parts can hold.
inline constexpr std::uint64_t kMaxPartsBytes = (std::uint64_t{1} << kPartBits) * kPartBytes;

}  // namespace gapferry::mirror
