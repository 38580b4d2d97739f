#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/guid.h"
#include "base/hash.h"
#include "mirror/catalog.h"
#include "server/csr.h"

namespace gapferry::server {

/// Positions in the arrays of a CatalogIndex.
using RevisionOrdinal = std::uint32_t;
using UpdateOrdinal = std::uint32_t;
using ClauseOrdinal = std::uint32_t;
using FileOrdinal = std::uint32_t;
inline constexpr std::uint32_t kNone = UINT32_MAX;

struct RevisionFacts {
  mirror::RevisionId id = 0;
  UpdateOrdinal update = 0;
  std::int32_t number = 0;
  mirror::UpdateType type = mirror::UpdateType::kSoftware;
  mirror::CategoryType category_type = mirror::CategoryType::kNone;
  bool is_latest = false;
  bool is_expired = false;
  bool is_deployable = false;  ///< ExplicitlyDeployable
  bool has_digest_conflict = false;
  bool lacks_member = false;           ///< bundles a revision that is not in the catalogue
  std::uint32_t eula = kNone;          ///< into CatalogIndex::eulas
  std::uint32_t protocol_version = 0;  ///< CompatibleProtocolVersion, major << 16 | minor; 0: none
  mirror::Generation generation = 0;   ///< in which it became visible
  mirror::Generation bundled_since = 0;  ///< first generation of a bundle naming it; 0: none
};

struct UpdateFacts {
  Guid guid;
  RevisionOrdinal latest = kNone;  ///< highest visible revision; kNone when only named by others
  /// First generation in which a prerequisite clause names it (MS-WUSP 3.1.5.7 IsLeaf); 0: a leaf.
  mirror::Generation named_since = 0;
};

/// A file as declared: the same SHA-1 with another SHA-256 or size is another one.
struct FileFacts256 {
  Sha1Digest sha1;
  std::optional<Sha256Digest> sha256;
  std::uint64_t size_bytes = 0;
  std::uint32_t extension = 0;  ///< into CatalogIndex::extensions
  bool is_express = false;
};

/// What driver matching needs of one WindowsDriverMetaData (MS-WUSP 3.1.5.7).
struct DriverFacts {
  RevisionOrdinal revision = 0;
  std::string hardware_id;  ///< lower case
  std::vector<Guid> computer_ids;
  std::vector<protocol::DriverFeatureScore> feature_scores;
  std::int64_t version_date = 0;  ///< ticks
  std::int64_t version = 0;       ///< four 16-bit parts
  std::string provider;
  std::string manufacturer;
  bool is_printer = false;
};

/// The driver class of printers, in documents and in what clients tell of installed drivers.
inline constexpr std::string_view kPrinterClass = "Printer";

/// The published revisions and their relations as flat arrays: what a scan needs of the catalogue,
/// apart from intent. Immutable once built; thread-safe.
class CatalogIndex {
 public:
  const std::vector<RevisionFacts>& revisions() const { return revisions_; }  ///< ascending by id
  const std::vector<UpdateFacts>& updates() const { return updates_; }
  const std::vector<FileFacts256>& files() const { return files_; }
  const std::vector<DriverFacts>& drivers() const { return drivers_; }
  const std::vector<Guid>& eulas() const { return eulas_; }
  const std::string& extension(const FileFacts256& file) const {
    return extensions_[file.extension];
  }

  /// Clauses are kept once each; an alternative is an update, whatever its revision.
  std::size_t clause_count() const { return clause_updates_.size(); }
  std::span<const UpdateOrdinal> Alternatives(ClauseOrdinal clause) const {
    return clause_updates_[clause];
  }
  std::span<const ClauseOrdinal> Clauses(RevisionOrdinal r) const { return clauses_[r]; }
  std::span<const RevisionOrdinal> Members(RevisionOrdinal r) const { return members_[r]; }
  std::span<const FileOrdinal> Payloads(RevisionOrdinal r) const { return payloads_[r]; }
  std::span<const FileOrdinal> EulaFiles(RevisionOrdinal r) const { return eula_files_[r]; }
  std::span<const RevisionOrdinal> RevisionsOf(UpdateOrdinal u) const { return of_update_[u]; }
  /// Those that became visible after `generation`, ascending by generation.
  std::span<const RevisionOrdinal> NewerThan(mirror::Generation generation) const;
  /// Newest revisions of categories, ascending.
  const std::vector<RevisionOrdinal>& categories() const { return categories_; }

