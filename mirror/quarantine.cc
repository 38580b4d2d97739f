#include "mirror/quarantine.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/text.h"
#include "mirror/audit.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kColumns =
    "SELECT sha1, sha256, size_bytes, extension, state, bundle, manifest, reason, output, scanner, "
    "at FROM quarantine ";

QuarantinedFile ReadRow(Statement& row) {
  QuarantinedFile file;
  file.sha1 = row.DigestAt<Sha1Digest>(0);
  file.sha256 = row.DigestAt<Sha256Digest>(1);
  file.size_bytes = static_cast<std::uint64_t>(row.Int(2));
  file.extension = row.String(3);
  file.state = static_cast<QuarantineState>(row.Int32(4));
  file.bundle = row.String(5);
  file.manifest = row.DigestAt<Sha256Digest>(6);
  file.why = ParseWithheldWhy(row.Text(7)).value_or(WithheldWhy::kRejected);
  file.output = row.String(8);
  file.scanner = row.String(9);
  file.at = row.Time(10);
  return file;
}

Result<std::vector<QuarantinedFile>> ReadRows(Statement& rows) {
  std::vector<QuarantinedFile> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back(ReadRow(rows));
  }
  TRY(rows.Check());
  return out;
}

Result<void> SetMode(const fs::path& path, ::mode_t mode) {
  if (::chmod(path.c_str(), mode) == 0) return {};
  return FailErrno(errno, "cannot set the mode of '" + path.string() + "'");
}

Result<void> LinkOrCopy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (!error) return {};
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (!error) return {};
  return FailErrno(error.value(), "cannot copy '" + from.string() + "'");
}

std::string Detail(const QuarantinedFile& file) {
  constexpr std::size_t kShown = 500;
  return WriteCanonicalJson(JsonValue::Object{{"bundle", file.bundle},
                                              {"manifest", file.manifest.ToHex()},
                                              {"output", EscapeForDisplay(file.output, kShown)},
                                              {"scanner", EscapeForDisplay(file.scanner, kShown)},
                                              {"sha256", file.sha256.ToHex()},
                                              {"size", file.size_bytes},
                                              {"why", WithheldWhyName(file.why)}});
}

Result<void> PutRow(Database& db, const QuarantinedFile& file) {
  return db.Run(
      "INSERT OR REPLACE INTO quarantine (sha1, sha256, size_bytes, extension, state, bundle, "
      "manifest, reason, output, scanner, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      file.sha1, file.sha256, file.size_bytes, file.extension, static_cast<int>(file.state),
      file.bundle, file.manifest, WithheldWhyName(file.why), file.output, file.scanner, file.at);
}

}  // namespace

std::string_view QuarantineStateName(QuarantineState state) {
  switch (state) {
    case QuarantineState::kWithheld:
      return "withheld";
    case QuarantineState::kReleased:
      return "released";
    case QuarantineState::kDiscarded:
      return "discarded";
  }
  return "unknown";
}

std::string QuarantinedFile::Name() const { return ContentPath(sha1, extension); }

Result<fs::path> Quarantine::Folder() const {
  const fs::path folder = mirror_.path() / "quarantine";
  TRY(CreateDirectories(folder, 0700));
  TRY(SetMode(folder, 0700));
  return folder;
}

fs::path Quarantine::PathOf(const QuarantinedFile& file) const {
  return mirror_.path() / "quarantine" / (file.sha1.ToHex(HexCase::kUpper) + "." + file.extension);
}

Result<void> Quarantine::Withhold(const std::vector<Arrival>& files, std::string_view actor) {
  if (files.empty()) return {};
  TRY_ASSIGN(const fs::path folder, Folder());
  for (const Arrival& arrival : files) {
    TRY(SetMode(arrival.staged, 0600));
    TRY(Rename(arrival.staged, PathOf(arrival.file)));
  }
  TRY(SyncFileSystem(folder));
  TRY_ASSIGN(auto tx, Transaction::Begin(mirror_.db(), TransactionKind::kWrite));
  for (const Arrival& arrival : files) {
    TRY(PutRow(mirror_.db(), arrival.file));
    TRY(AppendAudit(
        mirror_.db(), mirror_.clock().Now(),
        {std::string(actor), "quarantine.withhold", arrival.file.Name(), Detail(arrival.file)}));
  }
  return tx.Commit();
}

Result<std::vector<QuarantinedFile>> Quarantine::List(bool all) {
  TRY_ASSIGN(auto rows, mirror_.db().Prepare(std::string(kColumns) +
                                             "WHERE ? OR state = 1 ORDER BY at DESC, sha1"));
  rows.BindAll(all ? 1 : 0);
  return ReadRows(rows);
}

