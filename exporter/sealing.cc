#include "exporter/sealing.h"

#include <filesystem>

#include "base/file.h"
#include "base/text.h"

namespace gapferry::exporter {
namespace {

namespace fs = std::filesystem;
using mirror::Mirror;

/// Bundles of a stream without receipts that can still be written again.
constexpr std::uint64_t kKeptSecrets = 16;

fs::path Folder(Mirror& mirror) { return mirror.keys().encryption.parent_path() / "sealing"; }

}  // namespace

Result<std::optional<manifests::Sealing>> SealingOf(Mirror& mirror, const StoredPlan& plan,
                                                    bool is_signed) {
  if (plan.seal_for.empty()) return std::optional<manifests::Sealing>();
  const fs::path path = Folder(mirror) / plan.draft.DirectoryName();
  auto known = manifests::BundleSecret::Load(path);
  if (known) return std::optional(manifests::Sealing{*known, plan.seal_for});
  if (known.error().code != ErrorCode::kNotFound) return std::unexpected(std::move(known.error()));
  if (is_signed) {
    const std::string number = std::to_string(plan.draft.sequence);
    return std::unexpected(Error{ErrorCode::kUsage,
                                 plan.draft.DirectoryName() +
                                     " was sealed with a secret that is not in '" + path.string() +
                                     "' any more: it cannot be made again",
                                 "plan-gone",
                                 "gapferry bundle abandon " + plan.draft.stream + " " + number +
                                     ", then gapferry export --to DIR --for " + plan.draft.stream});
  }
  TRY(CreateDirectories(Folder(mirror), 0700));
  const auto secret = manifests::BundleSecret::Draw();
  TRY(secret.Save(path));
  return std::optional(manifests::Sealing{secret, plan.seal_for});
}

Result<void> ForgetSecret(Mirror& mirror, const manifests::Manifest& draft) {
  return RemoveFile(Folder(mirror) / draft.DirectoryName());
}

Result<void> TidySecrets(Mirror& mirror, const mirror::Destination& destination) {
  auto names = ListDirectory(Folder(mirror));
  if (!names && names.error().code == ErrorCode::kNotFound) return {};
  if (!names) return std::unexpected(std::move(names.error()));
  const std::string prefix = "gapferry-" + destination.stream + "-";
  mirror::Ledger ledger(mirror.db());
  for (const std::string& name : *names) {
    if (!name.starts_with(prefix)) continue;
    const auto sequence = ParseInt<std::uint64_t>(std::string_view(name).substr(prefix.size()));
    if (!sequence) continue;  // of a stream with a longer name
    TRY_ASSIGN(const auto bundle, ledger.FindBundle(destination.guid, *sequence));
    const bool needed = bundle && bundle->state != mirror::BundleState::kVoid &&
                        bundle->state != mirror::BundleState::kAcknowledged &&
                        *sequence + kKeptSecrets > destination.last_sequence;
    if (!needed) TRY(RemoveFile(Folder(mirror) / name));
  }
  return {};
}

Result<manifests::Manifest> ReadWritten(ByteView bytes, const manifests::Manifest& draft) {
  TRY_ASSIGN(auto manifest, manifests::DecodeManifest(bytes));
  if (!manifest.sealed) return manifest;
  const manifests::IndexSummary index = manifest.index;
  TRY(manifests::DecodeDetails(AsBytes(manifests::EncodeDetails(draft)), manifest));
  manifest.index = index;
  return manifest;
}

}  // namespace gapferry::exporter
