#include "importer/bundle_source.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "importer/arrival.h"
#include "importer/own_side.h"
#include "manifests/medium_set.h"
#include "manifests/stored_files.h"
#include "manifests/trust_document.h"

namespace gapferry::importer {
namespace {

constexpr std::uint64_t kMaxSmallFile = 1ULL << 30;
constexpr std::uint64_t kMaxSums = 2 << 20;
constexpr std::uint64_t kMaxReadme = 256 * 1024;
constexpr std::size_t kMaxShown = 8;

/// A medium is somebody's: it may hold anything, and whoever typed its path waits.
constexpr std::size_t kMaxLookedAt = 100'000;
constexpr std::size_t kMaxFolders = 1'000;

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(fs::symlink_status(path, error));
}

/// What makes a folder a bundle's, or a part of one.
bool LooksLikeBundle(const fs::path& folder) {
  if (IsFile(folder / "manifest.json")) return true;
  if (!IsFile(folder / "README.txt")) return false;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (std::size_t i = 0; !error && i < manifests::kMaxMediumEntries && it != fs::end(it); ++i) {
    if (manifests::VolumeOfFile(it->path().filename().string())) return true;
    it.increment(error);
  }
  return false;
}

std::unexpected<Error> TooMuch(const fs::path& path, std::size_t limit, const char* what) {
  return Fail(ErrorCode::kUsage, "medium-too-full",
              "'" + EscapeForDisplay(path.string(), 400) + "' holds more than " +
                  std::to_string(limit) + " " + what + ", too many to look through");
}

/// Folders gapferry-* that lie directly in `path`, sorted.
Result<std::vector<fs::path>> CandidatesIn(const fs::path& path) {
  std::vector<fs::path> folders;
  std::error_code error;
  std::size_t seen = 0;
  fs::directory_iterator it(path, error);
  for (; !error && it != fs::end(it); it.increment(error)) {
    if (++seen > kMaxLookedAt) return TooMuch(path, kMaxLookedAt, "files and folders");
    std::error_code ignored;
    if (!it->path().filename().string().starts_with("gapferry-") ||
        !fs::is_directory(it->symlink_status(ignored))) {
      continue;
    }
    if (folders.size() == kMaxFolders) return TooMuch(path, kMaxFolders, "folders gapferry-*");
    folders.push_back(it->path());
  }
  if (error) {
    return FailErrno(error.value(), "cannot list '" + EscapeForDisplay(path.string(), 400) + "'");
  }
  std::ranges::sort(folders);
  return folders;
}

}  // namespace

Result<std::vector<fs::path>> BundleFoldersAt(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return Fail(ErrorCode::kNotFound, "no-bundle",
                fs::exists(path, error)
                    ? "'" + EscapeForDisplay(path.string(), 400) + "' is no folder"
                    : "there is no '" + EscapeForDisplay(path.string(), 400) + "'");
  }
  // Without the last slash, so that it has a name.
  if (LooksLikeBundle(path)) return std::vector{path.has_filename() ? path : path.parent_path()};
  TRY_ASSIGN(auto folders, CandidatesIn(path));
  std::erase_if(folders, [](const fs::path& folder) { return !LooksLikeBundle(folder); });
  if (!folders.empty()) return folders;
  return Fail(ErrorCode::kNotFound, "no-bundle",
              "'" + EscapeForDisplay(path.string(), 400) +
                  "' is no bundle, and has no folder gapferry-* that is one");
}

