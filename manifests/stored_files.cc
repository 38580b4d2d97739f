#include "manifests/stored_files.h"

#include <algorithm>

#include "base/text.h"
#include "manifests/block_hasher.h"
#include "manifests/parity.h"
#include "manifests/trust_document.h"

namespace gapferry::manifests {
namespace {

constexpr std::uint64_t kMaxReadmeBytes = 256 * 1024;
constexpr std::uint64_t kMaxSumsBytes = 2 << 20;

std::unexpected<Error> Corrupt(std::string reason, std::string message) {
  return Fail(ErrorCode::kCorrupt, std::move(reason), std::move(message));
}

Result<Sums> DecodeSums(std::string_view text) {
  Sums sums;
  const auto malformed = [&](std::string_view problem) {
    return Corrupt("sums-malformed", "SHA256SUMS line " + std::to_string(sums.size() + 1) + ": " +
                                         std::string(problem));
  };
  if (!text.ends_with('\n')) return malformed("the file does not end with a line end");
  for (const std::string_view line : Split(text.substr(0, text.size() - 1), '\n')) {
    const auto digest = Sha256Digest::FromHex(line.substr(0, 64));
    if (line.size() < 67 || !digest || digest->ToHex() != line.substr(0, 64) ||
        line.substr(64, 2) != "  ") {
      return malformed("expected 64 hex digits, two spaces and a name");
    }
    const std::string_view name = line.substr(66);
    if (!sums.empty() && sums.rbegin()->first >= name) return malformed("not sorted by name");
    sums.emplace(name, *digest);
  }
  return sums;
}

/// Which volumes an unsigned list of sums gives other sums than the manifest: where to look.
std::string OtherVolumes(std::string_view text, const Manifest& manifest) {
  std::string names;
  const auto sums = DecodeSums(text);
  if (!sums) return names;
  for (const VolumeSummary& volume : manifest.volumes) {
    const auto found = sums->find(volume.name);
    if (found != sums->end() && found->second == volume.sha256) continue;
    names += (names.empty() ? "; it differs about " : ", ") + volume.name;
    if (names.size() > 200) return names + " ...";
  }
  return names;
}

/// Volumes that do not lie there together with their blocks file.
std::set<std::uint32_t> AbsentVolumes(const std::vector<std::string>& present,
                                      const Manifest& manifest) {
  std::set<std::uint32_t> absent;
  for (std::uint32_t i = 1; i <= manifest.volumes.size(); ++i) {
    if (!std::ranges::binary_search(present, manifest.volumes[i - 1].name) ||
        !std::ranges::binary_search(present, BlocksName(i))) {
      absent.insert(i);
    }
  }
  return absent;
}

bool IsAmong(const std::set<std::uint32_t>& volumes, std::string_view file) {
  const auto volume = VolumeOfFile(file);
  return volume && volumes.contains(*volume);
}

/// Passes a failure on, or notes it when the file is not needed to read the others.
Result<void> NoteOrFail(DamagedFiles* damaged, std::string_view name, Error error) {
  if (damaged == nullptr || (name != "README.txt" && !name.starts_with("blocks-"))) {
    return std::unexpected(std::move(error));
  }
  damaged->try_emplace(std::string(name), std::move(error));
  return {};
}

Result<void> CheckSize(Medium& medium, const std::string& name, std::uint64_t size) {
  TRY_ASSIGN(const auto file, medium.Open(name));
  if (size == 0 || file->size() == size) return {};
  return Corrupt("file-size", "'" + name + "' has " + std::to_string(file->size()) +
                                  " bytes, expected " + std::to_string(size));
}

Result<void> CheckDigest(Medium& medium, const std::string& name, const Sha256Digest& digest) {
  TRY_ASSIGN(const auto file, medium.Open(name));
  MediumSource source(*file);
  HashingSink<Sha256Digest> hash;
  std::uint64_t limit = file->size();
  if (name == "README.txt") limit = kMaxReadmeBytes;
  if (name == kTrustFileName) limit = kMaxTrustFileBytes;
  TRY(Copy(source, hash, limit), "'" + name + "'");
  const Sha256Digest got = hash.Finish();
  if (got == digest) return {};
  return Corrupt(name.starts_with("index.jsonl.zst") ? "index-digest" : "file-digest",
                 "'" + name + "': digest mismatch: expected sha256:" + digest.ToHex() +
                     ", got sha256:" + got.ToHex());
}

/// Returns the absent volumes, which only a medium that may lack some has.
Result<std::set<std::uint32_t>> CheckListing(Medium& medium, const Sums& sums,
                                             const Manifest& manifest, DamagedFiles* damaged) {
  const auto expected = ExpectedFiles(sums, manifest);
  for (const auto& [name, digest] : sums) {
    if (!expected.contains(name)) {
      return Corrupt("sums-malformed", "SHA256SUMS lists '" + EscapeForDisplay(name, 60) +
                                           "', which is no file of this bundle");
    }
  }
  TRY_ASSIGN(const auto present, medium.List());
  std::set<std::uint32_t> absent;
  if (medium.MayLackVolumes()) absent = AbsentVolumes(present, manifest);
  for (const std::string& name : present) {
    const bool listed = expected.contains(name) || name == "SHA256SUMS" ||
                        name == "manifest.json" || name == "manifest.json.sig";
    if (!listed) {
      return Corrupt("file-unlisted",
                     "'" + EscapeForDisplay(name, 100) + "' lies in the bundle but is not listed");
    }
  }
  for (const auto& [name, size] : expected) {
    if (!sums.contains(name)) {
      return Corrupt("sums-malformed", "SHA256SUMS does not list '" + name + "'");
    }
    // Damage of what mends damage keeps nobody from reading a sound bundle.
    if (IsAmong(absent, name) || IsRepairName(name)) continue;
    Result<void> good;
    if (std::ranges::binary_search(present, name)) {
      good = CheckSize(medium, name, size);
    } else {
      good = Corrupt("file-missing", "'" + name + "' is missing");
    }
    if (!good) TRY(NoteOrFail(damaged, name, std::move(good.error())));
  }
  return absent;
}

/// Everything but volumes: these are checked object by object through the index, once.
Result<void> CheckSmallFiles(Medium& medium, const Sums& sums, const Manifest& manifest,
                             const std::set<std::uint32_t>& absent, DamagedFiles* damaged) {
  for (const auto& [name, digest] : sums) {
    const auto volume = std::ranges::find(manifest.volumes, name, &VolumeSummary::name);
    if (volume != manifest.volumes.end()) {
      if (volume->sha256 == digest) continue;
      return Corrupt("sums-malformed", "SHA256SUMS and the manifest disagree about '" + name + "'");
    }
    if (IsAmong(absent, name) || IsRepairName(name)) continue;
    auto good = CheckDigest(medium, name, digest);
    if (!good) TRY(NoteOrFail(damaged, name, std::move(good.error())));
  }
  return {};
}

/// First as fast as it goes, then, when the sum is wrong, block by block with repairs.
Result<void> CheckWholeVolume(Medium& medium, const VolumeSummary& volume, Progress* progress,
                              const std::stop_token& stop) {
  TRY_ASSIGN(const auto file, medium.Open(volume.name));
  Sha256Digest got;
  for (const auto reading : {MediumSource::Reading::kFast, MediumSource::Reading::kCareful}) {
    MediumSource source(*file, reading);
    HashingSink<Sha256Digest> hash;
    const auto copied = Copy(source, hash, file->size(), stop);
    if (!copied && reading == MediumSource::Reading::kFast &&
        copied.error().code != ErrorCode::kCancelled) {
      continue;
    }
    if (!copied) return WithContext(Error(copied.error()), "'" + volume.name + "'");
    got = hash.Finish();
    if (got != volume.sha256) continue;
    if (progress != nullptr) progress->Advance(1, volume.size);
    return {};
  }
  return Corrupt("volume-digest", "'" + volume.name + "': digest mismatch: expected sha256:" +
                                      volume.sha256.ToHex() + ", got sha256:" + got.ToHex());
}

}  // namespace

std::map<std::string, std::uint64_t> ExpectedFiles(const Sums& sums, const Manifest& manifest) {
  std::map<std::string, std::uint64_t> files;
  files["README.txt"] = 0;
  // There only when trust documents travel; the sums, which are signed, tell.
  if (sums.contains(kTrustFileName)) files[std::string(kTrustFileName)] = 0;
  files[StoredName(manifest, "index.jsonl.zst")] = manifest.index.size;
  if (manifest.sealed) files[StoredName(manifest, "details.json")] = manifest.sealed->size;
  for (std::uint32_t i = 0; i < manifest.volumes.size(); ++i) {
    const std::uint64_t size = manifest.volumes[i].size;
    files[manifest.volumes[i].name] = size;
    files[BlocksName(i + 1)] = BlocksFileBytes(size, manifest.parity);
    if (manifest.parity != 0) files[RepairName(i + 1)] = RepairFileBytes(size, manifest.parity);
  }
  if (manifest.parity != 0) files[std::string(kCopiesName)] = 0;
  return files;
}

Result<Bytes> ReadRequired(Medium& medium, std::string_view name, std::uint64_t limit) {
  auto bytes = ReadMediumFile(medium, name, limit);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kNotFound, "bundle-unfinished",
                "'" + medium.Describe() + "' has no " + std::string(name) +
                    ": no bundle, or an unfinished one");
  }
  return bytes;
}

