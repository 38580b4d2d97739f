#include "client/client_state.h"

#include "client/json_fields.h"

namespace gapferry::client {

using nlohmann::json;

namespace {

constexpr std::uint64_t kMaxStateBytes = 64 << 20;
constexpr std::string_view kFormat = "gapferry-client/1";

json EventToJson(const PendingEvent& event) {
  return {{"instance", event.instance.ToString()},
          {"event", event.event_id},
          {"time", event.time.ToXml()},
          {"update", event.update.ToString()},
          {"title", event.title},
          {"bytes", event.bytes},
          {"hresult", event.hresult},
          {"earlier_failures", event.earlier_failures},
          {"bundle", event.is_bundle}};
}

Result<PendingEvent> EventFromJson(const json& object) {
  if (!object.is_object()) return Fail(ErrorCode::kCorrupt, "an event is no object");
  PendingEvent event;
  TRY_ASSIGN(event.instance, Guid::Parse(StringOf(object, "instance")));
  TRY_ASSIGN(event.time, UtcTime::ParseXml(StringOf(object, "time")));
  TRY_ASSIGN(event.update, protocol::UpdateId::Parse(StringOf(object, "update")));
  event.event_id = static_cast<std::int32_t>(IntegerOf(object, "event"));
  event.title = StringOf(object, "title");
  event.bytes = static_cast<std::uint64_t>(IntegerOf(object, "bytes"));
  event.hresult = static_cast<std::int32_t>(IntegerOf(object, "hresult"));
  event.earlier_failures = static_cast<std::int32_t>(IntegerOf(object, "earlier_failures"));
  event.is_bundle = BoolOf(object, "bundle");
  return event;
}

constexpr std::pair<const char*, std::set<Guid> History::*> kHistoryLists[] = {
    {"installed", &History::installed},
    {"removed", &History::removed},
    {"restart_pending", &History::restart_pending},
    {"downloaded", &History::downloaded},
    {"installed_once", &History::installed_once}};

Result<Guid> GuidFromJson(const json& item) {
  if (!item.is_string()) return Fail(ErrorCode::kCorrupt, "an update is no GUID");
  return Guid::Parse(item.get<std::string>());
}

Result<History> HistoryFromJson(const json& object) {
  History history;
  for (const auto& [name, list] : kHistoryLists) {
    for (const json& item : object.value(name, json::array())) {
      TRY_ASSIGN(const Guid guid, GuidFromJson(item), name);
      (history.*list).insert(guid);
    }
  }
  for (const json& item : object.value("failed", json::array())) {
    if (!item.is_object()) return Fail(ErrorCode::kCorrupt, "a failure is no object");
    TRY_ASSIGN(const Guid guid, Guid::Parse(StringOf(item, "update")), "failed");
    history.failed[guid] = {static_cast<std::int32_t>(IntegerOf(item, "hresult")),
                            static_cast<std::int32_t>(IntegerOf(item, "times", 1))};
  }
  return history;
}

}  // namespace

Result<ClientState> ClientState::Open(const std::filesystem::path& directory,
                                      const std::optional<Guid>& wanted_id) {
  TRY(CreateDirectories(directory, 0700));
  TRY_ASSIGN(FileLock lock, FileLock::Acquire(directory / "lock", "gapferry client"));
  TRY(CreateDirectories(directory / "content", 0700));
  TRY_ASSIGN(RevisionCache cache, RevisionCache::Open(directory / "cache.jsonl"));
  ClientState state(directory, std::move(lock), std::move(cache));
  TRY(state.Load(), (directory / "state.json").string());
  const Guid before = state.client_id_;
  if (wanted_id) state.client_id_ = *wanted_id;
  if (state.client_id_.IsZero()) state.client_id_ = Guid::Random();
  if (state.client_id_ != before) TRY(state.Save());
  return state;
}

Result<void> ClientState::Load() {
  const auto text = ReadTextFile(directory_ / "state.json", kMaxStateBytes);
  if (!text) {
    if (text.error().code == ErrorCode::kNotFound) return {};
    return std::unexpected(text.error());
  }
  TRY_ASSIGN(const json object, ParseJsonObject(*text, "the file"));
  if (StringOf(object, "format") != kFormat) {
    return Fail(ErrorCode::kCorrupt, "is no '" + std::string(kFormat) + "' file");
  }
  TRY_ASSIGN(client_id_, Guid::Parse(StringOf(object, "client_id")));
  TRY_ASSIGN(history_, HistoryFromJson(object));
  for (const json& item : object.value("events", json::array())) {
    TRY_ASSIGN(PendingEvent event, EventFromJson(item));
    pending_events_.push_back(std::move(event));
  }
  if (const auto time = UtcTime::ParseXml(StringOf(object, "last_scan"))) last_scan_ = *time;
  return {};
}

Result<void> ClientState::Save() const {
  json object = {{"format", kFormat},
                 {"client_id", client_id_.ToString()},
                 {"failed", json::array()},
                 {"events", json::array()}};
  for (const auto& [name, list] : kHistoryLists) {
    object[name] = json::array();
    for (const Guid& guid : history_.*list) object[name].push_back(guid.ToString());
  }
  for (const auto& [guid, failure] : history_.failed) {
    object["failed"].push_back(
        {{"update", guid.ToString()}, {"hresult", failure.hresult}, {"times", failure.times}});
  }
  for (const PendingEvent& event : pending_events_) object["events"].push_back(EventToJson(event));
  if (last_scan_) object["last_scan"] = last_scan_->ToXml();
  const std::string text = object.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  return WriteFileAtomically(directory_ / "state.json", AsBytes(text), 0600);
}

}  // namespace gapferry::client
