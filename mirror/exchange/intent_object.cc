#include "mirror/exchange/intent_object.h"

#include <algorithm>
#include <array>

#include "base/canonical_json.h"
#include "base/text.h"
#include "mirror/exchange/record_reader.h"

namespace gapferry::mirror::exchange {
namespace {

constexpr std::string_view kFormat = "gapferry-exchange/1";

/// In the order of the object.
constexpr std::array<std::string_view, 9> kKinds = {
    "intent",  "revision", "group",       "group-removed", "deployment", "deployment-removed",
    "decline", "eula",     "eula-removed"};

std::unexpected<Error> Malformed(std::uint64_t line, const std::string& problem) {
  return Fail(ErrorCode::kCorrupt, "intent-malformed",
              "intent line " + std::to_string(line) + ": " + problem);
}

class Writer {
 public:
  explicit Writer(Sink& sink) : sink_(sink) {}

  Result<void> Put(std::string_view kind, JsonValue::Object members) {
    members["record"] = kind;
    return sink_.Write(AsBytes(WriteCanonicalJson(JsonValue(std::move(members))) + "\n"));
  }

  Result<void> PutGuids(std::string_view kind, std::vector<Guid> guids, std::string_view key) {
    std::ranges::sort(guids);
    for (const Guid& guid : guids) TRY(Put(kind, {{std::string(key), guid.ToString()}}));
    return {};
  }

  Result<void> PutDeployment(const IncomingDeployment& one) {
    JsonValue::Object members{{"action", static_cast<int>(one.action)},
                              {"admin", one.admin_name},
                              {"assigned", one.is_assigned},
                              {"go_live", one.go_live.ToXml()},
                              {"group", one.group.ToString()},
                              {"guid", one.guid.ToString()},
                              {"last_change", one.last_change.ToXml()},
                              {"priority", static_cast<int>(one.download_priority)},
                              {"update", one.update.ToString()}};
    if (one.deadline) members["deadline"] = one.deadline->ToXml();
    return Put("deployment", std::move(members));
  }

  Result<void> PutDeclines(const IntentImport& intent) {
    std::vector<std::pair<Guid, bool>> declines;
    for (const Guid& guid : intent.declined) declines.emplace_back(guid, true);
    for (const Guid& guid : intent.undeclined) declines.emplace_back(guid, false);
    std::ranges::sort(declines);
    for (const auto& [guid, declined] : declines) {
      TRY(Put("decline", {{"declined", declined}, {"guid", guid.ToString()}}));
    }
    return {};
  }

 private:
  Sink& sink_;
};

/// Reads line after line; each kind has a function, keys ascend within a kind.
class Reader {
 public:
  explicit Reader(Source& source) : lines_(source) {}

  Result<IntentObject> Read() {
    TRY(ReadHeader());
    for (;;) {
      TRY_ASSIGN(const auto line, lines_.Line(kMaxIntentLineBytes));
      if (!line) break;
      TRY(ReadLine(*line));
    }
    if (object_.revisions.size() != stated_revisions_ || elements_ != stated_elements_) {
      return Malformed(lines_.lines(), "the object does not hold as many lines as it states");
    }
    return std::move(object_);
  }

 private:
  Result<void> ReadHeader() {
    TRY_ASSIGN(const auto line, lines_.Line(kMaxIntentLineBytes));
    const auto value = ParseCanonicalJson(line.value_or(""));
    if (!value) return Malformed(1, value.error().message);
    JsonFields fields(*value, "header");
    object_.dangling = fields.Count("dangling");
    stated_elements_ = fields.Count("elements", kMaxIntentElements);
    if (fields.Text("format", 64) != kFormat) fields.Refuse("unknown format");
    if (fields.Text("record", 32) != kKinds[0]) fields.Refuse("is no header");
    stated_revisions_ = fields.Count("revisions", kMaxIntentRevisions);
    const std::string scope = fields.Text("scope", 8);
    if (scope != "full" && scope != "delta") fields.Refuse("unknown scope");
    object_.full = scope == "full";
    if (const auto finished = fields.Finish(); !finished) {
      return Malformed(1, finished.error().message);
    }
    IntentImport& intent = object_.intent;
    intent.groups_are_full = intent.deployments_are_full = object_.full;
    intent.declined_are_full = intent.eulas_are_full = object_.full;
    return {};
  }

  Result<void> ReadLine(const std::string& line) {
    const auto value = ParseCanonicalJson(line);
    if (!value) return Malformed(lines_.lines(), value.error().message);
    JsonFields fields(*value, "record");
    const std::string name = fields.Text("record", 32);
    const auto found = std::ranges::find(kKinds, name);
    const auto kind = static_cast<std::size_t>(found - kKinds.begin());
    if (found == kKinds.end() || kind == 0 || kind < kind_) {
      return Malformed(lines_.lines(),
                       "record '" + EscapeForDisplay(name, 32) + "' is unknown or out of order");
    }
    if (kind != kind_) last_key_.clear();
    kind_ = kind;
    const std::string key = ReadRecord(kind, fields);
    if (const auto finished = fields.Finish(); !finished) {
      return Malformed(lines_.lines(), finished.error().message);
    }
    if (!last_key_.empty() && last_key_ >= key) {
      return Malformed(lines_.lines(), "does not come after the line before it");
    }
    last_key_ = key;
    if (kind != 1 && ++elements_ > stated_elements_) {
      return Malformed(lines_.lines(), "more lines than the header states");
    }
    return {};
  }

