#include "mirror/exchange/needed_files.h"

#include <map>

#include "mirror/exchange/needed_updates.h"
#include "mirror/row_reading.h"

namespace gapferry::mirror::exchange {

Result<std::vector<DeclaredFile>> NeededFiles(Mirror& mirror, bool all) {
  NeedRules rules;
  rules.all = all;
  rules.express = mirror.config().content.express;
  TRY_ASSIGN(Need need, FindNeed(mirror, rules));
  std::map<Sha1Digest, DeclaredFile> files;
  for (DeclaredFile& file : need.licences) files.emplace(file.sha1, std::move(file));
  for (NeededUpdate& update : need.updates) {
    for (DeclaredFile& file : update.files) files.emplace(file.sha1, std::move(file));
  }
  std::vector<DeclaredFile> out;
  out.reserve(files.size());
  for (auto& [sha1, file] : files) out.push_back(std::move(file));
  return out;
}

Result<std::vector<Declaration>> DeclarationsOf(Mirror& mirror, const Sha1Digest& sha1) {
  TRY_ASSIGN(
      auto rows,
      mirror.db().Prepare("SELECT DISTINCT sha256, size_bytes FROM revision_file WHERE sha1 = ?"));
  rows.BindAll(sha1);
  std::vector<Declaration> out;
  for (;;) {
    TRY_ASSIGN(const bool row, rows.Step());
    if (!row) break;
    out.push_back({rows.OptionalDigest<Sha256Digest>(0), static_cast<std::uint64_t>(rows.Int(1))});
  }
  TRY(rows.Check());
  return out;
}

Result<std::vector<RevisionId>> DeclaringRevisions(Mirror& mirror, const Sha1Digest& sha1) {
  TRY_ASSIGN(auto rows,
             mirror.db().Prepare("SELECT DISTINCT f.revision_id FROM revision_file f JOIN revision "
                                 "r ON r.id = f.revision_id JOIN change c ON c.id = r.change_id "
                                 "WHERE f.sha1 = ? AND c.generation IS NOT NULL LIMIT 16"));
  rows.BindAll(sha1);
  return ReadAllRows(rows, [](Statement& row) { return row.Int32(0); });
}

}  // namespace gapferry::mirror::exchange
