#include "mirror/activity.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "mirror/activity_json.h"
#include "mirror/activity_rows.h"
#include "protocol/reporting_limits.h"

// Activity: opening, clients of this mirror, and taking over returns.

namespace gapferry::mirror {

std::string_view UpdateStateName(UpdateState state) {
  switch (state) {
    case UpdateState::kUnknown:
      return "Unknown";
    case UpdateState::kNotApplicable:
      return "NotApplicable";
    case UpdateState::kNotInstalled:
      return "NotInstalled";
    case UpdateState::kDownloaded:
      return "Downloaded";
    case UpdateState::kInstalled:
      return "Installed";
    case UpdateState::kFailed:
      return "Failed";
    case UpdateState::kInstalledPendingReboot:
      return "InstalledPendingReboot";
  }
  return "Unknown";
}

Activity::Activity(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Activity::Activity(Activity&&) noexcept = default;
Activity& Activity::operator=(Activity&&) noexcept = default;
Activity::~Activity() = default;
Database& Activity::db() { return impl_->db; }
UtcTime Activity::Now() const { return impl_->clock.Now(); }

Result<Activity> Activity::Open(const std::filesystem::path& path, const Clock& clock,
                                const DatabaseOptions& options) {
  DatabaseOptions own = options;
  own.create = true;
  TRY_ASSIGN(auto db, Database::Open(path, own));
  TRY(BringToCurrentSchema(db, ActivitySchema()));
  TRY_ASSIGN(const auto counter, db.QueryInt("SELECT sequence FROM activity_state"));
  if (!counter) {
    TRY(
        db.Run("INSERT OR IGNORE INTO activity_state (id, sequence, rollup_reset_guid) "
               "VALUES (1, 0, ?)",
               Guid::Random()));
  }
  return Activity(std::make_unique<Impl>(std::move(db), clock));
}

// ---- Clients -----------------------------------------------------------------------------------

namespace {

protocol::ComputerRollupDetails DetailsOf(const protocol::ComputerInfo& info) {
  protocol::ComputerRollupDetails d;
  d.full_domain_name = info.dns_name;
  d.os_major_version = info.os_major_version;
  d.os_minor_version = info.os_minor_version;
  d.os_build_number = info.os_build_number;
  d.os_service_pack_major = info.os_service_pack_major;
  d.os_service_pack_minor = info.os_service_pack_minor;
  d.os_locale = info.os_locale.value_or("");
  d.os_family = "Windows";
  d.os_description = info.os_description.value_or("");
  d.computer_make = info.manufacturer.value_or("");
  d.computer_model = info.model.value_or("");
  d.bios_version = info.bios_version.value_or("");
  d.bios_name = info.bios_name.value_or("");
  d.bios_release_date = info.bios_release_date;
  d.processor_architecture = info.processor_architecture.value_or("");
  d.suite_mask = info.suite_mask;
  d.old_product_type = info.old_product_type;
  d.new_product_type = info.new_product_type;
  d.system_metrics = info.system_metrics;
  d.client_version =
      fmt::format("{}.{}.{}.{}", info.client_version_major, info.client_version_minor,
                  info.client_version_build, info.client_version_qfe);
  return protocol::Fit(std::move(d));  // lengths that other servers accept
}

/// The record of a computer of this mirror, made when it is not there. One that was known below
/// another server and now talks to us is ours. `row` is 0 when it was not there.
Result<ComputerRow> OwnComputerRow(Database& db, std::string_view computer_id, UtcTime now) {
  constexpr std::size_t kMaxId = 256;
  if (computer_id.empty() || computer_id.size() > kMaxId) {
    return Fail(ErrorCode::kUsage,
                fmt::format("computer id '{}' has {} bytes, allowed 1 to {}",
                            EscapeForDisplay(computer_id), computer_id.size(), kMaxId));
  }
  TRY_ASSIGN(auto known, FindComputerRow(db, computer_id));
  if (known) {
    known->computer.parent_server = Guid{};
    return *std::move(known);
  }
  ComputerRow made;
  made.computer.id = computer_id;
  made.computer.registered_at = now;
  made.computer.details.bios_release_date = kNever;
  return made;
}

Result<Computer> OwnComputer(Database& db, std::string_view computer_id, UtcTime now) {
  TRY_ASSIGN(ComputerRow row, OwnComputerRow(db, computer_id, now));
  return std::move(row.computer);
}

}  // namespace

Result<void> Activity::Register(std::string_view computer_id, const protocol::ComputerInfo& info,
                                std::string_view ip_address,
                                const std::vector<std::string>& requested_groups) {
  return InWrite(db(), [&]() -> Result<void> {
    const UtcTime now = impl_->clock.Now();
    TRY_ASSIGN(Computer computer, OwnComputer(db(), computer_id, now));
    computer.details = DetailsOf(info);
    computer.details.ip_address = ip_address;
    computer.details.requested_target_group_names = requested_groups;
    computer.registered_at = now;
    computer.last_contact = now;
    TRY(PutComputerRow(db(), computer));
    return db().Run("DELETE FROM deleted_computer WHERE computer_id = ?", computer_id);
  });
}

Result<void> Activity::Contact(std::string_view computer_id, std::string_view ip_address) {
  constexpr auto kFineEnough = std::chrono::seconds(60);
  const UtcTime now = impl_->clock.Now();
  TRY_ASSIGN(const auto known, Find(computer_id));
  if (known && known->parent_server.IsZero() && known->details.ip_address == ip_address &&
      known->last_contact <= now && now < known->last_contact + kFineEnough) {
    return {};
  }
  return InWrite(db(), [&]() -> Result<void> {
    TRY_ASSIGN(Computer computer, OwnComputer(db(), computer_id, now));
    computer.last_contact = now;
    computer.details.ip_address = ip_address;
    TRY(PutComputerRow(db(), computer));
    return {};
  });
}

Result<void> Activity::ScanCompleted(std::string_view computer_id, Generation generation,
                                     UtcTime synced_at) {
  return InWrite(db(), [&]() -> Result<void> {
    const UtcTime now = impl_->clock.Now();
    TRY_ASSIGN(ComputerRow row, OwnComputerRow(db(), computer_id, now));
    if (row.row == 0) return {};  // removed meanwhile: a scan does not bring it back
    Computer& computer = row.computer;
    computer.last_contact = now;
    computer.last_sync_time = now;
    computer.last_sync_result = 1;
    computer.scanned_generation = generation;
    computer.effective_last_detection = synced_at;
    TRY(PutComputerRow(db(), computer));
    return {};
  });
}

// ---- Events ------------------------------------------------------------------------------------

namespace {

// wusp.md 10.1
constexpr std::int32_t kScanSucceeded = 147;
constexpr std::int32_t kScanFailed = 148;
constexpr std::int32_t kClientStatus = 156;
constexpr std::int32_t kInstallFailed = 182;
constexpr std::int32_t kInstallSucceeded = 183;
constexpr std::int32_t kRebootCompleted = 202;

/// U=guid;guid and so on; keys are case-sensitive. Later letters win, as they say more.
Result<std::vector<UpdateStatus>> InventoryOf(const protocol::ReportingEvent& event, UtcTime time) {
  static constexpr std::pair<char, UpdateState> kLists[] = {
      {'U', UpdateState::kNotInstalled},
      {'h', UpdateState::kDownloaded},
      {'g', UpdateState::kFailed},
      {'V', UpdateState::kInstalled},
      {'W', UpdateState::kInstalledPendingReboot}};
  std::vector<UpdateStatus> states;
  for (const auto& [letter, state] : kLists) {
    for (const std::string& item : event.misc_data) {
      if (item.size() < 2 || item[0] != letter || item[1] != '=') continue;
      for (const auto text : Split(std::string_view(item).substr(2), ';')) {
        if (text.empty()) continue;
        TRY_ASSIGN(const Guid update, Guid::Parse(TrimAscii(text)), "event 156");
        states.push_back({update, state, time, 0});
      }
    }
  }
  return states;
}

class EventTaker {
 public:
  EventTaker(Database& db, ComputerRow computer, UtcTime now)
      : db_(db), row_(std::move(computer)), now_(now) {}

  Result<void> Take(const protocol::ReportingEvent& event) {
    const UtcTime time = std::min(event.time_at_target, now_);  // no state changes in the future
    switch (event.event_id) {
      case kScanSucceeded:
      case kScanFailed:
        row_.computer.last_sync_time = time;
        row_.computer.last_sync_result = event.event_id == kScanSucceeded ? 1 : 2;
        return {};
      case kClientStatus:
        return TakeInventory(event, time);
      case kInstallFailed:
        TRY(CountInstall(event.update, 0, 1));
        return SetFailed(event.update, time);
      case kInstallSucceeded:
        return CountInstall(event.update, 1, 0);
      case kRebootCompleted:
        row_.computer.last_reported_reboot = time;
        return {};
      default:
        return {};
    }
  }

  Result<void> Finish() {
    row_.computer.last_contact = now_;
    TRY(PutComputerRow(db_, row_.computer));
    return {};
  }

 private:
  Result<void> TakeInventory(const protocol::ReportingEvent& event, UtcTime time) {
    auto states = InventoryOf(event, time);
    // A malformed list is the client's fault: the event is kept, its status is not believed.
    if (!states) return {};
    row_.computer.has_status = true;
    row_.computer.last_reported_status = now_;
    row_.computer.last_inventory = time;
    return ReplaceStatus(db_, row_.row, *states);
  }

  Result<void> SetFailed(const protocol::UpdateId& update, UtcTime time) {
    if (update.guid.IsZero()) return {};
    return PutStatusRows(db_, row_.row, {{update.guid, UpdateState::kFailed, time, 0}},
                         SameState::kKeepsTime);
  }

  Result<void> CountInstall(const protocol::UpdateId& update, int success, int failure) {
    if (update.guid.IsZero()) return {};
    return AddInstallActivity(db_, Guid{}, OsKey(row_.computer.details), update, success, failure);
  }

  Database& db_;
  ComputerRow row_;
  UtcTime now_;
};

}  // namespace

Result<std::uint64_t> Activity::Report(std::string_view computer_id,
                                       const std::vector<protocol::ReportingEvent>& events) {
  for (const auto& event : events) {
    if (!EqualsIgnoreCase(event.target_sid, computer_id)) {
      return Fail(ErrorCode::kUntrusted, "foreign-event",
                  fmt::format("event {} is of computer '{}', reported by '{}'",
                              event.event_instance_id.ToString(),
                              EscapeForDisplay(event.target_sid), EscapeForDisplay(computer_id)));
    }
  }
  return InWrite(db(), [&]() -> Result<std::uint64_t> {
    const UtcTime now = impl_->clock.Now();
    TRY_ASSIGN(ComputerRow computer, OwnComputerRow(db(), computer_id, now));
    if (computer.row == 0) {
      TRY_ASSIGN(computer.row, PutComputerRow(db(), computer.computer));
    }
    EventTaker taker(db(), std::move(computer), now);
    TRY_ASSIGN(auto put, db().Prepare("INSERT OR IGNORE INTO event (instance_id, computer_id, "
                                      "received_at, event_id, body) VALUES (?, ?, ?, ?, ?)"));
    std::uint64_t fresh = 0;
    for (const auto& event : events) {
      TRY(put.Run(event.event_instance_id, computer_id, now, event.event_id, WriteEvent(event)));
      if (db().ChangedRows() == 0) continue;
      ++fresh;
      TRY(taker.Take(event));
    }
    TRY(taker.Finish());
    return fresh;
  });
}

Result<std::uint64_t> Activity::PruneEvents(UtcTime before, int limit) {
  TRY(
      db().Run("DELETE FROM event WHERE id IN (SELECT id FROM event WHERE received_at < ? "
               "ORDER BY received_at LIMIT ?)",
               before, limit));
  return static_cast<std::uint64_t>(db().ChangedRows());
}

// ---- Removal -----------------------------------------------------------------------------------

Result<void> Activity::RemoveComputer(std::string_view computer_id) {
  return InWrite(db(), [&]() -> Result<void> {
    TRY(db().Run("DELETE FROM computer WHERE computer_id = ?", computer_id));
    if (db().ChangedRows() == 0) {
      return Fail(ErrorCode::kNotFound, "no-computer",
                  fmt::format("computer '{}' is not known", EscapeForDisplay(computer_id)));
    }
    TRY(db().Run("DELETE FROM event WHERE computer_id = ?", computer_id));
    TRY_ASSIGN(const std::int64_t sequence, NextSequence(db()));
    return db().Run(
        "INSERT INTO deleted_computer (computer_id, deleted_at, change_seq) "
        "VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET deleted_at = excluded.deleted_at, "
        "change_seq = excluded.change_seq",
        computer_id, impl_->clock.Now(), sequence);
  });
}

// ---- Taking over returns -----------------------------------------------------------------------

Result<void> Activity::PutServer(const DownstreamServer& server) {
  return InWrite(db(), [&]() -> Result<void> {
    TRY_ASSIGN(const auto known, FindServerRow(db(), server.id));
    DownstreamServer wanted = server;
    if (known) wanted.first_seen = known->first_seen;
    const auto text = [](const DownstreamServer& s) {
      return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", s.name, s.parent.ToString(), s.version,
                         s.is_replica, s.last_contact.ticks, s.last_sync_time.ticks,
                         s.last_rollup_time.ticks, s.summary ? WriteSummary(*s.summary) : "",
                         WriteClients(s.clients), s.site.ToString());
    };
    if (known && text(*known) == text(wanted)) return {};
    return PutServerRow(db(), wanted);
  });
}

Result<void> Activity::PutComputer(const Computer& computer) {
  return InWrite(db(), [&]() -> Result<void> {
    TRY_ASSIGN(const auto known, FindComputerRow(db(), computer.id));
    const auto text = [](const Computer& c) {
      return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", c.parent_server.ToString(),
                         WriteDetails(c.details), c.registered_at.ticks, c.last_contact.ticks,
                         c.last_sync_time.ticks, c.last_sync_result, c.last_reported_status.ticks,
                         c.last_reported_reboot.ticks, c.last_inventory.ticks,
                         c.effective_last_detection.ticks, c.scanned_generation, c.rollup_number,
                         c.has_status);
    };
    if (known && text(known->computer) == text(computer)) return {};
    TRY(PutComputerRow(db(), computer));
    return {};
  });
}

