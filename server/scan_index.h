#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "mirror/content_store.h"
#include "mirror/intent.h"
#include "mirror/state.h"
#include "protocol/wusp_messages.h"
#include "server/catalog_index.h"
#include "server/scan_memo.h"

namespace gapferry::server {

/// The files that content/ holds, by SHA-1. Immutable; thread-safe.
class ContentHoldings {
 public:
  ContentHoldings(std::vector<mirror::ContentFile> files, std::int64_t sequence);
  const mirror::ContentFile* Find(const Sha1Digest& sha1) const;
  /// Held with the declared size and, where declared, SHA-256.
  bool Satisfies(const FileFacts256& declared) const;
  std::int64_t sequence() const { return sequence_; }
  std::size_t size() const { return files_.size(); }

 private:
  std::vector<mirror::ContentFile> files_;  // sorted by SHA-1
  std::int64_t sequence_;
};

/// An approval that was withdrawn, so that clients are told of the change.
struct EndedDeployment {
  Guid update;
  Guid group;
  mirror::Generation generation = 0;
};

struct AcceptedEula {
  Guid id;
  mirror::Generation generation = 0;
};

/// The groups that computers were put into: by id in lower case, ascending.
using Assignments = std::unordered_map<std::string, std::vector<Guid>>;

/// Intent as a scan needs it, read in one transaction together with `state`.
struct IntentFacts {
  mirror::PublishedState state;
  UtcTime synced_at = kNever;  ///< when the upstream's catalogue was last read as of `state`
  std::vector<mirror::TargetGroup> groups;
  std::vector<mirror::Deployment> deployments;  ///< live ones
  std::vector<EndedDeployment> ended;
  std::vector<Guid> declined;
  std::vector<AcceptedEula> accepted_eulas;
  std::shared_ptr<const Assignments> assignments;  ///< nullptr: none
  /// Commit times by generation, ascending.
  std::vector<std::pair<mirror::Generation, UtcTime>> commits;
};

struct ScanOptions {
  /// Lets clients evaluate top-level software that nobody approved (action PreDeploymentCheck), so
  /// that "needed" can be counted before the approval.
  bool evaluate_unapproved = true;
  bool express = false;  ///< express payloads are held too, so an update is complete with them only
};

/// How one revision is presented to the computers of one set of groups.
struct PlacedRevision {
  RevisionOrdinal revision = 0;
  protocol::DeploymentAction action = protocol::DeploymentAction::kEvaluate;
  std::uint32_t deployment = kNone;    ///< into IntentFacts::deployments; kNone: implied
  std::uint32_t availability = kNone;  ///< into Scope::availabilities, of approved installs
  mirror::Generation changed = 0;      ///< last change of deployment or leafness that is logged
};

/// Whether what an approved revision needs is there, and since when.
struct Availability {
  bool is_withheld = false;           ///< a file or a licence is missing, or a digest conflicts
  std::int64_t content_sequence = 0;  ///< of the holdings when its last file came
  mirror::Generation generation = 0;  ///< when its last part or licence came
};

/// The part of a scope that does not depend on actions: which revisions are in it, in which order
/// they are delivered, and the prerequisite clauses among them. An approval of a newest revision
/// leaves it as it is, so it is shared by indexes that follow each other and by groups. Immutable.
struct ScopeShape {
  // What it was made from: equal inputs over the same catalogue give the same shape.
  Bitmap seeds;                         ///< revisions that are there by themselves
  Bitmap declined;                      ///< updates
  std::vector<RevisionOrdinal> pinned;  ///< approved revisions that are not the newest, ascending
  std::shared_ptr<const ScopeShape> whole;  ///< of a category scan: what it is a part of

  /// Everything but drivers, what others depend on (non-leaves) first, then by id.
  std::vector<RevisionOrdinal> placed;
  std::vector<RevisionOrdinal> drivers;  ///< ascending
  RankedSet members;
  std::vector<std::uint32_t> position_of_rank;
  Csr<std::uint32_t> clause_postings;        ///< clause of this scope -> positions that carry it
  std::vector<std::uint32_t> clause_counts;  ///< by position
  Bitmap unconditional;                      ///< positions without clauses
  /// By update: into alternative_clauses, kNone when no clause names it.
  std::vector<std::uint32_t> alternative_of_update;
  Csr<std::uint32_t> alternative_clauses;  ///< the clauses of this scope that an update satisfies
  /// By the clauses that are satisfied: positions all of whose clauses are.
  std::shared_ptr<PositionsMemo<Bitmap>> deliverable = std::make_shared<PositionsMemo<Bitmap>>();

