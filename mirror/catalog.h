#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/sync_messages.h"
#include "protocol/update_document.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

using protocol::UpdateType;

enum class CategoryType { kNone = 0, kClassification, kCompany, kProductFamily, kProduct };

/// How a document came and is kept.
enum class DocumentForm {
  kPlain = 0,    ///< UTF-8 text
  kCabinet = 1,  ///< the cabinet the upstream sent
};

/// One revision without its document.
struct RevisionRow {
  RevisionId id = 0;
  protocol::UpdateId update;
  UpdateType type = UpdateType::kSoftware;
  CategoryType category_type = CategoryType::kNone;
  Generation generation = 0;  ///< in which it became visible
  bool is_latest = false;     ///< highest visible revision of its update
  bool is_expired = false;    ///< PublicationState="Expired"
  bool is_explicitly_deployable = false;
  bool is_withdrawn = false;  ///< the upstream does not list it any more
  /// Withdrawn, and the last full bundle did not even name it: not part of the state digest, and
  /// passed on by no bundle.
  bool is_unlisted = false;
  /// A file it declares contradicts what is known under that SHA-1: never offer it.
  bool has_digest_conflict = false;
  bool needs_file_keys = false;  ///< its files are encrypted: Catalog::FileKeys
  bool can_uninstall = false;
  std::optional<Guid> eula_id;
  std::string compatible_protocol_version;  ///< "1.4"; empty when not given
  Sha256Digest document_sha256;             ///< of the decoded UTF-8 text
  std::uint64_t document_bytes = 0;         ///< decoded
};

struct Clause {
  bool is_category = false;
  std::vector<Guid> alternatives;
};

enum class FileKind { kPayload = 0, kEula = 1 };

/// A file as a revision declares it.
struct DeclaredFile {
  FileKind kind = FileKind::kPayload;
  Sha1Digest sha1;
  std::optional<Sha256Digest> sha256;
  std::uint64_t size_bytes = 0;
  std::string name;           ///< not unique, never a storage name
  std::string extension;      ///< 1 to 16 of [A-Za-z0-9]; "bin" when the name has none that fits
  std::string patching_type;  ///< "SelfContained", "Express"; empty when not given
  std::string language;       ///< of a EULA
  std::string geo_id;         ///< of a EULA, usually empty
  bool is_encrypted = false;
  bool is_held = false;  ///< verified and in content/
};

/// A revision with everything the index of a server needs.
struct RevisionRelations {
  RevisionRow row;
  std::vector<Clause> prerequisites;
  /// Groups of exact revisions; a bare member is a group of one.
  std::vector<std::vector<protocol::UpdateId>> bundled;
  std::vector<Guid> superseded;
  std::vector<DeclaredFile> files;
};

/// The key of a file that the vendor encrypts. A secret: goes to update servers, clients and
/// bundles only; never to logs, audit, JSON or error texts.
struct FileKey {
  Sha1Digest sha1;
  Bytes key;
  bool operator==(const FileKey&) const = default;
};
inline constexpr std::size_t kMaxFileKeyBytes = 128;

struct UpdateText {
  std::string title;
  std::string description;
  std::string language;
};

struct CategoryRow {
  Guid guid;
  CategoryType type = CategoryType::kNone;
  std::string title;
  std::optional<Guid> parent;  ///< of a product: its family or company, when known
  std::uint64_t updates = 0;   ///< deployable, latest, unexpired ones that name it
};

enum class StateKnowledge {
  kCurrent,       ///< the published state
  kOlder,         ///< in our history
  kOtherHistory,  ///< not ours: ServerChanged, refusal, "restored"
};

struct FindUpdates {
  std::string text;  ///< words, all of which occur in the title or KB number; empty: all
  std::optional<UpdateType> type;
  std::vector<Guid> categories;                ///< each must be named by a prerequisite
  IntentOrigin origin = IntentOrigin::kLocal;  ///< whose approvals and declines: Intent::Effective
  std::optional<bool> approved;
  std::optional<bool> declined;
  bool deployable_only = true;  ///< leaves hidden bundle members out
  bool include_expired = false;
  bool include_old_revisions = false;
  std::uint32_t limit = 0;  ///< 0: all
};

struct UpdateSummary {
  RevisionRow row;
  std::string title;
  std::string kb_article;  ///< "5001234"; empty when none
  std::string severity;    ///< MSRC; empty when none
  std::optional<UtcTime> created_at;
  std::uint64_t files_bytes = 0;  ///< payload of it and of what it bundles
};

struct CatalogCounts {
  std::uint64_t revisions = 0;
  std::uint64_t updates = 0;             ///< software and drivers by GUID
  std::uint64_t deployable_updates = 0;  ///< latest, explicitly deployable, not expired
  std::uint64_t expired_updates = 0;
  std::uint64_t live_updates = 0;  ///< latest neither expired nor withdrawn: base of the 2 % rule
  std::uint64_t categories = 0;
  std::uint64_t detectoids = 0;
  std::uint64_t withdrawn = 0;
  bool operator==(const CatalogCounts&) const = default;
};

/// Which products, classifications and languages a sync asks for. All of something = empty list.
struct Subscription {
  std::vector<Guid> products;
  std::vector<Guid> classifications;
  std::vector<std::string> languages;  ///< "en", "de"
  /// "All" classifications include drivers; without it they are left out unless named.
  bool drivers = false;
  bool operator==(const Subscription&) const = default;
};

/// What the upstream said of itself, kept with the anchor "config".
struct UpstreamRecord {
  std::string url;                ///< as DisplayUrl shows it
  std::string announced_version;  ///< by us
  /// With all languages; the anchor is kept as an anchor.
  protocol::GetConfigDataResponse config;
  UtcTime read_at;
};