namespace {

/// What SHA256SUMS says of README.txt: what folders of one bundle have in common.
std::optional<Sha256Digest> ReadmeListedIn(const fs::path& folder) {
  const auto text = ReadTextFile(folder / "SHA256SUMS", kMaxSums);
  if (!text) return std::nullopt;
  for (const std::string_view line : Split(*text, '\n')) {
    if (!line.ends_with("  README.txt")) continue;
    const auto digest = Sha256Digest::FromHex(line.substr(0, 64));
    if (digest) return *digest;
  }
  return std::nullopt;
}

/// Folders with the same manifest, and those without one that belong to them.
struct Candidate {
  std::optional<Sha256Digest> readme;
  std::vector<fs::path> folders;
  bool is_named = false;  ///< by what the user gave, and not only by what was kept
};
using Candidates = std::map<Sha256Digest, Candidate>;

void AddManifest(Candidates& candidates, const fs::path& folder, bool is_named) {
  const auto bytes = ReadFile(folder / "manifest.json", manifests::kMaxManifestBytes);
  // One that cannot be read stands alone, so that verification tells what is wrong.
  Candidate& one = candidates[bytes ? Sha256(*bytes) : Sha256("unreadable " + folder.string())];
  if (!one.readme) one.readme = ReadmeListedIn(folder);
  one.folders.push_back(folder);
  one.is_named = one.is_named || is_named;
}

/// Bundles of which some media were read before.
Result<void> AddKept(mirror::Mirror& mirror, Candidates& candidates) {
  TRY_ASSIGN(const auto names, ListDirectory(mirror.staging()));
  for (const std::string& name : names) {
    const fs::path folder = mirror.staging() / name / kKeptFolder;
    if (name.starts_with("import-") && IsFile(folder / "manifest.json")) {
      AddManifest(candidates, folder, false);
    }
  }
  return {};
}

/// Returns the folders that belong to no manifest that is known.
std::vector<fs::path> AddRest(Candidates& candidates, const std::vector<fs::path>& rest) {
  std::vector<fs::path> orphans;
  for (const fs::path& folder : rest) {
    const auto readme = ReadFile(folder / "README.txt", kMaxReadme);
    const auto found = std::ranges::find_if(candidates, [&](const auto& one) {
      return readme && one.second.readme && Sha256(*readme) == *one.second.readme;
    });
    if (found == candidates.end()) {
      orphans.push_back(folder);
      continue;
    }
    found->second.folders.push_back(folder);
    found->second.is_named = true;
  }
  return orphans;
}

std::string VolumesIn(const fs::path& folder) {
  std::set<std::uint32_t> volumes;
  const auto names = ListDirectory(folder);
  if (!names) return "";
  for (const std::string& name : *names) {
    if (const auto volume = manifests::VolumeOfFile(name)) volumes.insert(*volume);
  }
  if (volumes.empty()) return "no volume";
  if (volumes.size() == 1) return manifests::VolumeName(*volumes.begin());
  return std::to_string(volumes.size()) + " volumes, " + manifests::VolumeName(*volumes.begin()) +
         " to " + manifests::VolumeName(*volumes.rbegin());
}

std::unexpected<Error> ManifestElsewhere(const fs::path& folder) {
  return Fail(ErrorCode::kNotFound, "manifest-elsewhere",
              "'" + EscapeForDisplay(folder.string(), 400) + "' carries " + VolumesIn(folder) +
                  " but no manifest.json: the medium that was written last has it, and is read "
                  "first");
}

struct Verdict {
  const Candidate* candidate = nullptr;
  std::optional<Arrival> arrival;
  std::uint64_t sequence = 0;
  std::string stream;
  bool is_refused = false;  ///< for this mirror and not old, as it says itself
  std::string why;
};

/// What the manifest of a candidate says, signed or not.
std::optional<manifests::Manifest> StatedManifest(const Candidate& candidate) {
  const auto with_manifest = std::ranges::find_if(
      candidate.folders, [](const fs::path& folder) { return IsFile(folder / "manifest.json"); });
  if (with_manifest == candidate.folders.end()) return std::nullopt;
  const auto bytes = ReadFile(*with_manifest / "manifest.json", manifests::kMaxManifestBytes);
  if (!bytes) return std::nullopt;
  auto stated = manifests::DecodeManifest(*bytes);
  if (!stated) return std::nullopt;
  return std::move(*stated);
}

/// What a refused manifest says of itself: good for choosing what is verified.
void AddStated(Verdict& verdict, const Guid& own, const Error& error) {
  const auto stated = StatedManifest(*verdict.candidate);
  if (!stated) return;
  verdict.sequence = stated->sequence;
  verdict.stream = stated->stream;
  verdict.is_refused = error.reason != "bundle-replayed" && error.reason != "bundle-older" &&
                       std::ranges::find(stated->recipients, own, &manifests::Recipient::guid) !=
                           stated->recipients.end();
}

/// That a key of ours cannot be used says nothing of the bundle: it must not look refused.
bool IsAboutOwnKeys(const Error& error) {
  return error.reason.starts_with("passphrase-") || error.reason.starts_with("key-") ||
         error.reason.starts_with("token-") || error.code == ErrorCode::kCancelled;
}

Result<Verdict> Judge(mirror::Mirror& mirror, const Candidate& candidate, bool new_history) {
  Verdict verdict{.candidate = &candidate, .arrival = {}, .stream = {}, .why = {}};
  manifests::MediumSet medium(candidate.folders, manifests::Lacking::kElsewhere);
  const auto judged = [&]() -> Result<void> {
    TRY_ASSIGN(const OwnSide own, ReadOwnSide(mirror, &medium));
    TRY_ASSIGN(const auto manifest, manifests::VerifyManifest(medium, own.policy, own.addressee));
    verdict.sequence = manifest.manifest().sequence;
    verdict.stream = manifest.manifest().stream;
    TRY_ASSIGN(verdict.arrival, CheckArrival(mirror, manifest, {new_history}));
    return {};
  }();
  if (!judged && IsAboutOwnKeys(judged.error())) return std::unexpected(judged.error());
  if (!judged) {
    verdict.why = judged.error().message;
    AddStated(verdict, mirror.identity().guid, judged.error());
  }
  if (verdict.arrival == Arrival::kAlreadyImported) verdict.why = "was imported already";
  return verdict;
}

/// The one that can be imported, the lowest number first; else the last one that was. One that is
/// refused though it claims to be newer than that is chosen, so that it is refused aloud: "was
/// imported already" would look like success.
const Verdict* Choose(const std::vector<Verdict>& verdicts) {
  const Verdict* chosen = nullptr;
  for (const Verdict& one : verdicts) {
    if (one.arrival != Arrival::kNew) continue;
    if (chosen == nullptr || one.sequence < chosen->sequence) chosen = &one;
  }
  if (chosen != nullptr) return chosen;
  for (const Verdict& one : verdicts) {
    if (one.arrival != Arrival::kAlreadyImported) continue;
    if (chosen == nullptr || one.sequence > chosen->sequence) chosen = &one;
  }
  if (chosen == nullptr) return nullptr;
  const Verdict& last = *chosen;
  for (const Verdict& one : verdicts) {
    if (!one.is_refused || (one.stream == last.stream && one.sequence <= last.sequence)) continue;
    if (chosen == &last || one.sequence < chosen->sequence) chosen = &one;
  }
  return chosen;
}

/// Another copy of the same bundle whose manifest is damaged: its volumes may be right where those
/// of the chosen one are not. All of them are checked.
bool IsCopyOf(const Verdict& one, const Verdict& chosen) {
  if (one.arrival) return false;
  const auto readme = ReadFile(one.candidate->folders.back() / "README.txt", kMaxReadme);
  return readme && std::ranges::any_of(chosen.candidate->folders, [&](const fs::path& folder) {
           const auto other = ReadFile(folder / "README.txt", kMaxReadme);
           return other && *other == *readme;
         });
}

/// Names of all files that the bundle can have.
std::set<std::string> FilesOf(const Candidate& candidate) {
  std::set<std::string> names;
  const auto stated = StatedManifest(candidate);
  if (!stated) return names;
  manifests::Sums sums;
  const std::string trust(manifests::kTrustFileName);
  for (const fs::path& folder : candidate.folders) {
    if (IsFile(folder / trust)) sums[trust] = {};
  }
  for (const auto& [name, size] : manifests::ExpectedFiles(sums, *stated)) names.insert(name);
  names.insert({"manifest.json", "manifest.json.sig", "SHA256SUMS"});
  return names;
}

/// Why the bundle with `files` would be refused if these folders were read together with its own:
/// whatever is no plain file of it. Empty: it would not.
std::string StrangerIn(const std::vector<fs::path>& folders, const std::set<std::string>& files) {
  for (const fs::path& folder : folders) {
    std::error_code error;
    fs::directory_iterator it(folder, error);
    for (; !error && it != fs::end(it); it.increment(error)) {
      const std::string name = it->path().filename().string();
      if (manifests::IsLitter(name) || (files.contains(name) && IsFile(it->path()))) continue;
      return "nothing is taken from it, since '" + EscapeForDisplay(name, 100) +
             "' in it is no file of the bundle";
    }
    if (error) return "nothing is taken from it, since it cannot be listed";
  }
  return "";
}

Result<BundleSource> ChooseAmong(mirror::Mirror& mirror, const Candidates& candidates,
                                 bool new_history) {
  BundleSource source;
  std::vector<Verdict> verdicts;
  for (const auto& [digest, candidate] : candidates) {
    TRY_ASSIGN(verdicts.emplace_back(), Judge(mirror, candidate, new_history));
  }
  const Verdict* chosen = Choose(verdicts);
  if (chosen != nullptr) {
    source.folders = chosen->candidate->folders;
    source.named = source.folders.back();
  }
  std::string listed;
  for (const Verdict& one : verdicts) {
    if (&one == chosen) continue;
    std::string why = one.why.empty() ? "its turn comes later" : one.why;
    if (chosen != nullptr && IsCopyOf(one, *chosen)) {
      const auto& folders = one.candidate->folders;
      const std::string stranger = StrangerIn(folders, FilesOf(*chosen->candidate));
      if (stranger.empty()) {
        source.folders.insert(source.folders.end(), folders.begin(), folders.end());
        continue;
      }
      why += "; " + stranger;
    }
    source.others.push_back({one.candidate->folders.back(), why});
    if (source.others.size() > kMaxShown) continue;
    listed += "; " + EscapeForDisplay(one.candidate->folders.back().filename().string(), 100) +
              ": " + why;
  }
  if (chosen == nullptr) {
    return Fail(ErrorCode::kNotFound, "no-bundle-due",
                std::to_string(verdicts.size()) +
                    " bundles lie there, none of which can be "
                    "imported now" +
                    listed);
  }
  return source;
}

}  // namespace