  bool IsMadeFrom(const ScopeShape& inputs) const {
    return seeds == inputs.seeds && declined == inputs.declined && pinned == inputs.pinned &&
           whole == inputs.whole;
  }
};

/// What the computers of one set of groups can see: revisions with their actions. Immutable;
/// thread-safe.
struct Scope {
  std::shared_ptr<const ScopeShape> shape;
  std::vector<PlacedRevision> placed;   ///< parallel to the shape's
  std::vector<PlacedRevision> drivers;  ///< ascending by revision
  std::vector<Availability> availabilities;
  // The last of what HasChanged looks at, over all placed revisions.
  mirror::Generation last_changed = 0;
  std::int64_t last_content_sequence = 0;
  UtcTime last_go_live = kNever;
  bool withholds = false;
  /// By what a computer was told: positions that have changed since, go-live times apart.
  std::shared_ptr<PositionsMemo<ToldUpTo>> changes = std::make_shared<PositionsMemo<ToldUpTo>>();
  /// Names groups, their ancestors and options: another stamp may mean other deployments.
  std::uint64_t stamp = 0;

  /// Position in `placed`, kNone when the revision is not in it.
  std::uint32_t PositionOf(RevisionOrdinal r) const {
    const std::uint32_t rank = shape->members.Rank(r);
    return rank == RankedSet::kAbsent ? kNone : shape->position_of_rank[rank];
  }
  /// The same in `drivers`.
  std::uint32_t DriverPositionOf(RevisionOrdinal r) const;
};

/// Up to where a client has been told changes; part of its cookie.
struct ScanAnchor {
  mirror::Generation generation = 0;
  std::int64_t content_sequence = 0;
  std::uint64_t scope_stamp = 0;
  UtcTime at;
  bool operator==(const ScanAnchor&) const = default;
};

struct SoftwareScan {
  std::span<const std::int32_t> installed;
  std::span<const std::int32_t> other;
  std::span<const Guid> filter_categories;
  bool two_groups_out_of_scope = false;
  std::optional<ScanAnchor> anchor;
  /// Of new updates in one answer. A client that lacks much is given a 16th of it (at most
  /// kMaxPage): Windows gives up after 200 answers, however large the catalogue is.
  std::size_t page_updates = 200;
  static constexpr std::size_t kMaxPage = 1000;
};

struct SoftwareScanAnswer {
  std::shared_ptr<const Scope> scope;  ///< what positions refer to
  std::vector<std::uint32_t> fresh;    ///< positions, one page of them
  bool more = false;                   ///< there are more than that
  std::vector<std::uint32_t> changed;  ///< positions
  std::vector<std::int32_t> out_of_scope;
  std::vector<std::int32_t> deployed_out_of_scope;
};

struct DriverScan {
  std::span<const std::int32_t> installed;
  std::span<const std::int32_t> cached_drivers;
  std::span<const protocol::Device> devices;
  std::span<const Guid> computer_ids;  ///< of the client's ComputerSpec, most specific first
  std::string_view feature_key;        ///< "AMD64.10.0"
  std::optional<ScanAnchor> anchor;
};

/// MS-WUSP 3.1.5.12: all printer drivers, whatever devices there are.
struct PrinterScan {
  std::span<const std::int32_t> installed;
  std::span<const std::int32_t> cached_drivers;
  std::optional<ScanAnchor> anchor;
};

struct DriverScanAnswer {
  std::shared_ptr<const Scope> scope;
  struct Match {
    std::uint32_t driver = 0;               ///< into Scope::drivers
    std::vector<std::string> hardware_ids;  ///< for which it is the best
  };
  std::vector<Match> fresh;
  std::vector<Match> changed;
  std::vector<std::int32_t> out_of_scope;
};

/// The immutable picture that scans are answered from: catalogue, intent and holdings of one
/// moment. Replaced whole when one of them changes. Thread-safe.
///
/// Which deployment wins for a computer: along the path from each of its groups to the root, the
/// nearest group with a live deployment of the update speaks for that path; between paths Block
/// wins over Uninstall, Uninstall over Install, Install over OptionalInstall, that over scanning
/// only; among equals the higher revision, then the earlier deadline, then the older deployment.
/// Declined updates and updates whose newest revision is expired are never in scope; software
/// revisions that are expired themselves neither. Install and OptionalInstall are presented as
/// PreDeploymentCheck while a payload of the update or of what it bundles is not held as declared,
/// a licence is not accepted, or a digest conflict is known. A client that knows the revision is
/// told when that changes.
class ScanIndex {
 public:
  /// `previous`: the index this one replaces; over the same catalogue its shapes are used on.
  static std::shared_ptr<const ScanIndex> Build(std::shared_ptr<const CatalogIndex> catalog,
                                                std::shared_ptr<const ContentHoldings> holdings,
                                                IntentFacts intent, ScanOptions options,
                                                UtcTime now, const ScanIndex* previous = nullptr);

