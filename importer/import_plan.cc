#include "importer/import_plan.h"

#include <algorithm>
#include <set>

#include "base/file.h"
#include "importer/intent_plan.h"
#include "importer/whole_object.h"
#include "manifests/zstd_stream.h"
#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/deadlines.h"
#include "mirror/exchange/known_kinds.h"
#include "mirror/exchange/metadata_batch.h"
#include "mirror/intent.h"
#include "protocol/cabinet.h"
#include "protocol/update_document.h"

namespace gapferry::importer {
namespace {

using mirror::Mirror;
using mirror::exchange::IntentObject;

constexpr const char* kWhatFor = "can be looked at before an import";
// What one gets from a stick and from this program on a small machine; only an estimate.
constexpr std::uint64_t kBytesPerSecond = 120 << 20;
constexpr std::uint64_t kDocumentsPerSecond = 1500;

class Planner {
 public:
  Planner(Mirror& mirror, manifests::Medium& medium, const manifests::VerifiedIndex& index,
          bool hold)
      : mirror_(mirror), medium_(medium), index_(index), hold_(hold) {}

  Result<ImportPlan> Run() {
    TRY_ASSIGN(kinds_, mirror::exchange::ReadKnownKinds(mirror_));
    for (const auto& line : index_.lines()) {
      if (line.name.kind == manifests::ObjectKind::kIntent) TRY(ReadIntent(line));
      if (line.name.kind == manifests::ObjectKind::kMetadata) TRY(ReadMetadata(line));
      if (line.name.IsContent() && line.name.part <= 1) TRY(LookAtFile(line));
    }
    for (const auto& [guid, newest] : newest_) {
      if (newest.is_expired && newest.was_live) removals_.expired.push_back(guid);
    }
    TRY_ASSIGN(plan_.removals, mirror::JudgeRemovals(mirror_, removals_, arriving_));
    plan_.new_handlers.assign(new_handlers_.begin(), new_handlers_.end());
    plan_.new_publishers.assign(new_publishers_.begin(), new_publishers_.end());
    plan_.new_commands.assign(new_commands_.begin(), new_commands_.end());
    plan_.bytes_needed = plan_.content_bytes + metadata_bytes_ * 9;
    TRY_ASSIGN(plan_.bytes_free, FreeBytes(mirror_.path()));
    plan_.seconds = 1 + (plan_.content_bytes + metadata_bytes_) / kBytesPerSecond +
                    plan_.documents / kDocumentsPerSecond;
    return std::move(plan_);
  }

 private:
  Result<void> ReadIntent(const manifests::IndexLine& line) {
    TRY_ASSIGN(const Bytes stored, ReadWholeObject(medium_, index_, line, kWhatFor));
    MemorySource source(stored);
    manifests::ZstdSource decoded(source, mirror::exchange::kMaxIntentBytes);
    TRY_ASSIGN(IntentObject object, mirror::exchange::ReadIntentObject(decoded));
    metadata_bytes_ += line.size;
    TRY(CompareRevisions(object));
    object.intent.deadline_floor = mirror_.config().import.deadline_floor;
    object.intent.not_before = mirror::NotBeforeOf(index_.manifest().manifest().created);
    object.intent.hold = hold_ && mirror_.config().replica;
    return PlanIntent(mirror_, object.intent, plan_, removals_);
  }

  Result<void> CompareRevisions(const IntentObject& object) {
    for (const auto& revision : object.revisions) {
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(revision.update));
      if (!row) continue;  // new, and gone already: nothing here goes with it
      if (revision.withdrawn && !row->is_withdrawn) {
        ++plan_.withdrawn;
        removals_.withdrawn.push_back(revision.update);
      }
      if (!revision.withdrawn && row->is_withdrawn) ++plan_.listed_again;
    }
    if (!object.full) return {};
    return mirror_.catalog().ForEachRevision([&](const mirror::RevisionRow& row) -> Result<void> {
      const auto found = std::ranges::lower_bound(object.revisions, row.update, {},
                                                  &mirror::exchange::RevisionLine::update);
      if (found != object.revisions.end() && found->update == row.update) return {};
      if (row.is_unlisted) return {};
      ++plan_.unlisted;
      if (row.is_withdrawn) return {};
      ++plan_.withdrawn;
      removals_.withdrawn.push_back(row.update);
      return {};
    });
  }

