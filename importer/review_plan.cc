#include "importer/review_plan.h"

#include <algorithm>
#include <map>

#include "base/canonical_json.h"
#include "base/file.h"
#include "importer/whole_object.h"
#include "manifests/zstd_stream.h"
#include "mirror/exchange/intent_object.h"
#include "mirror/exchange/metadata_batch.h"
#include "protocol/cabinet.h"
#include "protocol/update_document.h"

namespace gapferry::importer {
namespace {

constexpr const char* kWhatFor = "can be reviewed";
constexpr std::uint64_t kMaxDocumentBytes = 256ULL << 20;
constexpr std::size_t kMaxKinds = 1'000'000;

std::string ActionText(mirror::DeploymentAction action) {
  switch (static_cast<int>(action)) {
    case 0:
      return "install";
    case 1:
      return "uninstall";
    case 2:
      return "scan only";
    case 3:
      return "block";
    case 6:
      return "optional";
    default:
      return "action " + std::to_string(static_cast<int>(action));
  }
}

class Reviewer {
 public:
  Reviewer(manifests::Medium& medium, const manifests::VerifiedIndex& index,
           const mirror::exchange::KnownKinds& seen)
      : medium_(medium), index_(index), seen_(seen) {}

  Result<ReviewPlan> Run() {
    for (const auto& line : index_.lines()) {
      if (line.name.kind == manifests::ObjectKind::kIntent) TRY(ReadIntent(line));
      if (line.name.kind == manifests::ObjectKind::kMetadata) TRY(ReadMetadata(line));
      if (line.name.IsContent() && line.name.part <= 1) {
        ++plan_.content_files;
        plan_.content_bytes += line.full_size;
      }
    }
    for (auto& approval : plan_.approvals) {
      const auto title = titles_.find(approval.update);
      if (title != titles_.end()) approval.title = title->second;
    }
    Difference(plan_.kinds.handlers, seen_.handlers, plan_.new_handlers);
    Difference(plan_.kinds.publishers, seen_.publishers, plan_.new_publishers);
    Difference(plan_.kinds.commands, seen_.commands, plan_.new_commands);
    return std::move(plan_);
  }

 private:
  static void Difference(const std::set<std::string>& now, const std::set<std::string>& before,
                         std::vector<std::string>& out) {
    std::ranges::set_difference(now, before, std::back_inserter(out));
  }

  Result<void> ReadIntent(const manifests::IndexLine& line) {
    TRY_ASSIGN(const Bytes stored, ReadWholeObject(medium_, index_, line, kWhatFor));
    MemorySource source(stored);
    manifests::ZstdSource decoded(source, mirror::exchange::kMaxIntentBytes);
    TRY_ASSIGN(const auto object, mirror::exchange::ReadIntentObject(decoded));
    for (const auto& revision : object.revisions) plan_.withdrawn += revision.withdrawn ? 1 : 0;
    const mirror::IntentImport& intent = object.intent;
    plan_.declined = intent.declined.size();
    plan_.undeclined = intent.undeclined.size();
    plan_.groups = intent.groups.size();
    plan_.groups_ended = intent.dead_groups.size();
    plan_.approvals_ended = intent.dead_deployments.size();
    plan_.licences = intent.accepted_eulas.size();
    plan_.approvals_count = intent.deployments.size();
    std::map<Guid, std::string> names;
    for (const auto& group : intent.groups) names[group.id] = group.name;
    for (const auto& one : intent.deployments) {
      if (plan_.approvals.size() == kReviewItems) break;
      const auto name = names.find(one.group);
      plan_.approvals.push_back({one.update, "",
                                 name == names.end() ? one.group.ToString() : name->second,
                                 ActionText(one.action), one.deadline});
    }
    return {};
  }

  Result<void> ReadMetadata(const manifests::IndexLine& line) {
    TRY_ASSIGN(const Bytes stored, ReadWholeObject(medium_, index_, line, kWhatFor));
    MemorySource source(stored);
    manifests::ZstdSource decoded(source, kMaxMetadataObjectBytes);
    mirror::exchange::MetadataBatchReader reader(decoded, kMaxDocumentBytes);
    for (;;) {
      TRY_ASSIGN(const auto revision, reader.Next());
      if (!revision) return {};
      TRY_ASSIGN(const auto document, Parse(*revision), revision->update.ToString());
      LookAt(document);
    }
  }

