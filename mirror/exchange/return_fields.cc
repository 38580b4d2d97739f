#include "mirror/exchange/return_fields.h"

#include <algorithm>
#include <array>
#include <limits>

namespace gapferry::mirror::exchange {
namespace {

constexpr std::size_t kMaxIdBytes = 256;
constexpr std::size_t kMaxNameBytes = 256;
constexpr std::size_t kMaxGroups = 100;
constexpr std::size_t kMaxClients = 500;
constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

std::int32_t Int32(JsonFields& fields, std::string_view key) {
  return static_cast<std::int32_t>(fields.Integer(key, -kMaxInt32 - 1, kMaxInt32));
}

/// The numbers of a server, in the order of the protocol.
struct SummaryField {
  const char* name;
  std::int32_t protocol::ServerSummary::*member;
};
constexpr std::array<SummaryField, 18> kSummary = {{
    {"update_count", &protocol::ServerSummary::update_count},
    {"declined", &protocol::ServerSummary::declined_update_count},
    {"approved", &protocol::ServerSummary::approved_update_count},
    {"not_approved", &protocol::ServerSummary::not_approved_update_count},
    {"stale_approvals", &protocol::ServerSummary::updates_with_stale_update_approvals_count},
    {"expired", &protocol::ServerSummary::expired_update_count},
    {"critical_not_approved",
     &protocol::ServerSummary::critical_or_security_updates_not_approved_for_install_count},
    {"infrastructure_not_approved",
     &protocol::ServerSummary::wsus_infrastructure_updates_not_approved_for_install_count},
    {"with_client_errors", &protocol::ServerSummary::updates_with_client_errors_count},
    {"with_server_errors", &protocol::ServerSummary::updates_with_server_errors_count},
    {"needing_files", &protocol::ServerSummary::updates_needing_files_count},
    {"needed_by_computers", &protocol::ServerSummary::updates_needed_by_computers_count},
    {"up_to_date", &protocol::ServerSummary::updates_up_to_date_count},
    {"groups", &protocol::ServerSummary::custom_computer_target_group_count},
    {"computers", &protocol::ServerSummary::computer_target_count},
    {"computers_needing", &protocol::ServerSummary::computer_targets_needing_updates_count},
    {"computers_with_errors", &protocol::ServerSummary::computer_targets_with_update_errors_count},
    {"computers_up_to_date", &protocol::ServerSummary::computers_up_to_date_count},
}};

/// What names a kind of computer.
struct ClientField {
  const char* name;
  std::int32_t protocol::ClientSummary::*member;
};
constexpr std::array<ClientField, 9> kClient = {{
    {"os_major", &protocol::ClientSummary::os_major_version},
    {"os_minor", &protocol::ClientSummary::os_minor_version},
    {"os_build", &protocol::ClientSummary::os_build_number},
    {"sp_major", &protocol::ClientSummary::os_service_pack_major},
    {"sp_minor", &protocol::ClientSummary::os_service_pack_minor},
    {"suite_mask", &protocol::ClientSummary::suite_mask},
    {"old_product_type", &protocol::ClientSummary::old_product_type},
    {"new_product_type", &protocol::ClientSummary::new_product_type},
    {"system_metrics", &protocol::ClientSummary::system_metrics},
}};

JsonValue::Object EncodeKind(const protocol::ClientSummary& kind) {
  JsonValue::Object members;
  for (const auto& field : kClient) {
    members[field.name] = static_cast<std::int64_t>(kind.*field.member);
  }
  members["architecture"] = ToAscii(kind.processor_architecture, 50);
  members["locale"] = ToAscii(kind.os_locale, 50);
  return members;
}

protocol::ClientSummary ReadKind(JsonFields& fields) {
  protocol::ClientSummary kind;
  for (const auto& field : kClient) kind.*field.member = Int32(fields, field.name);
  kind.processor_architecture = fields.AsciiText("architecture", 50);
  kind.os_locale = fields.AsciiText("locale", 50);
  return kind;
}

/// Whole numbers of ComputerRollupDetails.
struct DetailField {
  const char* name;
  std::int32_t protocol::ComputerRollupDetails::*member;
};
constexpr std::array<DetailField, 9> kDetails = {{
    {"os_major", &protocol::ComputerRollupDetails::os_major_version},
    {"os_minor", &protocol::ComputerRollupDetails::os_minor_version},
    {"os_build", &protocol::ComputerRollupDetails::os_build_number},
    {"sp_major", &protocol::ComputerRollupDetails::os_service_pack_major},
    {"sp_minor", &protocol::ComputerRollupDetails::os_service_pack_minor},
    {"suite_mask", &protocol::ComputerRollupDetails::suite_mask},
    {"old_product_type", &protocol::ComputerRollupDetails::old_product_type},
    {"new_product_type", &protocol::ComputerRollupDetails::new_product_type},
    {"system_metrics", &protocol::ComputerRollupDetails::system_metrics},
}};
struct DetailText {
  const char* name;
  std::string protocol::ComputerRollupDetails::*member;
};
/// Empty ones are left out.
constexpr std::array<DetailText, 11> kTexts = {{
    {"address", &protocol::ComputerRollupDetails::ip_address},
    {"name", &protocol::ComputerRollupDetails::full_domain_name},
    {"locale", &protocol::ComputerRollupDetails::os_locale},
    {"os_family", &protocol::ComputerRollupDetails::os_family},
    {"os_description", &protocol::ComputerRollupDetails::os_description},
    {"make", &protocol::ComputerRollupDetails::computer_make},
    {"model", &protocol::ComputerRollupDetails::computer_model},
    {"bios_version", &protocol::ComputerRollupDetails::bios_version},
    {"bios_name", &protocol::ComputerRollupDetails::bios_name},
    {"architecture", &protocol::ComputerRollupDetails::processor_architecture},
    {"client_version", &protocol::ComputerRollupDetails::client_version},
}};

struct ComputerTime {
  const char* name;
  UtcTime Computer::*member;
};
constexpr std::array<ComputerTime, 7> kTimes = {{
    {"registered", &Computer::registered_at},
    {"contact", &Computer::last_contact},
    {"last_sync", &Computer::last_sync_time},
    {"last_status", &Computer::last_reported_status},
    {"last_reboot", &Computer::last_reported_reboot},
    {"last_inventory", &Computer::last_inventory},
    {"last_detection", &Computer::effective_last_detection},
}};

protocol::UpdateId ReadUpdate(JsonFields& fields) {
  const std::string text = fields.AsciiText("update", 64);
  const auto update = protocol::UpdateId::Parse(text);
  if (!update || update->ToString() != text) fields.Refuse("field 'update' is no GUID/revision");
  return update.value_or(protocol::UpdateId{});
}

}  // namespace

std::string ToAscii(std::string_view text, std::size_t max_bytes) {
  std::string out(text.substr(0, max_bytes));
  std::ranges::replace_if(
      out, [](char c) { return c < 0x20 || c > 0x7E; }, '?');
  return out;
}

JsonValue::Object EncodeRecord(const DownstreamServer& server) {
  JsonValue::Array clients;
  for (const auto& client : server.clients) {
    if (clients.size() == kMaxClients) break;
    JsonValue::Object kind = EncodeKind(client);
    kind["count"] = static_cast<std::int64_t>(client.count);
    clients.push_back(std::move(kind));
  }
  JsonValue::Object members{{"clients", std::move(clients)},
                            {"id", server.id.ToString()},
                            {"last_rollup", server.last_rollup_time.ToXml()},
                            {"last_sync", server.last_sync_time.ToXml()},
                            {"name", ToAscii(server.name, kMaxNameBytes)},
                            {"parent", server.parent.ToString()},
                            {"record", "server"},
                            {"replica", server.is_replica},
                            {"version", ToAscii(server.version, 32)}};
  if (server.summary) {
    JsonValue::Object summary;
    for (const auto& field : kSummary) {
      summary[field.name] = static_cast<std::int64_t>((*server.summary).*field.member);
    }
    members["summary"] = std::move(summary);
  }
  return members;
}

DownstreamServer ReadServer(JsonFields& fields) {
  DownstreamServer server;
  for (const JsonValue& item : fields.List("clients", kMaxClients)) {
    JsonFields client(item, "client");
    auto kind = ReadKind(client);
    kind.count = Int32(client, "count");
    if (const auto finished = client.Finish(); !finished) fields.Refuse(finished.error().message);
    server.clients.push_back(std::move(kind));
  }
  server.id = fields.GuidValue("id");
  server.last_rollup_time = fields.Time("last_rollup");
  server.last_sync_time = fields.Time("last_sync");
  server.name = fields.AsciiText("name", kMaxNameBytes);
  server.parent = fields.GuidValue("parent");
  server.is_replica = fields.Flag("replica");
  server.version = fields.AsciiText("version", 32);
  if (fields.Has("summary")) {
    JsonFields numbers(fields.Child("summary"), "summary");
    server.summary.emplace();
    for (const auto& field : kSummary) {
      (*server.summary).*field.member = Int32(numbers, field.name);
    }
    if (const auto finished = numbers.Finish(); !finished) fields.Refuse(finished.error().message);
  }
  return server;
}

JsonValue::Object EncodeRecord(const Computer& computer) {
  JsonValue::Array groups;
  for (const Guid& group : computer.details.target_group_ids) {
    if (groups.size() < kMaxGroups) groups.emplace_back(group.ToString());
  }
  JsonValue::Object members{
      {"bios_date", computer.details.bios_release_date.ToXml()},
      {"groups", std::move(groups)},
      {"has_status", computer.has_status},
      {"id", ToAscii(computer.id, kMaxIdBytes)},
      {"last_sync_result", static_cast<std::int64_t>(computer.last_sync_result)},
      {"record", "computer"},
      {"server", computer.parent_server.ToString()}};
  for (const auto& field : kDetails) {
    members[field.name] = static_cast<std::int64_t>(computer.details.*field.member);
  }
  for (const auto& field : kTexts) {
    const std::string& text = computer.details.*field.member;
    if (!text.empty()) members[field.name] = ToAscii(text, kMaxNameBytes);
  }
  for (const auto& field : kTimes) members[field.name] = (computer.*field.member).ToXml();
  return members;
}

Computer ReadComputer(JsonFields& fields) {
  Computer computer;
  computer.details.bios_release_date = fields.Time("bios_date");
  for (const JsonValue& item : fields.List("groups", kMaxGroups)) {
    const std::string* text = item.AsString();
    const auto group = Guid::Parse(text == nullptr ? "" : *text);
    if (!group || group->ToString() != *text) fields.Refuse("field 'groups' is no list of GUIDs");
    computer.details.target_group_ids.push_back(group.value_or(Guid{}));
  }
  computer.has_status = fields.Flag("has_status");
  computer.id = fields.AsciiText("id", kMaxIdBytes);
  if (computer.id.empty()) fields.Refuse("field 'id' is empty");
  computer.last_sync_result = static_cast<std::int32_t>(fields.Count("last_sync_result", 2));
  computer.parent_server = fields.GuidValue("server");
  for (const auto& field : kDetails) computer.details.*field.member = Int32(fields, field.name);
  for (const auto& field : kTexts) {
    if (fields.Has(field.name)) {
      computer.details.*field.member = fields.AsciiText(field.name, kMaxNameBytes);
    }
  }
  for (const auto& field : kTimes) computer.*field.member = fields.Time(field.name);
  return computer;
}

JsonValue::Object EncodeRecord(const StatusChange& change) {
  return {{"changed", change.status.last_change.ToXml()},
          {"computer", ToAscii(change.computer_id, kMaxIdBytes)},
          {"record", "status"},
          {"state", static_cast<std::int64_t>(change.status.state)},
          {"update", change.status.update.ToString()}};
}

StatusChange ReadStatus(JsonFields& fields) {
  StatusChange change;
  change.status.last_change = fields.Time("changed");
  change.computer_id = fields.AsciiText("computer", kMaxIdBytes);
  change.status.state = static_cast<UpdateState>(fields.Count("state", 6));
  change.status.update = fields.GuidValue("update");
  return change;
}

JsonValue::Object EncodeRecord(const InstallActivity& activity) {
  return {{"failures", activity.failure_total},
          {"os", EncodeKind(activity.os)},
          {"record", "activity"},
          {"server", activity.server.ToString()},
          {"successes", activity.success_total},
          {"update", activity.update.ToString()}};
}

InstallActivity ReadActivity(JsonFields& fields) {
  InstallActivity activity;
  activity.failure_total = fields.Integer("failures", 0, kMaxJsonInteger);
  JsonFields kind(fields.Child("os"), "os");
  activity.os = ReadKind(kind);
  if (const auto finished = kind.Finish(); !finished) fields.Refuse(finished.error().message);
  activity.server = fields.GuidValue("server");
  activity.success_total = fields.Integer("successes", 0, kMaxJsonInteger);
  activity.update = ReadUpdate(fields);
  return activity;
}

}  // namespace gapferry::mirror::exchange