  const CatalogIndex& catalog() const { return *catalog_; }
  const ContentHoldings& holdings() const { return *holdings_; }
  const std::shared_ptr<const CatalogIndex>& shared_catalog() const { return catalog_; }
  const std::shared_ptr<const ContentHoldings>& shared_holdings() const { return holdings_; }
  const IntentFacts& intent() const { return intent_; }
  /// When a deployment goes live that is not yet; the picture is then to be built again.
  std::optional<UtcTime> next_change() const { return next_change_; }

  /// The groups a computer was put into, Unassigned Computers when none.
  const std::vector<Guid>& GroupsOf(std::string_view computer_id) const;
  /// The groups of these names (without case), ascending; names that no group has count for
  /// nothing. Unassigned Computers when none is left.
  std::vector<Guid> GroupsNamed(const std::vector<std::string>& names) const;
  /// Groups, all ancestors and All Computers, each once.
  std::vector<Guid> WithAncestors(const std::vector<Guid>& groups) const;
  std::shared_ptr<const Scope> ScopeOf(const std::vector<Guid>& groups) const;

  SoftwareScanAnswer ScanSoftware(const std::vector<Guid>& groups, const SoftwareScan& scan) const;
  DriverScanAnswer ScanDrivers(const std::vector<Guid>& groups, const DriverScan& scan) const;
  DriverScanAnswer ScanPrinters(const std::vector<Guid>& groups, const PrinterScan& scan) const;

  /// The anchor of a client that was told everything of now.
  ScanAnchor AnchorOf(const Scope& scope, UtcTime now) const;
  /// What is sent of a placed revision. `with_auto_fields`: for client protocol 1.8 and later.
  protocol::Deployment Present(const PlacedRevision& placed, bool with_auto_fields) const;

  bool IsDeclined(UpdateOrdinal u) const { return declined_.size() > u && declined_.Test(u); }

 private:
  friend class ScopeBuilder;
  ScanIndex() = default;
  Availability AvailabilityOf(RevisionOrdinal r) const;
  Availability FindAvailability(RevisionOrdinal r) const;
  void AddIntent(UtcTime now);
  /// A shape made from the same as `inputs`, nullptr when none is kept.
  std::shared_ptr<const ScopeShape> FindShape(const ScopeShape& inputs) const;
  void KeepShape(std::shared_ptr<const ScopeShape> shape) const;
  std::shared_ptr<const Scope> FilteredScope(const std::vector<Guid>& groups,
                                             std::span<const Guid> categories) const;
  std::shared_ptr<const Scope> Cached(const std::vector<Guid>& key, bool filtered,
                                      const std::vector<Guid>& groups,
                                      std::span<const Guid> categories) const;
  Bitmap Satisfied(const ScopeShape& shape, std::span<const std::int32_t> installed) const;
  std::shared_ptr<const Bitmap> DeliverableTo(const ScopeShape& shape,
                                              std::span<const std::int32_t> installed) const;
  class ChangeTest;
  struct DriverMatches;
  /// Sorts matches into new, changed and out of scope.
  DriverScanAnswer Compare(DriverMatches matches, std::span<const std::int32_t> cached_drivers,
                           const std::optional<ScanAnchor>& anchor) const;
  bool HasChanged(const Scope& scope, const PlacedRevision& placed,
                  const std::optional<ScanAnchor>& anchor) const;
  UtcTime CommittedAt(mirror::Generation generation) const;

  std::shared_ptr<const CatalogIndex> catalog_;
  std::shared_ptr<const ContentHoldings> holdings_;
  IntentFacts intent_;
  ScanOptions options_;
  std::optional<UtcTime> next_change_;
  /// What AvailabilityOf found: the same as long as catalogue, holdings and licences are, so
  /// indexes that follow each other share it, and an approval looks for no files.
  struct AvailabilityMemo {
    std::vector<Availability> found;  // by revision
    Bitmap known;
  };
  std::shared_ptr<Guarded<AvailabilityMemo>> availability_;
  Bitmap declined_;                                      // by update
  std::vector<mirror::Generation> accepted_;             // by EULA; -1: not
  std::map<Guid, Guid> parents_;                         // group -> parent
  std::map<Guid, std::vector<std::uint32_t>> by_group_;  // group -> deployments, live now
  std::map<Guid, std::vector<std::uint32_t>> ended_;     // group -> ended deployments
  std::vector<Guid> unassigned_;
  struct CachedScope {
    std::shared_ptr<const Scope> scope;
    std::uint64_t used = 0;
  };
  struct Cache {
    std::map<std::vector<Guid>, CachedScope> scopes;
    std::set<std::vector<Guid>> in_work;                    // keys that a call is building
    std::vector<std::shared_ptr<const ScopeShape>> shapes;  // the last used at the end
    std::uint64_t clock = 0;
  };
  mutable Guarded<Cache> cache_;
  mutable std::condition_variable scope_built_;  // goes with cache_
};

}  // namespace gapferry::server
