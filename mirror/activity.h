#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/guid.h"
#include "base/result.h"
#include "mirror/sqlite.h"
#include "mirror/state.h"
#include "protocol/reporting_messages.h"
#include "protocol/wusp_messages.h"

namespace gapferry::mirror {

/// The product's own numbers (MS-WSUSSS 3.1.1).
enum class UpdateState {
  kUnknown = 0,
  kNotApplicable = 1,
  kNotInstalled = 2,
  kDownloaded = 3,
  kInstalled = 4,
  kFailed = 5,
  kInstalledPendingReboot = 6,
};
std::string_view UpdateStateName(UpdateState state);  ///< "NotInstalled"

/// A computer of this mirror or of a server below it.
struct Computer {
  std::string id;      ///< as the client spells it (a GUID as a rule); compared without case
  Guid parent_server;  ///< zero: it talks to this mirror itself
  protocol::ComputerRollupDetails details;  ///< target_group_ids: of foreign computers only
  UtcTime registered_at;
  UtcTime last_contact;
  UtcTime last_sync_time = kNever;  ///< of the last completed scan
  std::int32_t last_sync_result = 0;
  UtcTime last_reported_status = kNever;
  UtcTime last_reported_reboot = kNever;
  UtcTime last_inventory = kNever;
  UtcTime effective_last_detection = kNever;
  /// Our generation at its last completed scan; 0: none, or a foreign computer.
  Generation scanned_generation = 0;
  std::int32_t rollup_number = 0;  ///< of foreign computers: the last number received
  bool has_status = false;         ///< an inventory (event 156 or a rollup) has come
  std::int64_t change_seq = 0;     ///< of the record
  std::int64_t status_seq = 0;     ///< highest of its update states
  std::int64_t full_seq = 0;  ///< raised when state rows vanished: deltas below need a full one
};

struct UpdateStatus {
  Guid update;
  UpdateState state = UpdateState::kUnknown;
  UtcTime last_change;
  std::int64_t change_seq = 0;
};

/// How often updates were installed, or failed to, on computers of one kind: cumulative for ever.
struct InstallActivity {
  Guid server;                 ///< zero: computers of this mirror itself
  protocol::ClientSummary os;  ///< only what names the kind; count and activity unused
  protocol::UpdateId update;
  std::int64_t success_total = 0;
  std::int64_t failure_total = 0;
  std::int64_t change_seq = 0;
};

struct DownstreamServer {
  Guid id;
  std::string name;
  Guid parent;  ///< zero: talks to this mirror itself
  std::string version;
  bool is_replica = false;
  UtcTime first_seen;
  UtcTime last_contact = kNever;
  UtcTime last_sync_time = kNever;
  UtcTime last_rollup_time = kNever;
  std::optional<protocol::ServerSummary> summary;
  std::vector<protocol::ClientSummary> clients;  ///< without activity
  /// The site behind a gap whose returns tell of it; zero: it reports over the network.
  Guid site;
  std::int64_t change_seq = 0;
};

struct ClientEvent {
  std::int64_t id = 0;
  std::string computer_id;
  UtcTime received_at;
  protocol::ReportingEvent event;
};

/// Counted over computers of this mirror and below.
struct ActivityCounts {
  std::uint64_t computers = 0;
  std::uint64_t computers_needing_updates = 0;
  std::uint64_t computers_with_errors = 0;
  std::uint64_t computers_up_to_date = 0;  ///< with a status and nothing needed or failed
  std::uint64_t updates_needed = 0;        ///< distinct
  std::uint64_t updates_with_errors = 0;
  std::uint64_t downstream_servers = 0;
};
struct UpdateCounts {
  Guid update;
  std::uint64_t needed = 0;
  std::uint64_t downloaded = 0;
  std::uint64_t installed = 0;
  std::uint64_t pending_reboot = 0;
  std::uint64_t failed = 0;
};

/// What one computer of `who` is, or all.
struct StatusChange {
  std::string computer_id;
  UpdateStatus status;
};

/// activity.db: computers, events, status. Written by serve (through ActivityWriter) and by imports
/// of returns; read by everybody. Nothing in it has a generation; `change_seq` is a counter over
/// all its records, for deltas. Functions that write use the transaction that is open, else one of
/// their own. Thread rule of its database.
class Activity {
 public:
  static Result<Activity> Open(const std::filesystem::path& path, const Clock& clock,
                               const DatabaseOptions& options);
  Activity(Activity&&) noexcept;
  Activity& operator=(Activity&&) noexcept;
  ~Activity();
  /// For modules of mirror/ with tables of their own in activity.db.
  Database& db();
  UtcTime Now() const;  ///< of the clock it was opened with

  // Clients of this mirror (MS-WUSP).
  Result<void> Register(std::string_view computer_id, const protocol::ComputerInfo& info,
                        std::string_view ip_address,
                        const std::vector<std::string>& requested_groups);
  /// A call of a computer that may never have registered; creates its record.
  Result<void> Contact(std::string_view computer_id, std::string_view ip_address);
  /// A scan has seen the catalogue of `generation` to its end; `synced_at`: when this mirror last
  /// completed its own sync (wusp: effective last detection time). Nothing is recorded of a
  /// computer that is not known.
  Result<void> ScanCompleted(std::string_view computer_id, Generation generation,
                             UtcTime synced_at);
  /// Stores events not seen before and derives status from them: 156 replaces the whole inventory
  /// (U needed, V installed, W pending reboot, g failed, h downloaded), 182 sets failed at once,
  /// 147 and 148 are the result of a scan, 183 and 182 count as install activity. Events of a
  /// computer that is not `computer_id` are refused (kUntrusted). Returns the number of new ones.
  Result<std::uint64_t> Report(std::string_view computer_id,
                               const std::vector<protocol::ReportingEvent>& events);

