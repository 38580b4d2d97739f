#include "mirror/activity_json.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

namespace gapferry::mirror {

namespace {

using nlohmann::json;

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

struct Writer {
  json& out;
  template <class T>
  void operator()(const char* key, const T& value) {
    out[key] = value;
  }
  void operator()(const char* key, const UtcTime& value) { out[key] = value.ticks; }
  void operator()(const char* key, const Guid& value) { out[key] = value.ToString(); }
  void operator()(const char* key, const std::vector<Guid>& value) {
    out[key] = json::array();
    for (const Guid& guid : value) out[key].push_back(guid.ToString());
  }
  void operator()(const char* key, const std::optional<std::string>& value) {
    if (value) out[key] = *value;
  }
};

struct Reader {
  const json& in;
  template <class T>
  void operator()(const char* key, T& value) {
    const auto place = in.find(key);
    if (place == in.end()) return;
    if constexpr (std::is_integral_v<T>) {
      if (place->is_number_integer()) value = place->get<T>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (place->is_string()) value = place->get<std::string>();
    } else {
      if (!place->is_array()) return;
      for (const auto& item : *place) {
        if (item.is_string()) value.push_back(item.get<std::string>());
      }
    }
  }
  void operator()(const char* key, UtcTime& value) { (*this)(key, value.ticks); }
  void operator()(const char* key, Guid& value) {
    std::string text;
    (*this)(key, text);
    if (auto guid = Guid::Parse(text)) value = *guid;
  }
  void operator()(const char* key, std::vector<Guid>& value) {
    std::vector<std::string> texts;
    (*this)(key, texts);
    for (const auto& text : texts) {
      if (auto guid = Guid::Parse(text)) value.push_back(*guid);
    }
  }
  void operator()(const char* key, std::optional<std::string>& value) {
    const auto place = in.find(key);
    if (place != in.end() && place->is_string()) value = place->get<std::string>();
  }
};

json Parse(std::string_view text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() || value.is_array() ? value : json::object();
}

template <class V, class T>
void KindFields(V visit, T& s) {
  visit("os_major", s.os_major_version);
  visit("os_minor", s.os_minor_version);
  visit("os_build", s.os_build_number);
  visit("sp_major", s.os_service_pack_major);
  visit("sp_minor", s.os_service_pack_minor);
  visit("locale", s.os_locale);
  visit("suite_mask", s.suite_mask);
  visit("old_product_type", s.old_product_type);
  visit("new_product_type", s.new_product_type);
  visit("system_metrics", s.system_metrics);
  visit("architecture", s.processor_architecture);
}

template <class V, class T>
void DetailFields(V visit, T& s) {
  KindFields(visit, s);
  visit("groups", s.target_group_ids);
  visit("requested_groups", s.requested_target_group_names);
  visit("ip", s.ip_address);
  visit("name", s.full_domain_name);
  visit("os_family", s.os_family);
  visit("os_description", s.os_description);
  visit("make", s.computer_make);
  visit("model", s.computer_model);
  visit("bios_version", s.bios_version);
  visit("bios_name", s.bios_name);
  visit("bios_date", s.bios_release_date);
  visit("client_version", s.client_version);
}

template <class V, class T>
void SummaryFields(V visit, T& s) {
  visit("updates", s.update_count);
  visit("declined", s.declined_update_count);
  visit("approved", s.approved_update_count);
  visit("not_approved", s.not_approved_update_count);
  visit("stale", s.updates_with_stale_update_approvals_count);
  visit("expired", s.expired_update_count);
  visit("critical_not_approved", s.critical_or_security_updates_not_approved_for_install_count);
  visit("infrastructure_not_approved",
        s.wsus_infrastructure_updates_not_approved_for_install_count);
  visit("client_errors", s.updates_with_client_errors_count);
  visit("server_errors", s.updates_with_server_errors_count);
  visit("needing_files", s.updates_needing_files_count);
  visit("needed", s.updates_needed_by_computers_count);
  visit("up_to_date", s.updates_up_to_date_count);
  visit("custom_groups", s.custom_computer_target_group_count);
  visit("computers", s.computer_target_count);
  visit("computers_needing", s.computer_targets_needing_updates_count);
  visit("computers_errors", s.computer_targets_with_update_errors_count);
  visit("computers_up_to_date", s.computers_up_to_date_count);
}

template <class V, class T>
void EventFields(V visit, T& e) {
  visit("target", e.target_sid);
  visit("sequence", e.sequence_number);
  visit("time", e.time_at_target);
  visit("instance", e.event_instance_id);
  visit("namespace", e.namespace_id);
  visit("event", e.event_id);
  visit("source", e.source_id);
  visit("update", e.update.guid);
  visit("revision", e.update.revision);
  visit("hresult", e.win32_hresult);
  visit("app", e.app_name);
  visit("replacements", e.replacement_strings);
  visit("misc", e.misc_data);
  visit("brand", e.computer_brand);
  visit("model", e.computer_model);
  visit("bios", e.bios_revision);
  visit("architecture", e.processor_architecture);
  visit("os_major", e.os_version.major);
  visit("os_minor", e.os_version.minor);
  visit("os_build", e.os_version.build);
  visit("os_revision", e.os_version.revision);
  visit("sp_major", e.os_version.service_pack_major);
  visit("sp_minor", e.os_version.service_pack_minor);
  visit("locale", e.os_locale_id);
  visit("device", e.device_id);
  visit("dns_name", e.computer_dns_name);
  visit("user", e.user_account_name);
}

}  // namespace

std::string WriteDetails(const protocol::ComputerRollupDetails& details) {
  json value = json::object();
  DetailFields(Writer{value}, details);
  return Dump(value);
}

protocol::ComputerRollupDetails ReadDetails(std::string_view text) {
  const json value = Parse(text);
  protocol::ComputerRollupDetails details;
  DetailFields(Reader{value}, details);
  return details;
}

std::string OsKey(const protocol::ClientSummary& kind) {
  json value = json::object();
  KindFields(Writer{value}, kind);
  return Dump(value);
}

std::string OsKey(const protocol::ComputerRollupDetails& details) {
  json value = json::object();
  KindFields(Writer{value}, details);
  return Dump(value);
}

protocol::ClientSummary ReadOsKey(std::string_view text) {
  const json value = Parse(text);
  protocol::ClientSummary kind;
  KindFields(Reader{value}, kind);
  return kind;
}

std::string WriteSummary(const protocol::ServerSummary& summary) {
  json value = json::object();
  SummaryFields(Writer{value}, summary);
  return Dump(value);
}

protocol::ServerSummary ReadSummary(std::string_view text) {
  const json value = Parse(text);
  protocol::ServerSummary summary;
  SummaryFields(Reader{value}, summary);
  return summary;
}

std::string WriteClients(const std::vector<protocol::ClientSummary>& clients) {
  json list = json::array();
  for (const auto& client : clients) {
    json value = json::object();
    KindFields(Writer{value}, client);
    value["count"] = client.count;
    list.push_back(std::move(value));
  }
  return Dump(list);
}

std::vector<protocol::ClientSummary> ReadClients(std::string_view text) {
  std::vector<protocol::ClientSummary> clients;
  const json list = Parse(text);
  for (const auto& value : list) {
    if (!value.is_object()) continue;
    protocol::ClientSummary client;
    KindFields(Reader{value}, client);
    Reader{value}("count", client.count);
    clients.push_back(std::move(client));
  }
  return clients;
}

std::string WriteEvent(const protocol::ReportingEvent& event) {
  json value = json::object();
  EventFields(Writer{value}, event);
  return Dump(value);
}

protocol::ReportingEvent ReadEvent(std::string_view text) {
  const json value = Parse(text);
  protocol::ReportingEvent event;
  EventFields(Reader{value}, event);
  return event;
}

}  // namespace gapferry::mirror