Result<std::set<std::uint32_t>> CheckStoredFiles(Medium& medium, const Manifest& manifest,
                                                 DamagedFiles* damaged) {
  TRY_ASSIGN(const Bytes bytes, ReadRequired(medium, "SHA256SUMS", kMaxSumsBytes));
  const Sha256Digest digest = Sha256(bytes);
  if (digest != manifest.sums_sha256 || bytes.size() != manifest.sums_size) {
    return Corrupt("sums-digest", "SHA256SUMS is not the list that was signed: expected sha256:" +
                                      manifest.sums_sha256.ToHex() + ", got sha256:" +
                                      digest.ToHex() + OtherVolumes(AsText(bytes), manifest));
  }
  TRY_ASSIGN(const Sums sums, DecodeSums(AsText(bytes)));
  TRY_ASSIGN(auto absent, CheckListing(medium, sums, manifest, damaged));
  TRY(CheckSmallFiles(medium, sums, manifest, absent, damaged));
  return absent;
}

Result<StoredCheck> VerifyStored(Medium& medium, const VerifiedManifest& verified,
                                 Progress* progress, const std::stop_token& stop) {
  const Manifest& manifest = verified.manifest();
  StoredCheck out;
  TRY_ASSIGN(out.absent_volumes, CheckStoredFiles(medium, manifest));
  std::uint64_t bytes = 0;
  for (const VolumeSummary& volume : manifest.volumes) bytes += volume.size;
  if (progress != nullptr) progress->Begin("verifying", manifest.volumes.size(), bytes);
  for (std::uint32_t number = 1; number <= manifest.volumes.size(); ++number) {
    if (out.absent_volumes.contains(number)) continue;
    const VolumeSummary& volume = manifest.volumes[number - 1];
    TRY(CheckWholeVolume(medium, volume, progress, stop));
    ++out.volumes;
    out.bytes += volume.size;
  }
  if (progress != nullptr) progress->End();
  return out;
}

}  // namespace gapferry::manifests
