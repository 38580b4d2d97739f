#include "manifests/medium_set.h"

#include <algorithm>

#include "manifests/index.h"

namespace gapferry::manifests {

MediumSet::MediumSet(const std::vector<std::filesystem::path>& folders, Lacking lacking)
    : lacking_(lacking) {
  for (const auto& folder : folders) folders_.emplace_back(folder);
}

std::string MediumSet::Describe() const {
  std::string text;
  for (const auto& folder : folders_) text += (text.empty() ? "" : ", ") + folder.Describe();
  return text;
}

Result<std::vector<std::string>> MediumSet::List() {
  std::vector<std::string> all;
  for (auto& folder : folders_) {
    TRY_ASSIGN(auto names, folder.List());
    all.insert(all.end(), names.begin(), names.end());
  }
  std::ranges::sort(all);
  const auto [first, last] = std::ranges::unique(all);
  all.erase(first, last);
  return all;
}

Result<std::unique_ptr<MediumFile>> MediumSet::Open(std::string_view name) {
  const auto volume = VolumeOfFile(name);
  const bool largest = name == "manifest.json.sig";
  Result<std::unique_ptr<MediumFile>> found =
      volume && MayLackVolumes()
          ? Fail(ErrorCode::kNotFound, "volumes-missing",
                 "'" + std::string(name) + "' is on none of the media that are here")
          : Fail(ErrorCode::kNotFound, "'" + std::string(name) + "' is not in " + Describe());
  bool complete = false;
  for (auto& folder : folders_) {
    auto file = folder.Open(name);
    if (!file && file.error().code == ErrorCode::kNotFound) continue;
    if (!file) return file;
    if (volume) {
      const bool here = folder.Open(BlocksName(*volume)).has_value();
      if (found && (complete || !here)) continue;
      complete = here;
    } else if (found && (!largest || (*file)->size() <= (*found)->size())) {
      continue;
    }
    found = std::move(file);
    if (complete || (!volume && !largest)) return found;
  }
  return found;
}

}  // namespace gapferry::manifests
