#include "importer/import_scan.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "base/text.h"

namespace gapferry::importer {
namespace {

using manifests::IndexLine;
using manifests::ObjectKind;

mirror::WithheldWhy WhyOf(const ScanVerdict& verdict) {
  if (verdict.outcome == ScanOutcome::kTimedOut) return mirror::WithheldWhy::kTimedOut;
  return verdict.outcome == ScanOutcome::kCrashed ? mirror::WithheldWhy::kCrashed
                                                  : mirror::WithheldWhy::kRejected;
}

/// The first line of what the scanner said, for messages.
std::string FirstLine(const std::string& output) {
  constexpr std::size_t kShown = 200;
  return EscapeForDisplay(output.substr(0, output.find('\n')), kShown);
}

std::string VerdictText(const ScanVerdict& verdict) {
  const std::string line = FirstLine(verdict.output);
  return verdict.why + (line.empty() ? "" : ": " + line);
}

/// A copy of documents for the scanner, removed at the end.
class Folder {
 public:
  explicit Folder(fs::path path) : path_(std::move(path)) {}
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { static_cast<void>(RemoveTree(path_).has_value()); }  // staging/ is cleared anyway
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

ImportScan::ImportScan(mirror::Mirror& mirror, const Sha256Digest& manifest, std::string bundle,
                       std::string actor)
    : mirror_(mirror),
      manifest_(manifest),
      bundle_(std::move(bundle)),
      actor_(std::move(actor)),
      scanner_(mirror.config().import.scanner),
      on_reject_(mirror.config().import.scanner.on_reject) {}

std::unexpected<Error> ImportScan::Rejected(const std::string& name,
                                            const ScanVerdict& verdict) const {
  return Fail(ErrorCode::kUntrusted, "scanner-rejected",
              "the scanner '" + EscapeForDisplay(scanner_.program(), 100) + "' rejected '" + name +
                  "': " + VerdictText(verdict));
}

Result<std::vector<ScanItem>> ImportScan::Unseen(
    const std::vector<Staging::StagedObject>& objects) {
  TRY_ASSIGN(auto rows,
             mirror_.db().Prepare("SELECT 1 FROM scan_verdict WHERE manifest = ? AND sha256 = ? "
                                  "AND scanner = ?"));
  std::vector<ScanItem> out;
  for (const auto& object : objects) {
    rows.Reset();
    rows.BindAll(manifest_, object.sha256, scanner_.Id());
    TRY_ASSIGN(const bool is_clean, rows.Step());
    if (is_clean) {
      ++resumed_;
      continue;
    }
    out.push_back({object.name, object.path, object.sha256});
  }
  return out;
}

Result<void> ImportScan::KeepClean(std::span<const Scanner::Told> told) {
  TRY_ASSIGN(auto tx, mirror::Transaction::Begin(mirror_.db(), mirror::TransactionKind::kWrite));
  for (const auto& [item, verdict] : told) {
    if (verdict.outcome != ScanOutcome::kClean) continue;
    TRY(mirror_.db().Run(
        "INSERT OR REPLACE INTO scan_verdict (manifest, sha256, scanner, at) VALUES (?, ?, ?, ?)",
        manifest_, item->sha256, scanner_.Id(), mirror_.clock().Now()));
  }
  return tx.Commit();
}

Result<void> ImportScan::Judge(const Staging::StagedObject& object, const ScanVerdict& verdict) {
  if (verdict.outcome == ScanOutcome::kClean) return {};
  if (on_reject_ == mirror::OnReject::kRefuse || !object.content) {
    return Rejected(object.name, verdict);
  }
  if (withheld_.size() == kMaxWithheld) {
    return Fail(ErrorCode::kUntrusted, "scanner-rejected",
                "the scanner '" + EscapeForDisplay(scanner_.program(), 100) +
                    "' rejected more than " + std::to_string(kMaxWithheld) +
                    " files, the last one is '" + object.name + "': " + VerdictText(verdict));
  }
  mirror::QuarantinedFile file;
  file.sha1 = object.content->sha1;
  file.sha256 = object.sha256;
  file.size_bytes = object.content->size_bytes;
  file.extension = object.content->extension;
  file.bundle = bundle_;
  file.manifest = manifest_;
  file.why = WhyOf(verdict);
  file.output = EscapeForDisplay(verdict.output, kMaxScanOutput);
  file.scanner = scanner_.program();
  file.at = mirror_.clock().Now();
  withheld_.push_back({object.name, verdict.why, file.output});
  arrivals_.push_back({std::move(file), object.path});
  return {};
}

Result<void> ImportScan::Run(Staging& staging, Progress& progress, std::stop_token stop) {
  if (!scanner_.is_configured()) return {};
  const auto objects = staging.StagedObjects();
  files_ = objects.size();
  std::map<std::string, const Staging::StagedObject*> by_name;
  for (const auto& object : objects) by_name.emplace(object.name, &object);
  TRY_ASSIGN(const auto items, Unseen(objects));
  const auto report = [&](std::span<const Scanner::Told> told) -> Result<void> {
    TRY(KeepClean(told));
    for (const auto& [item, verdict] : told) TRY(Judge(*by_name.at(item->name), verdict));
    return {};
  };
  TRY(scanner_.Scan(items, report, progress, std::move(stop)));
  for (const auto& arrival : arrivals_) staging.LeaveOut(arrival.file.sha1);
  return {};
}

Result<void> ImportScan::MoveToQuarantine() {
  mirror::Quarantine quarantine(mirror_);
  return quarantine.Withhold(arrivals_, actor_);
}

Result<void> ImportScan::Finish() {
  mirror::Quarantine quarantine(mirror_);
  TRY(quarantine.Resolve(actor_));
  return Forget();
}

Result<void> ImportScan::Forget() {
  if (!scanner_.is_configured()) return {};
  return mirror_.db().Run("DELETE FROM scan_verdict");
}

JsonValue::Object ImportScan::Facts() const {
  if (!scanner_.is_configured()) return {{"configured", false}};
  JsonValue::Array withheld;
  for (const Withheld& one : withheld_) {
    withheld.emplace_back(
        JsonValue::Object{{"name", one.name}, {"output", one.output}, {"why", one.why}});
  }
  return {{"clean", files_ - withheld_.size()},
          {"configured", true},
          {"files", files_},
          {"on_reject", mirror::OnRejectName(on_reject_)},
          {"program", EscapeForDisplay(scanner_.program(), 400)},
          {"seen_by_earlier_runs", resumed_},
          {"withheld", std::move(withheld)}};
}

Result<void> ScanDocuments(mirror::Mirror& mirror, manifests::Medium& medium,
                           const manifests::VerifiedIndex& index, Progress& progress,
                           std::stop_token stop) {
  const Scanner scanner(mirror.config().import.scanner);
  if (!scanner.is_configured()) return {};
  const Folder folder(mirror.staging() /
                      ("plan-" + index.manifest().digest().ToHex().substr(0, 32)));
  TRY(CreateDirectories(folder.path()));
  std::uint64_t bytes = 0;
  std::vector<const IndexLine*> lines;
  for (const IndexLine& line : index.lines()) {
    if (line.name.IsContent() || line.name.kind == ObjectKind::kAttachment) continue;
    bytes += line.size;
    lines.push_back(&line);
  }
  TRY(CheckFreeSpace(folder.path(), bytes));
  std::vector<ScanItem> items;
  for (const IndexLine* line : lines) {
    std::string flat = line->name.ToString();
    std::ranges::replace(flat, '/', '-');
    const fs::path path = folder.path() / flat;
    TRY_ASSIGN(File file, File::Create(path, 0600));
    FileSink sink(file);
    TRY(manifests::ReadObject(medium, index, *line, sink));
    TRY(file.Close());
    items.push_back({line->name.ToString(), path, line->sha256});
  }
  const auto report = [&](std::span<const Scanner::Told> told) -> Result<void> {
    for (const auto& [item, verdict] : told) {
      if (verdict.outcome == ScanOutcome::kClean) continue;
      return Fail(ErrorCode::kUntrusted, "scanner-rejected",
                  "the scanner '" + EscapeForDisplay(scanner.program(), 100) + "' rejected '" +
                      item->name + "': " + VerdictText(verdict));
    }
    return {};
  };
  return scanner.Scan(items, report, progress, std::move(stop));
}

}  // namespace gapferry::importer