  /// The sorting key of the record.
  std::string ReadRecord(std::size_t kind, JsonFields& fields) {
    IntentImport& intent = object_.intent;
    switch (kind) {
      case 1:
        return ReadRevision(fields);
      case 2:
        return ReadGroup(fields);
      case 3:
        return Append(intent.dead_groups, fields, "guid");
      case 4:
        return ReadDeployment(fields);
      case 5:
        return Append(intent.dead_deployments, fields, "guid");
      case 6: {
        const bool declined = fields.Flag("declined");
        return Append(declined ? intent.declined : intent.undeclined, fields, "guid");
      }
      case 7:
        return Append(intent.accepted_eulas, fields, "guid");
      default:
        return Append(intent.dead_eulas, fields, "guid");
    }
  }

  static std::string KeyOf(const Guid& guid) { return std::string(AsText(guid.View())); }

  static std::string Append(std::vector<Guid>& list, JsonFields& fields, std::string_view key) {
    const Guid guid = fields.GuidValue(key);
    list.push_back(guid);
    return KeyOf(guid);
  }

  static protocol::UpdateId ReadUpdate(JsonFields& fields) {
    const std::string text = fields.Text("update", 64);
    const auto update = protocol::UpdateId::Parse(text);
    if (!update || update->ToString() != text) fields.Refuse("field 'update' is no GUID/revision");
    return update.value_or(protocol::UpdateId{});
  }

  std::string ReadRevision(JsonFields& fields) {
    if (object_.revisions.size() == stated_revisions_) {
      fields.Refuse("more revisions than the header states");
    }
    RevisionLine line;
    line.carried = fields.Flag("carried");
    line.sha256 = fields.Sha256Value("sha256");
    line.update = ReadUpdate(fields);
    line.withdrawn = fields.Flag("withdrawn");
    object_.revisions.push_back(line);
    Bytes key(line.update.guid.bytes.begin(), line.update.guid.bytes.end());
    const auto revision = static_cast<std::uint32_t>(line.update.revision);
    for (int shift = 24; shift >= 0; shift -= 8) {
      key.push_back(static_cast<std::uint8_t>(revision >> shift));
    }
    return std::string(AsText(key));
  }

  std::string ReadGroup(JsonFields& fields) {
    TargetGroup group;
    group.id = fields.GuidValue("guid");
    group.name = fields.Text("name", 1024);
    group.parent = fields.GuidValue("parent");
    object_.intent.groups.push_back(group);
    return KeyOf(group.id);
  }

  std::string ReadDeployment(JsonFields& fields) {
    IncomingDeployment one;
    one.action = static_cast<DeploymentAction>(fields.Count("action", 6));
    one.admin_name = fields.Text("admin", 1024);
    one.is_assigned = fields.Flag("assigned");
    if (fields.Has("deadline")) one.deadline = fields.Time("deadline");
    one.go_live = fields.Time("go_live");
    one.group = fields.GuidValue("group");
    one.guid = fields.GuidValue("guid");
    one.last_change = fields.Time("last_change");
    one.download_priority = static_cast<std::uint8_t>(fields.Integer("priority", 1, 3));
    one.update = ReadUpdate(fields);
    object_.intent.deployments.push_back(one);
    return KeyOf(one.guid);
  }

  RecordReader lines_;
  IntentObject object_;
  std::size_t kind_ = 0;
  std::string last_key_;
  std::uint64_t elements_ = 0;
  std::uint64_t stated_elements_ = 0;
  std::uint64_t stated_revisions_ = 0;
};

}  // namespace

Result<void> WriteIntentObject(IntentObject object, Sink& sink) {
  IntentImport& intent = object.intent;
  std::ranges::sort(object.revisions, {}, &RevisionLine::update);
  std::ranges::sort(intent.groups, {}, &TargetGroup::id);
  std::ranges::sort(intent.deployments, {}, &IncomingDeployment::guid);
  const std::uint64_t elements = intent.groups.size() + intent.dead_groups.size() +
                                 intent.deployments.size() + intent.dead_deployments.size() +
                                 intent.declined.size() + intent.undeclined.size() +
                                 intent.accepted_eulas.size() + intent.dead_eulas.size();
  Writer writer(sink);
  TRY(writer.Put("intent", {{"dangling", object.dangling},
                            {"elements", elements},
                            {"format", kFormat},
                            {"revisions", object.revisions.size()},
                            {"scope", object.full ? "full" : "delta"}}));
  for (const RevisionLine& line : object.revisions) {
    TRY(writer.Put("revision", {{"carried", line.carried},
                                {"sha256", line.sha256.ToHex()},
                                {"update", line.update.ToString()},
                                {"withdrawn", line.withdrawn}}));
  }
  for (const TargetGroup& group : intent.groups) {
    TRY(writer.Put("group", {{"guid", group.id.ToString()},
                             {"name", group.name},
                             {"parent", group.parent.ToString()}}));
  }
  TRY(writer.PutGuids("group-removed", intent.dead_groups, "guid"));
  for (const IncomingDeployment& one : intent.deployments) TRY(writer.PutDeployment(one));
  TRY(writer.PutGuids("deployment-removed", intent.dead_deployments, "guid"));
  TRY(writer.PutDeclines(intent));
  TRY(writer.PutGuids("eula", intent.accepted_eulas, "guid"));
  return writer.PutGuids("eula-removed", intent.dead_eulas, "guid");
}

Result<IntentObject> ReadIntentObject(Source& decoded) { return Reader(decoded).Read(); }

}  // namespace gapferry::mirror::exchange