Result<std::optional<QuarantinedFile>> Quarantine::Find(const Sha1Digest& sha1) {
  TRY_ASSIGN(auto rows, mirror_.db().Prepare(std::string(kColumns) + "WHERE sha1 = ?"));
  rows.BindAll(sha1);
  TRY_ASSIGN(auto found, ReadRows(rows));
  if (found.empty()) return std::optional<QuarantinedFile>();
  return std::optional(std::move(found.front()));
}

Result<QuarantinedFile> Quarantine::FindByText(std::string_view text) {
  constexpr std::size_t kLeast = 6;
  const auto slash = text.rfind('/');
  std::string wanted = ToUpperAscii(slash == text.npos ? text : text.substr(slash + 1));
  if (const auto dot = wanted.find('.'); dot != wanted.npos) wanted.resize(dot);
  if (wanted.size() < kLeast || wanted.find_first_not_of("0123456789ABCDEF") != wanted.npos) {
    return Fail(ErrorCode::kUsage, "quarantine-name",
                fmt::format("'{}' is no SHA-1 and no beginning of one of at least {} digits",
                            EscapeForDisplay(text, 80), kLeast));
  }
  TRY_ASSIGN(const auto files, List(/*all=*/false));
  std::optional<QuarantinedFile> found;
  for (const QuarantinedFile& file : files) {
    if (!file.sha1.ToHex(HexCase::kUpper).starts_with(wanted)) continue;
    if (found) {
      return Fail(ErrorCode::kUsage, "quarantine-name",
                  fmt::format("several withheld files begin with '{}'", wanted));
    }
    found = file;
  }
  if (found) return *std::move(found);
  return Fail(ErrorCode::kNotFound, "quarantine-unknown",
              fmt::format("no file '{}' is withheld", EscapeForDisplay(text, 80)));
}

bool Quarantine::IsWithheld(const Sha1Digest& sha1) {
  const auto found = Find(sha1);
  return found && *found && (*found)->state == QuarantineState::kWithheld;
}

Result<void> Quarantine::Settle(const QuarantinedFile& file, QuarantineState state,
                                std::string_view action, std::string_view actor) {
  TRY_ASSIGN(auto tx, Transaction::Begin(mirror_.db(), TransactionKind::kWrite));
  TRY(mirror_.db().Run("UPDATE quarantine SET state = ? WHERE sha1 = ?", static_cast<int>(state),
                       file.sha1));
  TRY(AppendAudit(mirror_.db(), mirror_.clock().Now(),
                  {std::string(actor), std::string(action), file.Name(), Detail(file)}));
  TRY(tx.Commit());
  return RemoveFile(PathOf(file));
}

Result<void> Quarantine::Release(const QuarantinedFile& file, std::string_view actor) {
  if (!mirror_.content().Holds(file.sha1)) {
    const ContentExpectation expected{file.sha1, file.sha256, file.size_bytes, file.extension};
    TRY_ASSIGN(const fs::path staged, mirror_.content().StagedPath(expected));
    TRY(RemoveFile(staged));
    TRY(LinkOrCopy(PathOf(file), staged));
    TRY_ASSIGN(auto verified, ContentStore::VerifyStaged(staged, expected));
    TRY(SetMode(staged, 0644));
    std::vector<VerifiedContent> batch;
    batch.push_back(std::move(verified));
    TRY(mirror_.content().Publish(std::move(batch)));
  }
  return Settle(file, QuarantineState::kReleased, "quarantine.release", actor);
}

Result<void> Quarantine::Discard(const QuarantinedFile& file, std::string_view actor) {
  return Settle(file, QuarantineState::kDiscarded, "quarantine.discard", actor);
}

Result<void> Quarantine::Resolve(std::string_view actor) {
  TRY_ASSIGN(const auto files, List(/*all=*/false));
  for (const QuarantinedFile& file : files) {
    if (!mirror_.content().Holds(file.sha1)) continue;
    TRY(Settle(file, QuarantineState::kReleased, "quarantine.clean", actor));
  }
  return {};
}

Result<std::vector<UpdateOfFile>> UpdatesOfFile(Database& catalog, const Sha1Digest& sha1,
                                                int limit) {
  TRY_ASSIGN(auto rows, catalog.Prepare(
                            "SELECT DISTINCT i.guid, i.revision, coalesce(t.title, '') FROM "
                            "revision_file f JOIN revision r ON r.id = f.revision_id JOIN change c "
                            "ON c.id = r.change_id AND c.generation IS NOT NULL JOIN "
                            "revision_identity i ON i.id = r.id LEFT JOIN revision_text t ON "
                            "t.revision_id = r.id WHERE f.sha1 = ? ORDER BY i.guid, i.revision "
                            "LIMIT ?"));
  rows.BindAll(sha1, limit);
  std::vector<UpdateOfFile> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back({{rows.GuidAt(0), rows.Int32(1)}, rows.String(2)});
  }
  TRY(rows.Check());
  return out;
}

}  // namespace gapferry::mirror