  // Reading.
  Result<std::optional<Computer>> Find(std::string_view computer_id);
  /// Computer::last_sync_time alone; nothing for a computer that is not known.
  Result<std::optional<UtcTime>> LastScan(std::string_view computer_id);
  /// Ascending by id; `after_seq`: those whose record changed since.
  Result<void> ForEachComputer(std::int64_t after_seq,
                               const std::function<Result<void>(const Computer&)>& visit);
  /// By id, or by full domain name without case; kNotFound.
  Result<Computer> FindByIdOrName(std::string_view text);
  /// Rows changed after `after_seq` (0: all), ascending by update.
  Result<std::vector<UpdateStatus>> StatusOf(std::string_view computer_id,
                                             std::int64_t after_seq = 0);
  /// How many updates are in each state on each computer, by the id as the client spells it.
  using StateCounts = std::map<UpdateState, std::uint64_t>;
  Result<std::map<std::string, StateCounts>> StateCountsByComputer();
  Result<std::vector<UpdateCounts>> CountsByUpdate();
  Result<UpdateCounts> CountsOf(const Guid& update);
  Result<std::vector<StatusChange>> ComputersOf(const Guid& update);
  Result<ActivityCounts> Counts();
  /// The same over the computers that talk to this mirror itself.
  Result<ActivityCounts> OwnCounts();
  Result<std::vector<ClientEvent>> Events(std::string_view computer_id, int limit);
  Result<std::int64_t> Sequence();  ///< highest change_seq given
  Result<std::vector<InstallActivity>> InstallActivities(std::int64_t after_seq = 0);
  /// The computers with `parent_server` (zero: our own) by kind, with counts and activity totals.
  Result<std::vector<protocol::ClientSummary>> ClientSummaries(const Guid& server);

  /// Forgets a computer with its status and events; it is answered Deleted until it registers
  /// again. kNotFound.
  Result<void> RemoveComputer(std::string_view computer_id);
  struct DeletedComputer {
    std::string id;
    UtcTime at;
    std::int64_t change_seq = 0;
  };
  Result<std::vector<DeletedComputer>> DeletedComputers(std::int64_t after_seq = 0);
  /// Events older than `before` go, at most `limit` rows; the number gone.
  Result<std::uint64_t> PruneEvents(UtcTime before, int limit);

  // Servers below (MS-WSUSSS).
  /// Authorization of a server: creates or renews its record. What the returns of a site tell of
  /// stays theirs: anybody can say a GUID.
  Result<void> ServerContact(const Guid& server, std::string_view name);
  Result<std::vector<DownstreamServer>> Servers();
  Result<std::optional<DownstreamServer>> FindServer(const Guid& server);

  // Rollup intake in one transaction; see RollupIntake. `self`: this mirror.
  Result<void> RollupServers(const protocol::RollupDownstreamServersRequest& request,
                             const Guid& self = {});
  Result<std::vector<protocol::ChangedComputer>> RollupComputers(
      const protocol::RollupComputersRequest& request, const Guid& self = {});
  Result<void> RollupStatus(const protocol::RollupComputerStatusRequest& request);
  /// The computers of `parent_server_id` and of servers below it whose number is another one.
  Result<std::vector<std::string>> OutOfSync(const protocol::GetOutOfSyncComputersRequest& request);
  /// Changes when the database is made anew; downstream servers then send everything.
  Result<Guid> RollupResetGuid();

  // Intake of a return (design.md section 5): state as it is, not a dialogue. Use one transaction.
  Result<void> PutServer(const DownstreamServer& server);
  Result<void> PutComputer(const Computer& computer);
  Result<void> PutStatus(std::string_view computer_id, bool replace_all,
                         const std::vector<UpdateStatus>& states);
  Result<void> PutInstallActivity(const InstallActivity& totals);  ///< totals replace totals

  struct Impl;  ///< known to the sources of mirror/ only

 private:
  explicit Activity(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The one writer of activity.db in serve: work of many threads is done in one transaction per
/// batch, and each is told after the commit. Work that fails is undone alone. Thread-safe.
class ActivityWriter {
 public:
  using Work = std::function<Result<void>(Activity&)>;
  using Done = std::function<void(Result<void>)>;

  static Result<std::unique_ptr<ActivityWriter>> Start(const std::filesystem::path& path,
                                                       const Clock& clock,
                                                       const DatabaseOptions& options);
  /// Finishes what was posted.
  ~ActivityWriter();
  /// `done` is called on the writer's thread after the commit (or the failure) of its batch.
  /// Fails with kBusy when more than 10,000 are waiting; `done` is not called then.
  Result<void> Post(Work work, Done done);
  /// Post and wait.
  Result<void> Run(Work work);

 private:
  struct Impl;
  explicit ActivityWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gapferry::mirror
