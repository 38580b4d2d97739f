#include "manifests/medium_set.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "base/sort.h"
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
  TRY_ASSIGN(auto copies, OpenCopies(name));
  return std::move(copies.front());
}

Result<std::vector<std::unique_ptr<MediumFile>>> MediumSet::OpenCopies(std::string_view name) {
  const auto volume = VolumeOfFile(name);
  std::vector<std::unique_ptr<MediumFile>> copies, unfinished;
  std::optional<Error> failure;
  for (auto& folder : folders_) {
    auto file = folder.Open(name);
    if (!file) {
      const bool absent = file.error().code == ErrorCode::kNotFound;
      // A link is nobody's damage: it is refused wherever it lies.
      if (file.error().code == ErrorCode::kCorrupt) return std::unexpected(file.error());
      if (!absent && !failure) failure = std::move(file.error());
      continue;
    }
    const bool is_finished = !volume || folder.Open(BlocksName(*volume)).has_value();
    (is_finished ? copies : unfinished).push_back(std::move(*file));
  }
  std::ranges::move(unfinished, std::back_inserter(copies));
  if (name == "manifest.json.sig") {
    SortStably(copies, [](const auto& a, const auto& b) { return a->size() > b->size(); });
  }
  if (!copies.empty()) return copies;
  if (failure) return std::unexpected(std::move(*failure));
  if (volume && MayLackVolumes()) {
    return Fail(ErrorCode::kNotFound, "volumes-missing",
                "'" + std::string(name) + "' is on none of the media that are here");
  }
  return Fail(ErrorCode::kNotFound, "'" + std::string(name) + "' is not in " + Describe());
}

}  // namespace gapferry::manifests