Result<BundleSource> FindBundle(mirror::Mirror& mirror, const std::vector<fs::path>& paths,
                                bool new_history) {
  Candidates candidates;
  std::vector<fs::path> rest;
  TRY(AddKept(mirror, candidates));
  for (const fs::path& path : paths) {
    TRY_ASSIGN(const auto folders, BundleFoldersAt(path));
    for (const fs::path& folder : folders) {
      if (IsFile(folder / "manifest.json")) {
        AddManifest(candidates, folder, true);
      } else {
        rest.push_back(folder);
      }
    }
  }
  const std::vector<fs::path> orphans = AddRest(candidates, rest);
  std::erase_if(candidates, [](const auto& one) { return !one.second.is_named; });
  if (candidates.empty()) return ManifestElsewhere(orphans.front());
  BundleSource source;
  if (candidates.size() == 1) {
    source.folders = candidates.begin()->second.folders;
    source.named = source.folders.back();
  } else {
    TRY_ASSIGN(source, ChooseAmong(mirror, candidates, new_history));
  }
  for (const fs::path& folder : orphans) {
    source.others.push_back({folder, "its manifest lies on another medium"});
  }
  return source;
}

Result<void> KeepSmallFiles(manifests::Medium& medium, const manifests::VerifiedManifest& manifest,
                            const fs::path& folder) {
  TRY(CreateDirectories(folder));
  TRY_ASSIGN(const auto names, medium.List());
  for (const std::string& name : names) {
    if (manifests::VolumeOfFile(name)) continue;
    Bytes bytes;
    if (name == "manifest.json.sig") {
      bytes = manifest.signature_bytes();
    } else {
      TRY_ASSIGN(bytes, manifests::ReadMediumFile(medium, name, kMaxSmallFile));
    }
    const auto kept = ReadFile(folder / name, kMaxSmallFile);
    if (!kept || *kept != bytes) TRY(WriteFileAtomically(folder / name, bytes));
  }
  return {};
}

}  // namespace gapferry::importer
