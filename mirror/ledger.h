#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "mirror/audit.h"
#include "mirror/site_settings.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"

namespace gapferry::mirror {

/// A state of some mirror's history with the digest of what it holds.
struct KnownState {
  StateName name;
  Sha256Digest state_digest;
  bool operator==(const KnownState&) const = default;
};

/// A destination of bundles, on the connected side.
struct Site {
  Guid guid;
  std::string stream;  ///< of our bundles for it: 1 to 40 of [a-z0-9-]
  std::string name;
  Bytes card;  ///< as it was added
  UtcTime added_at;
  std::uint64_t last_sequence = 0;
  Sha256Digest last_manifest;              ///< zero: none signed yet
  std::optional<KnownState> acknowledged;  ///< in our history; nullopt: no receipt yet
  std::uint64_t acknowledged_sequence = 0;
  std::optional<UtcTime> acknowledged_at;
  std::optional<Guid> site_epoch;
  std::uint64_t applied_return = 0;
  std::optional<UtcTime> last_return_at;
  std::string diverged;  ///< why deltas stopped; empty while all is well
  SiteSettings settings;
  std::optional<UtcTime> forgotten_at;  ///< what was written before does not count as received
};

/// A manifest has room for so many recipients.
inline constexpr std::size_t kMaxGroupSites = 256;

/// Several sites that are sent the same bundles, in a stream of their own.
struct SiteGroup {
  Guid guid;
  std::string stream;
  std::string name;
  std::uint64_t last_sequence = 0;
  Sha256Digest last_manifest;  ///< zero: none signed yet
  std::vector<Guid> members;   ///< ascending
};

/// For whom a bundle is: one site, or the members of a group.
struct Destination {
  Guid guid;  ///< of the site or group: the owner of the stream
  std::string stream;
  std::string name;
  bool is_group = false;
  std::uint64_t last_sequence = 0;
  Sha256Digest last_manifest;
  std::vector<Site> recipients;  ///< ascending by GUID, not empty
};

enum class BundleState {
  kReserving = 0,  ///< only while Reserve works, and after one that was killed: stands for nothing
  kReserved = 1,
  kWritten = 2,
  kSigned = 3,
  kHandedOver = 4,
  kAcknowledged = 5,
  kVoid = 6,
};
std::string_view BundleStateName(BundleState state);

/// One number of a stream and what it stands for; never used for another plan.
struct BundleOut {
  Guid site;                     ///< owner of the stream: a site or a group
  std::vector<Guid> recipients;  ///< for Reserve; empty when read
  std::uint64_t sequence = 0;
  BundleState state = BundleState::kReserved;
  bool full = false;
  KnownState base;  ///< generation 0: nothing
  KnownState target;
  Sha256Digest plan_digest;
  std::string plan;  ///< JSON of the exporter
  std::optional<Sha256Digest> manifest;
  std::string path;
  std::uint64_t bytes = 0;
  UtcTime reserved_at;
  std::optional<UtcTime> finished_at;
};

/// A bundle that was written for a site, in its own stream or in one of its groups.
struct SentBundle {
  Guid owner;  ///< of the stream
  std::uint64_t sequence = 0;
  KnownState base;
  KnownState target;
  UtcTime finished_at;
  bool acknowledged = false;  ///< by this site
};

/// A content file that a bundle carries.
struct PinnedFile {
  Sha1Digest sha1;
  Sha256Digest sha256;
  std::uint64_t size_bytes = 0;
  std::string extension;
  bool operator==(const PinnedFile&) const = default;
};

/// A bundle that was imported, on the disconnected side.
struct BundleIn {
  Guid sender;
  std::string stream;
  std::uint64_t sequence = 0;
  Sha256Digest manifest;
  bool full = false;
  KnownState target;  ///< in the sender's history
  Generation local_generation = 0;
  std::optional<UtcTime> upstream_sync_at;
  std::uint64_t applied_return = 0;
  bool detailed = false;
  UtcTime imported_at;
};

struct ReturnOut {
  Guid recipient;
  std::uint64_t number = 0;
  bool written = false;
  std::string level;
  Sha256Digest sha256;
  std::string path;
  UtcTime created_at;
};

/// Why a site keeps a file out that a bundle brought.
enum class WithheldWhy {
  kRejected,  ///< its scanner said no
  kCrashed,   ///< its scanner crashed, which counts as no
  kTimedOut,  ///< its scanner did not end in time, which counts as no
};
std::string_view WithheldWhyName(WithheldWhy why);
std::optional<WithheldWhy> ParseWithheldWhy(std::string_view name);

/// What a return says about bundles and files, once it was read and trusted.
struct ReturnEffect {
  Guid site;
  std::uint64_t number = 0;
  Sha256Digest sha256;
  Guid site_epoch;
  struct Receipt {
    std::string stream;
    std::uint64_t sequence = 0;
    Sha256Digest manifest;
    KnownState target;
    bool brought_files = true;  ///< else nothing is believed of what that bundle carried
  };
  std::vector<Receipt> receipts;  ///< the last is where the site stands
  struct Request {
    Sha1Digest sha1;
    bool asked = false;  ///< by a person or a server below, whatever the approvals there need
  };
  std::vector<Request> requests;
  std::vector<Sha1Digest> removed;
  /// Blocks of 64 KiB that could not be read: `count` of them from `block` on, counted from 0.
  struct Block {
    std::string stream;
    std::uint64_t sequence = 0;
    std::uint32_t volume = 0;
    std::uint64_t block = 0;
    std::uint64_t count = 1;
    auto operator<=>(const Block&) const = default;
  };
  std::vector<Block> blocks;
  /// A bundle whose files the site wants once more; sequence 0: everything, from nothing.
  struct Resend {
    std::string stream;
    std::uint64_t sequence = 0;
    auto operator<=>(const Resend&) const = default;
  };
  std::vector<Resend> resends;
  /// An update that the site does not offer, whatever is approved above.
  struct Blocked {
    Guid update;
    UtcTime since;
    std::string reason;  ///< for people; empty unless the level says more than receipts
  };
  std::vector<Blocked> blocked;
  /// A file that came and is in quarantine there: not asked for, not to be sent again.
  struct Withheld {
    Sha1Digest sha1;
    std::uint64_t size_bytes = 0;
    WithheldWhy why = WithheldWhy::kRejected;
  };
  std::vector<Withheld> withheld;
};

/// What a typed receipt code says, once its MAC was checked.
struct CodeEffect {
  Guid site;
  ReturnEffect::Receipt receipt;  ///< of the bundle it names; zero digest: its state is another
  std::uint16_t epoch = 0;        ///< hint of the site's epoch
  std::uint32_t state = 0;        ///< first bits of the state digest there
  bool files_are_missing = false;
  std::function<std::uint16_t(const Guid& epoch)> hint_of;
};

/// Sites, groups of sites, bundles, receipts and returns in catalog.db. What a site has is only
/// what its receipts say: writing a bundle changes no belief. Each writing function is one
/// transaction unless it says otherwise. Thread rule of its database.
class Ledger {
 public:
  explicit Ledger(Database& catalog) : db_(catalog) {}