Result<void> Activity::PutStatus(std::string_view computer_id, bool replace_all,
                                 const std::vector<UpdateStatus>& states) {
  return InWrite(db(), [&]() -> Result<void> {
    TRY_ASSIGN(const auto known, FindComputerRow(db(), computer_id));
    if (!known) {
      return Fail(ErrorCode::kNotFound, "no-computer",
                  fmt::format("computer '{}' is not known", EscapeForDisplay(computer_id)));
    }
    if (replace_all) return ReplaceStatus(db(), known->row, states, SameState::kTakesTime);
    return PutStatusRows(db(), known->row, states, SameState::kTakesTime);
  });
}

Result<void> Activity::PutInstallActivity(const InstallActivity& totals) {
  return InWrite(db(), [&]() -> Result<void> {
    TRY_ASSIGN(const std::int64_t sequence, NextSequence(db()));
    return db().Run(
        "INSERT INTO install_activity (server, os_key, update_guid, update_revision, "
        "success_total, failure_total, change_seq) VALUES (?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET success_total = excluded.success_total, "
        "failure_total = excluded.failure_total, change_seq = excluded.change_seq "
        "WHERE success_total <> excluded.success_total OR failure_total <> excluded.failure_total",
        totals.server, OsKey(totals.os), totals.update.guid, totals.update.revision,
        totals.success_total, totals.failure_total, sequence);
  });
}

}  // namespace gapferry::mirror