  Result<void> ReadMetadata(const manifests::IndexLine& line) {
    TRY_ASSIGN(const Bytes stored, ReadWholeObject(medium_, index_, line, kWhatFor));
    metadata_bytes_ += line.size;
    MemorySource source(stored);
    manifests::ZstdSource decoded(source, kMaxMetadataObjectBytes);
    mirror::exchange::MetadataBatchReader reader(decoded,
                                                 mirror_.config().import.max_document_bytes);
    for (;;) {
      TRY_ASSIGN(const auto revision, reader.Next());
      if (!revision) return {};
      TRY_ASSIGN(const auto known, mirror_.catalog().Find(revision->update));
      if (known) continue;
      TRY_ASSIGN(const auto document, Parse(*revision), revision->update.ToString());
      TRY(LookAtDocument(document));
    }
  }

  Result<protocol::UpdateDocument> Parse(const mirror::IncomingRevision& revision) {
    const std::uint64_t limit = mirror_.config().import.max_document_bytes;
    if (revision.form == mirror::DocumentForm::kPlain) {
      return protocol::ParseUpdateDocument(AsText(revision.bytes));
    }
    TRY_ASSIGN(const std::string text, protocol::DecodeMetadataCabinet(revision.bytes, limit));
    return protocol::ParseUpdateDocument(std::string_view(text));
  }

  Result<void> LookAtDocument(const protocol::UpdateDocument& document) {
    ++plan_.documents;
    const ImportPlan::Item item{document.id, document.Title()};
    const auto note = [](std::vector<ImportPlan::Item>& list, const ImportPlan::Item& one) {
      if (list.size() < kPlanItems) list.push_back(one);
    };
    const bool is_update = document.type == protocol::UpdateType::kSoftware ||
                           document.type == protocol::UpdateType::kDriver;
    TRY_ASSIGN(const auto before, mirror_.catalog().FindLatest(document.id.guid));
    if (is_update) NoteNewest(document, before);
    if (is_update && !document.is_expired) {
      for (const auto& clause : document.prerequisites) {
        arriving_.insert(clause.any_of.begin(), clause.any_of.end());
      }
    }
    // Several revisions of one update may come at once: it counts once.
    const bool counts = is_update && document.explicitly_deployable;
    if (counts && (document.is_expired || seen_.insert(document.id.guid).second)) {
      if (document.is_expired) {
        if (before && !before->is_expired) {
          ++plan_.updates_expired;
          note(plan_.expired, item);
        }
      } else if (before) {
        ++plan_.updates_revised;
        note(plan_.revised, item);
      } else {
        ++plan_.updates_added;
        note(plan_.added, item);
      }
    }
    if (document.is_locally_published) note(plan_.locally_published, item);
    if (!document.handler.empty() && !kinds_.handlers.contains(document.handler)) {
      new_handlers_.insert(document.handler);
    }
    if (document.publisher_id && !kinds_.publishers.contains(document.publisher_id->ToString())) {
      new_publishers_.insert(document.publisher_id->ToString());
    }
    for (const auto& command : document.command_lines) {
      const std::string line = command.program + " " + command.arguments;
      if (!kinds_.commands.contains(line) && new_commands_.size() < kPlanItems) {
        new_commands_.insert(line);
      }
    }
    for (const auto& file : document.files) {
      if (!file.sha256) ++plan_.files_without_sha256;
    }
    return {};
  }

  void NoteNewest(const protocol::UpdateDocument& document,
                  const std::optional<mirror::RevisionRow>& before) {
    if (before && before->update.revision > document.id.revision) return;
    Newest& newest = newest_[document.id.guid];
    if (newest.revision > document.id.revision) return;
    newest = {document.id.revision, document.is_expired, before && !before->is_expired};
  }

  Result<void> LookAtFile(const manifests::IndexLine& line) {
    TRY_ASSIGN(const auto held, mirror_.content().Find(line.name.sha1));
    if (held) {
      ++plan_.held_files;
      return {};
    }
    ++plan_.content_files;
    plan_.content_bytes += line.full_size;
    return {};
  }

  /// The newest revision of an update that the bundle brings.
  struct Newest {
    std::int32_t revision = 0;
    bool is_expired = false;
    bool was_live = false;  ///< the newest one here before is not expired
  };

  Mirror& mirror_;
  manifests::Medium& medium_;
  const manifests::VerifiedIndex& index_;
  const bool hold_;
  mirror::exchange::KnownKinds kinds_;
  std::set<Guid> seen_;
  std::set<std::string> new_handlers_, new_publishers_, new_commands_;
  std::map<Guid, Newest> newest_;
  mirror::Removals removals_;
  std::set<Guid> arriving_;  // named by live updates that come
  std::uint64_t metadata_bytes_ = 0;
  ImportPlan plan_;
};

}  // namespace

Result<ImportPlan> MakeImportPlan(Mirror& mirror, manifests::Medium& medium,
                                  const manifests::VerifiedIndex& index, bool hold) {
  return Planner(mirror, medium, index, hold).Run();
}

}  // namespace gapferry::importer