  // Sites.
  /// Fails with kUsage (reason "site-known") when the GUID is there with another card; the same
  /// card again changes nothing. The stream is made from the name and unique. A site that was
  /// removed comes back with its stream and numbers, and nothing is believed of it. Audited.
  Result<Site> AddSite(const Guid& guid, std::string_view name, ByteView card, UtcTime now,
                       std::string_view actor);
  Result<std::vector<Site>> Sites();
  /// By stream, name (without case) or GUID; kNotFound lists the sites there are.
  Result<Site> FindSite(std::string_view text);
  Result<std::optional<Site>> SiteByGuid(const Guid& guid);
  Result<void> SetSettings(const Guid& site, const SiteSettings& settings, UtcTime now,
                           std::string_view actor);
  /// Nothing is sent to it any more, its returns are refused, it leaves its groups; its unfinished
  /// bundle is given up. Several short transactions. Audited.
  Result<void> RemoveSite(const Site& site, UtcTime now, std::string_view actor);

  // Groups of sites.
  /// Adds members, and the group when there is none of that name. Fails with kUsage (reason
  /// "name-taken") when a site has the name. Audited.
  Result<SiteGroup> AddToGroup(std::string_view name, const std::vector<Site>& members, UtcTime now,
                               std::string_view actor);
  Result<std::vector<SiteGroup>> Groups();  ///< by stream
  /// By stream, name (without case) or GUID; kNotFound lists the groups there are.
  Result<SiteGroup> FindGroup(std::string_view text);
  /// The number of members that left. With no `members` the group itself goes; its numbers are kept
  /// for one of the same name. Audited.
  Result<std::uint64_t> RemoveFromGroup(const SiteGroup& group, const std::vector<Site>& members,
                                        UtcTime now, std::string_view actor);
  /// A site or a group, by stream or GUID, else by name (without case). kNotFound lists both;
  /// kUsage (reason "group-empty").
  Result<Destination> FindDestination(std::string_view text);
  /// The site or group whose bundles are called so; removed ones included.
  Result<std::optional<Guid>> StreamOwner(std::string_view stream);