  /// kNone when there is none.
  RevisionOrdinal FindId(mirror::RevisionId id) const {
    const auto number = static_cast<std::uint32_t>(id);
    const std::size_t page = number >> kIdPageBits;
    if (page >= id_pages_.size() || id_pages_[page] == kNone) return kNone;
    return id_table_[id_pages_[page] + (number & ((1U << kIdPageBits) - 1))];
  }
  RevisionOrdinal Find(const protocol::UpdateId& update) const;
  UpdateOrdinal FindUpdate(const Guid& guid) const;
  std::span<const std::uint32_t> DriversFor(const std::string& hardware_id) const;
  /// Whether some revision declares a file with this SHA-1.
  bool DeclaresFile(const Sha1Digest& sha1) const;
  bool has_drivers() const { return !drivers_.empty(); }

  bool IsLeaf(RevisionOrdinal r) const { return updates_[revisions_[r].update].named_since == 0; }
  protocol::UpdateId NameOf(RevisionOrdinal r) const {
    return {updates_[revisions_[r].update].guid, revisions_[r].number};
  }
  /// Whether some prerequisite clause of `r` names `update`.
  bool Names(RevisionOrdinal r, UpdateOrdinal update) const;

 private:
  friend class CatalogIndexBuilder;
  std::vector<RevisionFacts> revisions_;
  std::vector<UpdateFacts> updates_;
  std::vector<FileFacts256> files_;
  std::vector<DriverFacts> drivers_;
  std::vector<Guid> eulas_;
  std::vector<std::string> extensions_;
  void IndexIds();

  static constexpr unsigned kIdPageBits = 10;
  std::vector<std::uint32_t> id_pages_;  // id >> kIdPageBits -> into id_table_, kNone: no such ids
  std::vector<RevisionOrdinal> id_table_;  // kNone: no such id
  std::vector<FileOrdinal> by_sha1_;       // sorted by the file's SHA-1
  std::vector<RevisionOrdinal> by_generation_;
  std::vector<RevisionOrdinal> categories_;
  Csr<UpdateOrdinal> clause_updates_;
  Csr<ClauseOrdinal> clauses_;
  Csr<RevisionOrdinal> members_;
  Csr<FileOrdinal> payloads_;
  Csr<FileOrdinal> eula_files_;
  Csr<RevisionOrdinal> of_update_;
  struct MissingMember {
    UpdateOrdinal update = 0;
    std::int32_t number = 0;
  };
  std::vector<MissingMember> missing_members_;  // what bundles name and the catalogue lacks
  std::unordered_map<Guid, UpdateOrdinal> by_guid_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> by_hardware_;
};

/// Builds a CatalogIndex from rows that come ascending by revision id. Not thread-safe.
class CatalogIndexBuilder {
 public:
  CatalogIndexBuilder();
  /// Goes on from `base`, whose ordinals stay as they are: costs a copy and what is added. What is
  /// added must have higher ids and generations than all of `base`. When a bundle of `base` waited
  /// for a revision that is added now, Finish gives nullptr: then everything is to be read again.
  explicit CatalogIndexBuilder(const CatalogIndex& base);
  ~CatalogIndexBuilder();
  CatalogIndexBuilder(const CatalogIndexBuilder&) = delete;
  CatalogIndexBuilder& operator=(const CatalogIndexBuilder&) = delete;

  /// `drivers`: of driver revisions, as Catalog::Drivers gives them.
  void Add(const mirror::RevisionRelations& relations,
           const std::vector<protocol::DriverMetadata>& drivers = {});
  /// Which revisions have a digest conflict, ascending by id, whatever Add said before.
  void SetDigestConflicts(const std::vector<mirror::RevisionId>& ids);
  std::shared_ptr<const CatalogIndex> Finish();

 private:
  struct State;
  UpdateOrdinal UpdateOf(const Guid& guid);
  ClauseOrdinal ClauseOf(const mirror::Clause& clause, mirror::Generation generation);
  FileOrdinal FileOf(const mirror::DeclaredFile& file);
  void AddDrivers(RevisionOrdinal revision, const std::vector<protocol::DriverMetadata>& drivers);
  FileOrdinal FindBaseFile(const mirror::DeclaredFile& file) const;
  bool ResolveMembers();
  void GroupRevisions();
  void OrderRevisions();
  void OrderFiles();

  std::unique_ptr<State> state_;
  std::shared_ptr<CatalogIndex> index_;
};

/// "1.20" as 1 << 16 | 20: compared as numbers, never as a decimal. 0 for anything else.
std::uint32_t PackProtocolVersion(std::string_view text);
/// "10.0.26100.8036" in four 16-bit parts; 0 for anything else.
std::int64_t PackDriverVersion(std::string_view text);

}  // namespace gapferry::server
