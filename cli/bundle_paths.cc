#include "cli/bundle_paths.h"

#include <algorithm>
#include <string_view>

#include "base/file.h"
#include "base/text.h"
#include "importer/bundle_source.h"
#include "manifests/document.h"

namespace gapferry::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNameFolder =
    "name the folder gapferry-STREAM-NUMBER, or the medium it lies on";

std::string Shown(const fs::path& path) { return "'" + EscapeForDisplay(path.string(), 400) + "'"; }

bool IsReturnName(std::string_view name) {
  return name.starts_with("return-") && name.ends_with(".jsonl");
}

/// The folder of the bundle to which a file belongs: a label's beside it, else the one it lies in.
fs::path FolderOfFile(const fs::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view kBegin = "LABEL-", kEnd = ".txt";
  if (name.starts_with(kBegin) && name.ends_with(kEnd)) {
    return file.parent_path() /
           ("gapferry-" + name.substr(kBegin.size(), name.size() - kBegin.size() - kEnd.size()));
  }
  return file.parent_path();
}

bool IsBundle(const fs::path& folder) {
  const auto found = importer::BundleFoldersAt(folder.empty() ? "." : folder);
  return found && found->size() == 1;
}

std::unexpected<Error> IsAFile(const fs::path& path, const std::string& command) {
  const fs::path folder = FolderOfFile(path);
  return std::unexpected(Error{
      ErrorCode::kNotFound, Shown(path) + " is a file, and a bundle is a folder", "no-bundle",
      IsBundle(folder) ? "gapferry " + command + " " + (folder.empty() ? "." : folder.string())
                       : std::string(kNameFolder)});
}

/// Whatever of a bundle's chain is left in a damaged or unfinished one.
bool HasSomeOfIt(const fs::path& folder) {
  constexpr std::string_view kNames[] = {"README.txt", "SHA256SUMS", "manifest.json",
                                         "manifest.json.sig"};
  std::error_code ignored;
  return std::ranges::any_of(
      kNames, [&](std::string_view name) { return fs::exists(folder / name, ignored); });
}

}  // namespace

Result<std::vector<fs::path>> BundleFolders(const std::vector<std::string>& typed,
                                            const std::string& command) {
  std::vector<fs::path> folders;
  for (const fs::path path : typed) {
    std::error_code ignored;
    if (fs::is_regular_file(path, ignored)) return IsAFile(path, command);
    if (HasSomeOfIt(path)) {
      folders.push_back(path);
      continue;
    }
    auto found = importer::BundleFoldersAt(path);
    if (!found) {
      found.error().next = kNameFolder;
      return std::unexpected(std::move(found.error()));
    }
    if (found->size() > 1) {
      return std::unexpected(
          Error{ErrorCode::kUsage, std::to_string(found->size()) + " bundles lie in " + Shown(path),
                "several-bundles", "gapferry " + command + " " + found->back().string()});
    }
    folders.push_back(found->front());
  }
  return folders;
}

Result<void> CheckReturnPath(const fs::path& path) {
  const std::string name = path.filename().string();
  if (IsReturnName(name)) return {};
  TRY_ASSIGN(const File file, File::OpenRead(path));
  Bytes head(64);
  TRY_ASSIGN(const std::size_t size, file.ReadAt(0, head));
  head.resize(size);
  if (manifests::CheckDocumentType(head, manifests::DocumentType::kReturn)) return {};
  if (manifests::CheckDocumentType(head, manifests::DocumentType::kCard)) {
    return std::unexpected(Error{ErrorCode::kUsage, Shown(path) + " is a card", "no-return",
                                 "of a sender of bundles: gapferry trust add " + path.string() +
                                     "; of a site: gapferry site add " + path.string()});
  }
  const std::string stem = path.stem().string();
  if (IsReturnName(stem)) {
    return std::unexpected(
        Error{ErrorCode::kUsage, Shown(path) + " belongs to a return, it is none itself",
              "no-return", "gapferry import " + (path.parent_path() / stem).string()});
  }
  const fs::path folder = FolderOfFile(path);
  return std::unexpected(
      Error{ErrorCode::kUsage, Shown(path) + " is neither a return nor the folder of a bundle",
            "no-return",
            IsBundle(folder)
                ? "gapferry import " + (folder.empty() ? "." : folder.string())
                : std::string(kNameFolder) + "; a return is a file return-SITE-NUMBER.jsonl"});
}

Error NoBundlesHere(const fs::path& folder) {
  std::string last;
  if (const auto names = ListDirectory(folder)) {
    for (const std::string& name : *names) {
      if (IsReturnName(name)) last = std::max(last, name);
    }
  }
  return {ErrorCode::kUsage, "this mirror is not behind a gap: it imports returns, not bundles",
          "no-gap",
          last.empty() ? "gapferry import DIR/return-SITE-NUMBER.jsonl; a mirror that bundles feed "
                         "is made with: gapferry init --gap"
                       : "gapferry import " + (folder / last).string()};
}

}  // namespace gapferry::cli