  // Bundles going out.
  /// Takes the next number of the stream for `bundle` (whose sequence is filled in) and pins its
  /// files and its intent object. Many short transactions; nothing of it counts before the last
  /// one, and what a killed one left is removed by the next.
  Result<BundleOut> Reserve(BundleOut bundle, const std::vector<PinnedFile>& pins,
                            ByteView intent_object);
  Result<std::optional<BundleOut>> Unfinished(const Guid& site);
  Result<std::optional<BundleOut>> FindBundle(const Guid& site, std::uint64_t sequence);
  Result<std::vector<BundleOut>> Bundles(const Guid& site);
  Result<std::vector<PinnedFile>> Pins(const Guid& site, std::uint64_t sequence);
  Result<void> CopyIntentObject(const Guid& site, std::uint64_t sequence, Sink& sink);
  /// Written, read back and signed. Audited.
  Result<void> MarkSigned(const BundleOut& bundle, const Sha256Digest& manifest,
                          std::string_view path, std::uint64_t bytes, UtcTime now,
                          const AuditEntry& audit);
  /// Gives an unfinished or unacknowledged number up. kNotFound, kUsage (already acknowledged).
  Result<void> Abandon(const Guid& site, std::uint64_t sequence, UtcTime now,
                       std::string_view actor);
  /// Numbers given up since (not including) `sequence`.
  Result<std::vector<std::uint64_t>> VoidSince(const Guid& site, std::uint64_t sequence);
  bool IsPinned(const Sha1Digest& sha1);  ///< by an unfinished bundle

  // What a site has.
  Result<std::set<Sha1Digest>> Believed(const Guid& site);
  /// What the last return of the site asked for, ascending.
  Result<std::vector<ReturnEffect::Request>> Requested(const Guid& site);
  /// No file counts as held by it any more, whatever was written so far. Several short
  /// transactions. Audited.
  Result<void> ForgetContent(const Guid& site, UtcTime now, std::string_view actor);
  /// Signed bundles for the site, in the order in which they lead on; void ones left out.
  Result<std::vector<SentBundle>> Sent(const Guid& site);
  /// The files that a site must have been given when it has reached the target of `sent[behind -
  /// 1]`, whichever of the bundles before were lost: whoever passed a target did so by one of the
  /// bundles that lead across it. What receipts or `forgotten_at` speak of is left to Believed.
  Result<std::set<Sha1Digest>> Implied(const Site& site, const std::vector<SentBundle>& sent,
                                       std::size_t behind);

  // Requests of this mirror to whoever sends it bundles.
  /// Bundles whose files are wanted once more; sequence 0: everything.
  Result<std::vector<ReturnEffect::Resend>> ResendsWanted();
  /// Audited.
  Result<void> AskForResend(const ReturnEffect::Resend& resend, UtcTime now,
                            std::string_view actor);
  /// Those that were told in return `number` to `recipient`, or before: it has applied that.
  Result<void> DropResends(const Guid& recipient, std::uint64_t number);

  // Bundles coming in; RecordImport belongs into the import's commit.
  Result<void> RecordImport(const BundleIn& bundle);
  Result<std::optional<BundleIn>> LastImport();
  Result<std::optional<BundleIn>> LastImport(const Guid& sender, std::string_view stream);
  Result<std::optional<BundleIn>> FindImport(const Sha256Digest& manifest);
  /// Newest first.
  Result<std::vector<BundleIn>> Imports(int limit);
  /// When the sender had last synced with its upstream, at the newest import whose local generation
  /// is not above `generation`: what a client that scanned this generation has evaluated.
  Result<std::optional<UtcTime>> UpstreamSyncAt(Generation generation);
  /// The same of the last bundle imported up to `time`: for computers of servers below, which tell
  /// a time and no generation.
  Result<std::optional<UtcTime>> UpstreamSyncBefore(UtcTime time);

