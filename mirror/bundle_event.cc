#include "mirror/bundle_event.h"

#include <fmt/format.h>

#include <algorithm>

namespace gapferry::mirror {
namespace {

using exchange::IntentObject;
using exchange::RevisionLine;

/// At most kEventItems of `items`, each as `make` says.
template <class T, class Make>
JsonValue::Array Some(const std::vector<T>& items, const Make& make) {
  JsonValue::Array out;
  for (const T& item : items) {
    if (out.size() == kEventItems) break;
    out.emplace_back(make(item));
  }
  return out;
}

JsonValue Approval(const IncomingDeployment& one) {
  JsonValue::Object out{{"action", DeploymentActionName(one.action)},
                        {"group", one.group.ToString()},
                        {"update", one.update.ToString()}};
  if (one.deadline) out["deadline"] = one.deadline->ToXml();
  return out;
}

}  // namespace

Result<Sha256Digest> RecordBundleEvent(Database& catalog, const BundleEvent& event) {
  const std::string facts = WriteCanonicalJson(JsonValue(event.facts));
  TRY(
      catalog.Run("INSERT INTO bundle_event (manifest, kind, at, actor, facts) VALUES (?, ?, ?, ?, "
                  "?)",
                  event.manifest, event.kind, event.at, event.actor, facts));
  return Sha256(facts);
}

Result<std::vector<StoredEvent>> BundleEvents(Database& catalog, const Sha256Digest& manifest) {
  TRY_ASSIGN(auto rows, catalog.Prepare("SELECT kind, at, actor, facts FROM bundle_event WHERE "
                                        "manifest = ? ORDER BY id"));
  rows.BindAll(manifest);
  std::vector<StoredEvent> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    StoredEvent stored;
    stored.event.manifest = manifest;
    stored.event.kind = rows.String(0);
    stored.event.at = rows.Time(1);
    stored.event.actor = rows.String(2);
    const std::string facts = rows.String(3);
    stored.digest = Sha256(facts);
    TRY_ASSIGN(JsonValue value, ParseCanonicalJson(facts), "facts of a bundle");
    if (value.AsObject() == nullptr) {
      return Fail(ErrorCode::kCorrupt, "facts of a bundle: not an object");
    }
    stored.event.facts = std::move(*value.AsObject());
    out.push_back(std::move(stored));
  }
  TRY(rows.Check());
  return out;
}

JsonValue::Object ContentsOf(const IntentObject& object) {
  std::vector<protocol::UpdateId> carried, withdrawn;
  for (const RevisionLine& line : object.revisions) {
    if (line.carried) carried.push_back(line.update);
    if (line.withdrawn) withdrawn.push_back(line.update);
  }
  const auto update = [](const protocol::UpdateId& id) { return id.ToString(); };
  const auto guid = [](const Guid& id) { return id.ToString(); };
  const auto& intent = object.intent;
  const auto group = [](const TargetGroup& one) {
    return JsonValue(JsonValue::Object{{"guid", one.id.ToString()}, {"name", one.name}});
  };
  return {{"approvals", Some(intent.deployments, Approval)},
          {"approvals_count", intent.deployments.size()},
          {"approvals_ended_count", intent.dead_deployments.size()},
          {"declined", Some(intent.declined, guid)},
          {"declined_count", intent.declined.size()},
          {"groups", Some(intent.groups, group)},
          {"revisions_listed", object.revisions.size()},
          {"updates", Some(carried, update)},
          {"updates_count", carried.size()},
          {"withdrawn", Some(withdrawn, update)},
          {"withdrawn_count", withdrawn.size()}};
}

}  // namespace gapferry::mirror