struct Anchor {
  std::string kind;    ///< "config", "categories", "updates", "deployments"
  std::string filter;  ///< digest of the filter it belongs to; empty for none
  std::string value;   ///< opaque
};

/// Reading the catalogue: what is published, nothing of a job that has not committed. Large results
/// go to a callback row by row; its error ends the reading and is returned.
///
/// Each call is consistent in itself. For several calls on one state, hold a ReadView; a view must
/// not be held while waiting for a socket or a user. Thread rule of its database.
class Catalog {
 public:
  explicit Catalog(Database& catalog) : db_(catalog) {}

  using ReadView = Transaction;
  Result<ReadView> BeginRead() { return Transaction::Begin(db_, TransactionKind::kRead); }

  // States.
  Result<PublishedState> Published();
  Result<StateKnowledge> Knows(const StateName& name);
  Result<std::optional<PublishedState>> StateAt(Generation generation);
  /// For WSUSSS anchors, whose commit times are unique.
  Result<std::optional<PublishedState>> StateCommittedAt(UtcTime committed_at);
  /// Newest first.
  Result<std::vector<PublishedState>> RecentStates(int limit);
  /// The 4,096 bucket digests of the documents tree, to find where two mirrors differ.
  Result<std::vector<Sha256Digest>> DocumentBuckets();

  // Revisions.
  Result<std::optional<RevisionRow>> Find(const protocol::UpdateId& update);
  Result<std::optional<RevisionRow>> FindLatest(const Guid& guid);
  Result<std::optional<RevisionRow>> FindById(RevisionId id);
  /// Visible revisions of one update, ascending.
  Result<std::vector<RevisionRow>> RevisionsOf(const Guid& guid);
  /// Became visible, withdrawn or listed again in (base, target], ascending by GUID and revision;
  /// without unlisted ones.
  Result<void> ForEachChanged(Generation base, Generation target,
                              const std::function<Result<void>(const RevisionRow&)>& visit);
  /// All of them, ascending by id; `after` for those with a higher id only.
  Result<void> ForEachRevision(const std::function<Result<void>(const RevisionRow&)>& visit);
  /// In bulk for the index of a server: 100,000 revisions in about a second. Revisions that became
  /// visible above `after_generation`, ascending by id (0: all).
  Result<void> ForEachRelations(Generation after_generation,
                                const std::function<Result<void>(RevisionRelations&)>& visit);
  /// Whether some revision that names `guid` among its prerequisites satisfies `is_it`; reads until
  /// it finds one.
  Result<bool> AnyNaming(const Guid& guid, const std::function<bool(const RevisionRow&)>& is_it);
  /// Those that declare a licence text, at the cost of those, with their files and no other
  /// relations; ascending by id.
  Result<void> ForEachWithLicence(const std::function<Result<void>(RevisionRelations&)>& visit);
  Result<std::optional<RevisionRelations>> Relations(RevisionId id);
  Result<std::vector<DeclaredFile>> Files(RevisionId id);
  Result<std::vector<protocol::DriverMetadata>> Drivers(RevisionId id);
  /// Keys of the files that a revision declares, each file once, ascending; a file the vendor gave
  /// no key for is not listed. Empty for all but the few revisions with needs_file_keys.
  Result<std::vector<FileKey>> FileKeys(RevisionId id);
  /// The payload of a revision and of everything it bundles, each file once.
  struct Payload {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
    std::uint64_t missing_files = 0;  ///< not held
    std::uint64_t missing_bytes = 0;
  };
  Result<Payload> PayloadOf(RevisionId id);
  Result<CatalogCounts> Counts();  ///< kept by commits: constant work
  /// Some alternative of each prerequisite clause and each bundle member is there? The revision
  /// and what is missing, at most `limit`.
  struct Dangling {
    protocol::UpdateId update;
    std::string what;
  };
  /// Of revisions that became visible above `after_generation`, at the cost of those (0: of all).
  Result<std::vector<Dangling>> FindDangling(int limit, Generation after_generation = 0);

  // Documents.
  struct DocumentInfo {
    DocumentForm form = DocumentForm::kPlain;
    std::uint64_t stored_bytes = 0;
    Sha256Digest sha256;  ///< of the decoded UTF-8 text
  };
  Result<DocumentInfo> Document(RevisionId id);
  /// The bytes as they came, in pieces of at most 1 MiB, each read in its own transaction.
  Result<void> CopyDocument(RevisionId id, Sink& sink);
  Result<Bytes> ReadDocument(RevisionId id);

  // For people.
  Result<UpdateText> Text(RevisionId id);
  Result<std::vector<UpdateSummary>> FindSummaries(const FindUpdates& query);
  Result<std::uint64_t> CountUpdates(const FindUpdates& query);  ///< distinct; limit unused
  Result<std::optional<UpdateSummary>> Summary(RevisionId id);
  Result<std::vector<CategoryRow>> Categories(CategoryType type);
  /// The same without titles and counts, which cost a look at every update; ascending.
  Result<std::vector<Guid>> CategoryGuids(CategoryType type);

  // For sync.
  /// Absolute URL at the vendor's content network, when the upstream told it.
  Result<std::optional<std::string>> FileUrl(const Sha1Digest& sha1);
  Result<std::optional<std::string>> AnchorValue(std::string_view kind, std::string_view filter);
  Result<Subscription> ReadSubscription();
  /// Nothing before the first sync.
  Result<std::optional<UpstreamRecord>> ReadUpstream();
  /// Those of `sorted` (ascending, distinct) that no published revision is. Many are compared with
  /// the catalogue in one pass: a million takes about a second.
  Result<std::vector<protocol::UpdateId>> Unknown(const std::vector<protocol::UpdateId>& sorted);

 private:
  Database& db_;  // must outlive
};

}  // namespace gapferry::mirror