  // Returns going out.
  /// Above all that were written here and all that the recipient says it has applied: this mirror
  /// may have been put back to an older day since.
  Result<std::uint64_t> NextReturn(const Guid& recipient);
  Result<std::optional<ReturnOut>> FindReturn(const Guid& recipient, std::uint64_t number);
  Result<void> ReserveReturn(const ReturnOut& out);
  Result<std::optional<ReturnOut>> UnfinishedReturn(const Guid& recipient);
  Result<std::optional<ReturnOut>> LastReturn(const Guid& recipient);  ///< written ones
  Result<void> MarkReturnWritten(const ReturnOut& out, const AuditEntry& audit, UtcTime now);
  Result<void> VoidReturn(const Guid& recipient, std::uint64_t number);

  // Returns coming in.
  /// What a return did to the ledger.
  struct Applied {
    std::optional<KnownState> acknowledged;  ///< where the next delta starts
    std::uint64_t sequence = 0;
    bool restored = false;  ///< the site's epoch changed: it was restored or made anew
    std::string diverged;   ///< why deltas stop; empty otherwise
    std::uint64_t believed = 0;
    std::uint64_t requested = 0;
  };
  /// `state_at` gives our state of a name, nullopt when the name is not of our history.
  using StateLookup = std::function<Result<std::optional<KnownState>>(const StateName& name)>;
  /// Whether this very return was applied before.
  Result<bool> IsReturnApplied(const Guid& site, const Sha256Digest& sha256);
  /// Whether a return of that epoch of the site was applied before.
  Result<bool> HadReturnOf(const Guid& site, const Guid& site_epoch);
  Result<Applied> ApplyReturn(const ReturnEffect& effect, const StateLookup& state_at, UtcTime now,
                              std::string_view actor);
  /// How many reviewers must have signed a site's return, and whose signature counts.
  struct Review {
    unsigned required = 0;
    std::vector<Bytes> cards;  ///< ascending by GUID
  };
  Result<Review> ReviewOf(const Guid& site);
  /// Replaces it. Audited.
  Result<void> SetReview(const Guid& site, unsigned required,
                         const std::vector<std::pair<Guid, Bytes>>& cards, UtcTime now,
                         std::string_view actor);
  struct CodeApplied {
    bool is_known = false;  ///< this very code was applied before
    bool is_late = false;   ///< older than what is known, or of an epoch that the site has left
    Applied applied;        ///< neither of the two
  };
  /// Counts as a return with one receipt would; one that is known or late changes nothing. A new
  /// epoch means that the site was restored: belief ends, and its returns are counted anew.
  Result<CodeApplied> ApplyCode(const CodeEffect& effect, const StateLookup& state_at, UtcTime now,
                                std::string_view actor);
  /// The hint of the epoch that the last code applied for the site named.
  Result<std::optional<std::uint16_t>> LastCodeEpoch(const Guid& site);
  // What the last return of a site said, in the order of the format.
  Result<std::vector<ReturnEffect::Block>> Damage(const Guid& site);
  Result<std::vector<ReturnEffect::Blocked>> BlockedAt(const Guid& site);
  Result<std::vector<ReturnEffect::Withheld>> WithheldAt(const Guid& site);

 private:
  Result<std::string> FreeStream(std::string_view name);
  Result<void> DropReserving(const Guid& owner);
  Result<std::uint64_t> BeginReserving(const BundleOut& bundle);
  Result<void> ApplyReceipts(const ReturnEffect& effect, const StateLookup& state_at, UtcTime now,
                             Applied& applied);
  Result<void> ForgetState(const Guid& site);
  Result<void> ApplyRequests(const ReturnEffect& effect, Applied& applied);
  Result<void> ApplyReports(const ReturnEffect& effect);
  Result<void> Acknowledge(const Guid& site, const ReturnEffect::Receipt& receipt,
                           const Applied& applied);
  Result<bool> IsOldEpoch(const CodeEffect& effect, const Site& site);
  Database& db_;  // must outlive
};

}  // namespace gapferry::mirror
