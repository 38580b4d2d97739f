#include "manifests/bundle_verifier.h"

#include <algorithm>
#include <map>

#include "base/text.h"
#include "manifests/block_hasher.h"
#include "manifests/parity.h"
#include "manifests/zstd_stream.h"

namespace gapferry::manifests {
namespace {

constexpr std::uint64_t kMaxReadmeBytes = 256 * 1024;
constexpr std::uint64_t kMaxSumsBytes = 2 << 20;

std::unexpected<Error> Corrupt(std::string reason, std::string message) {
  return Fail(ErrorCode::kCorrupt, std::move(reason), std::move(message));
}

/// A MediumFile as a stream.
class MediumSource : public Source {
 public:
  explicit MediumSource(const MediumFile& file) : file_(file) {}
  Result<std::size_t> Read(std::span<std::uint8_t> out) override {
    TRY_ASSIGN(const std::size_t count, file_.ReadAt(at_, out));
    at_ += count;
    return count;
  }

 private:
  const MediumFile& file_;
  std::uint64_t at_ = 0;
};

using Sums = std::map<std::string, Sha256Digest, std::less<>>;

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

/// The files whose sums are listed, with the sizes they must have (0: not stated).
std::map<std::string, std::uint64_t> ExpectedFiles(const Manifest& manifest) {
  std::map<std::string, std::uint64_t> files;
  files["README.txt"] = 0;
  files["index.jsonl.zst"] = manifest.index.size;
  for (std::uint32_t i = 0; i < manifest.volumes.size(); ++i) {
    const std::uint64_t size = manifest.volumes[i].size;
    files[VolumeName(i + 1)] = size;
    files[BlocksName(i + 1)] = BlocksFileBytes(size, manifest.parity);
    if (manifest.parity != 0) files[RepairName(i + 1)] = RepairFileBytes(size, manifest.parity);
  }
  if (manifest.parity != 0) files[std::string(kCopiesName)] = 0;
  return files;
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

/// Returns the absent volumes, which only a medium that may lack some has.
Result<std::set<std::uint32_t>> CheckListing(Medium& medium, const Sums& sums,
                                             const Manifest& manifest) {
  const auto expected = ExpectedFiles(manifest);
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
    if (!std::ranges::binary_search(present, name)) {
      return Corrupt("file-missing", "'" + name + "' is missing");
    }
    TRY_ASSIGN(const auto file, medium.Open(name));
    if (size != 0 && file->size() != size) {
      return Corrupt("file-size", "'" + name + "' has " + std::to_string(file->size()) +
                                      " bytes, expected " + std::to_string(size));
    }
  }
  return absent;
}

/// Everything but volumes: these are checked object by object through the index, once.
Result<void> CheckSmallFiles(Medium& medium, const Sums& sums, const Manifest& manifest,
                             const std::set<std::uint32_t>& absent) {
  for (const auto& [name, digest] : sums) {
    const auto volume = std::ranges::find(manifest.volumes, name, &VolumeSummary::name);
    if (volume != manifest.volumes.end()) {
      if (volume->sha256 == digest) continue;
      return Corrupt("sums-malformed", "SHA256SUMS and the manifest disagree about '" + name + "'");
    }
    if (IsAmong(absent, name) || IsRepairName(name)) continue;
    TRY_ASSIGN(const auto file, medium.Open(name));
    MediumSource source(*file);
    HashingSink<Sha256Digest> hash;
    const std::uint64_t limit = name == "README.txt" ? kMaxReadmeBytes : file->size();
    TRY(Copy(source, hash, limit), "'" + name + "'");
    const Sha256Digest got = hash.Finish();
    if (got == digest) continue;
    return Corrupt(name == "index.jsonl.zst" ? "index-digest" : "file-digest",
                   "'" + name + "': digest mismatch: expected sha256:" + digest.ToHex() +
                       ", got sha256:" + got.ToHex());
  }
  return {};
}

/// Splits decoded text into lines, checks each and keeps it.
class IndexSink : public Sink {
 public:
  Result<void> Write(ByteView bytes) override {
    hash_.Update(bytes);
    raw_size_ += bytes.size();
    std::string_view text = AsText(bytes);
    for (;;) {
      const std::size_t end = text.find('\n');
      if (partial_.size() + std::min(end, text.size()) > kMaxIndexLineBytes) {
        return Corrupt("index-malformed",
                       "index line " + std::to_string(lines_.size() + 1) + ": too long");
      }
      if (end == std::string_view::npos) {
        partial_ += text;
        return {};
      }
      partial_ += text.substr(0, end);
      TRY_ASSIGN(IndexLine line, DecodeIndexLine(partial_, lines_.size() + 1));
      TRY(checker_.Add(line));
      lines_.push_back(std::move(line));
      partial_.clear();
      text.remove_prefix(end + 1);
    }
  }