  static Result<protocol::UpdateDocument> Parse(const mirror::IncomingRevision& revision) {
    if (revision.form == mirror::DocumentForm::kPlain) {
      return protocol::ParseUpdateDocument(AsText(revision.bytes));
    }
    TRY_ASSIGN(const std::string text,
               protocol::DecodeMetadataCabinet(revision.bytes, kMaxDocumentBytes));
    return protocol::ParseUpdateDocument(std::string_view(text));
  }

  void LookAt(const protocol::UpdateDocument& document) {
    ++plan_.documents;
    const ReviewPlan::Item item{document.id, document.Title()};
    const bool is_update = document.type == protocol::UpdateType::kSoftware ||
                           document.type == protocol::UpdateType::kDriver;
    if (is_update && document.explicitly_deployable) {
      document.is_expired ? ++plan_.expired : ++plan_.updates;
      titles_[document.id] = item.title;
      if (!document.is_expired && plan_.items.size() < kReviewItems) plan_.items.push_back(item);
    }
    if (document.is_locally_published && plan_.locally_published.size() < kReviewItems) {
      plan_.locally_published.push_back(item);
    }
    if (!document.handler.empty()) plan_.kinds.handlers.insert(document.handler);
    if (document.publisher_id) plan_.kinds.publishers.insert(document.publisher_id->ToString());
    for (const auto& command : document.command_lines) {
      plan_.kinds.commands.insert(command.program + " " + command.arguments);
    }
    for (const auto& file : document.files) {
      if (!file.sha256) ++plan_.files_without_sha256;
    }
  }

  manifests::Medium& medium_;
  const manifests::VerifiedIndex& index_;
  const mirror::exchange::KnownKinds& seen_;
  std::map<protocol::UpdateId, std::string> titles_;
  ReviewPlan plan_;
};

JsonValue ListOf(const std::set<std::string>& values) {
  JsonValue::Array list;
  for (const std::string& value : values) list.emplace_back(value);
  return list;
}

std::set<std::string> SetOf(JsonFields& fields, std::string_view name) {
  std::set<std::string> values;
  for (const JsonValue& item : fields.List(name, kMaxKinds)) {
    if (item.AsString() == nullptr) {
      fields.Refuse("field '" + std::string(name) + "' is no list of strings");
      break;
    }
    values.insert(*item.AsString());
  }
  return values;
}

Result<ReviewMemory> DecodeMemory(std::string_view text) {
  if (!text.ends_with('\n')) return Fail(ErrorCode::kCorrupt, "does not end with a line end");
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text.substr(0, text.size() - 1)));
  JsonFields fields(value, "what was signed");
  ReviewMemory memory;
  memory.kinds.commands = SetOf(fields, "commands");
  memory.kinds.handlers = SetOf(fields, "handlers");
  memory.kinds.publishers = SetOf(fields, "publishers");
  TRY(fields.Finish());
  return memory;
}

constexpr std::uint64_t kMaxMemoryBytes = 256 << 20;

}  // namespace

Result<ReviewPlan> MakeReviewPlan(manifests::Medium& medium, const manifests::VerifiedIndex& index,
                                  const mirror::exchange::KnownKinds& seen) {
  return Reviewer(medium, index, seen).Run();
}

Result<ReviewMemory> ReadReviewMemory(const std::filesystem::path& path) {
  const auto text = ReadTextFile(path, kMaxMemoryBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) return ReviewMemory{};
  if (!text) return std::unexpected(text.error());
  auto memory = DecodeMemory(*text);
  if (memory) return memory;
  return Fail(ErrorCode::kCorrupt, "review-memory",
              "'" + path.string() + "': " + memory.error().message);
}

Result<void> WriteReviewMemory(const std::filesystem::path& path, const ReviewMemory& memory) {
  const std::string text =
      WriteCanonicalJson(JsonValue::Object{{"commands", ListOf(memory.kinds.commands)},
                                           {"handlers", ListOf(memory.kinds.handlers)},
                                           {"publishers", ListOf(memory.kinds.publishers)}});
  return WriteFileAtomically(path, AsBytes(text + "\n"), 0600);
}

}  // namespace gapferry::importer