  Result<std::vector<IndexLine>> Finish(const Manifest& manifest) {
    if (!partial_.empty()) return Corrupt("index-malformed", "index: the last line does not end");
    TRY_ASSIGN(const auto sizes, checker_.Finish());
    if (raw_size_ != manifest.index.raw_size || hash_.Finish() != manifest.index.raw_sha256 ||
        lines_.size() != manifest.index.lines) {
      return Corrupt("index-digest", "index: decoded text is not what the manifest states");
    }
    if (sizes.size() != manifest.volumes.size()) {
      return Corrupt("index-volumes", "index: names " + std::to_string(sizes.size()) +
                                          " volumes, the manifest " +
                                          std::to_string(manifest.volumes.size()));
    }
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] == manifest.volumes[i].size) continue;
      return Corrupt("index-volumes", "index: fills " + std::to_string(sizes[i]) + " bytes of '" +
                                          manifest.volumes[i].name + "', the manifest states " +
                                          std::to_string(manifest.volumes[i].size));
    }
    return std::move(lines_);
  }

 private:
  std::string partial_;
  std::vector<IndexLine> lines_;
  IndexChecker checker_;
  Sha256Hasher hash_;
  std::uint64_t raw_size_ = 0;
};

Result<std::vector<IndexLine>> ReadIndex(Medium& medium, const Manifest& manifest) {
  TRY_ASSIGN(const auto file, medium.Open("index.jsonl.zst"));
  MediumSource stored(*file);
  ZstdSource decoded(stored, manifest.index.raw_size);
  IndexSink sink;
  TRY(Copy(decoded, sink, manifest.index.raw_size), "index");
  return sink.Finish(manifest);
}

Result<void> CheckRecipient(const Manifest& manifest, const Addressee& wanted) {
  const auto found = std::ranges::find(manifest.recipients, wanted.guid, &Recipient::guid);
  if (found == manifest.recipients.end()) {
    return Fail(ErrorCode::kUntrusted, "recipient-foreign",
                "is for " + EscapeForDisplay(manifest.recipients.front().name, 64) + " (" +
                    manifest.recipients.front().guid.ToString() + "), this mirror is " +
                    wanted.guid.ToString());
  }
  if (found->key_id != wanted.encryption_key_id) {
    return Fail(ErrorCode::kUntrusted, "recipient-foreign",
                "is for key " + found->key_id.ToHex() + " of this mirror, whose key is " +
                    wanted.encryption_key_id.ToHex());
  }
  return {};
}

Result<Bytes> ReadSigned(Medium& medium, std::string_view name, std::uint64_t limit) {
  auto bytes = ReadMediumFile(medium, name, limit);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) {
    return Fail(ErrorCode::kNotFound, "bundle-unfinished",
                "'" + medium.Describe() + "' has no " + std::string(name) +
                    ": no bundle, or an unfinished one");
  }
  return bytes;
}

}  // namespace

Result<VerifiedManifest> VerifyManifest(Medium& medium, const TrustPolicy& policy,
                                        const std::optional<Addressee>& recipient) {
  VerifiedManifest out;
  TRY_ASSIGN(const Bytes signatures,
             ReadSigned(medium, "manifest.json.sig", kMaxSignatureFileBytes));
  TRY_ASSIGN(out.bytes_, ReadSigned(medium, "manifest.json", kMaxManifestBytes));
  TRY_ASSIGN(out.signatures_,
             CheckSignatures(out.bytes_, DocumentType::kManifest, AsText(signatures), policy),
             "manifest.json");
  out.digest_ = Sha256(out.bytes_);
  TRY_ASSIGN(out.manifest_, DecodeManifest(out.bytes_));
  const TrustedKey& origin = out.signatures_.origin;
  if (out.manifest_.sender.guid != origin.holder ||
      out.manifest_.sender.key_id != origin.key.Id()) {
    return Fail(ErrorCode::kUntrusted, "sender-mismatch",
                "the manifest says it comes from " + out.manifest_.sender.guid.ToString() +
                    ", signed is it by " + origin.holder.ToString());
  }
  if (recipient) TRY(CheckRecipient(out.manifest_, *recipient), out.manifest_.DirectoryName());
  return out;
}

Result<VerifiedIndex> VerifyIndex(Medium& medium, VerifiedManifest manifest) {
  VerifiedIndex out(std::move(manifest));
  const Manifest& stated = out.manifest_.manifest();
  TRY_ASSIGN(const Bytes bytes, ReadSigned(medium, "SHA256SUMS", kMaxSumsBytes));
  const Sha256Digest digest = Sha256(bytes);
  if (digest != stated.sums_sha256 || bytes.size() != stated.sums_size) {
    return Corrupt("sums-digest", "SHA256SUMS is not the list that was signed: expected sha256:" +
                                      stated.sums_sha256.ToHex() + ", got sha256:" +
                                      digest.ToHex() + OtherVolumes(AsText(bytes), stated));
  }
  TRY_ASSIGN(const Sums sums, DecodeSums(AsText(bytes)));
  TRY_ASSIGN(out.absent_volumes_, CheckListing(medium, sums, stated));
  TRY(CheckSmallFiles(medium, sums, stated, out.absent_volumes_));
  TRY_ASSIGN(out.lines_, ReadIndex(medium, stated));
  return out;
}

}  // namespace gapferry::manifests
