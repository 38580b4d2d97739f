#include "manifests/bundle_verifier.h"

#include <algorithm>

#include "base/text.h"
#include "manifests/opened_medium.h"
#include "manifests/seal_format.h"
#include "manifests/stored_files.h"
#include "manifests/zstd_stream.h"

namespace gapferry::manifests {
namespace {

std::unexpected<Error> Corrupt(std::string reason, std::string message) {
  return Fail(ErrorCode::kCorrupt, std::move(reason), std::move(message));
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
      const std::uint64_t stored = manifest.sealed ? SealedSize(sizes[i]) : sizes[i];
      if (stored == manifest.volumes[i].size) continue;
      return Corrupt("index-volumes", "index: fills " + std::to_string(stored) + " bytes of '" +
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
  if (found->key_id != wanted.encryption_key_id &&
      std::ranges::find(wanted.retired_key_ids, found->key_id) == wanted.retired_key_ids.end()) {
    return Fail(ErrorCode::kUntrusted, "recipient-foreign",
                "is for key " + found->key_id.ToHex() + " of this mirror, whose key is " +
                    wanted.encryption_key_id.ToHex());
  }
  return {};
}

/// The digest that was signed first: other recipients know the key as well.
Result<SealKey> OpenDetails(Medium& medium, const Addressee& addressee, Manifest& manifest) {
  const auto own = std::ranges::find(manifest.recipients, addressee.guid, &Recipient::guid);
  TRY_ASSIGN(const auto key, addressee.load_key(own->key_id));
  TRY_ASSIGN(const SealKey seal_key, Unwrap(own->sealed_key, *key));
  const std::string name = StoredName(manifest, "details.json");
  TRY_ASSIGN(const Bytes stored, ReadRequired(medium, name, SealedSize(kMaxManifestBytes)));
  const Sha256Digest digest = Sha256(stored);
  if (stored.size() != manifest.sealed->size || digest != manifest.sealed->sha256) {
    return Corrupt("file-digest", "'" + name + "': digest mismatch: expected sha256:" +
                                      manifest.sealed->sha256.ToHex() +
                                      ", got sha256:" + digest.ToHex());
  }
  TRY_ASSIGN(const Bytes text, OpenText(seal_key, "details.json", stored));
  TRY(DecodeDetails(text, manifest));
  return seal_key;
}

/// One copy of the signatures, and the manifest that they were right for.
struct SignedManifest {
  Bytes signature_bytes;
  SignatureReport signatures;
  Manifest manifest;
};

/// Nothing of the manifest is decoded before a signature was right.
Result<SignedManifest> CheckSigned(const Bytes& manifest, Bytes signatures,
                                   const TrustPolicy& policy) {
  SignedManifest out;
  TRY_ASSIGN(out.signatures,
             ReadSignatures(manifest, DocumentType::kManifest, AsText(signatures), policy),
             "manifest.json");
  TRY_ASSIGN(out.manifest, DecodeManifest(manifest));
  TRY(CheckRelease(out.signatures, policy, out.manifest.stream), "manifest.json");
  out.signature_bytes = std::move(signatures);
  return out;
}

/// With another copy of the signatures than the first one, whose failure is `first`: the first that
/// satisfies; else `first`.
Result<SignedManifest> CheckOtherCopies(Medium& medium, const Bytes& manifest,
                                        const TrustPolicy& policy, Error first) {
  const auto copies = medium.OpenCopies("manifest.json.sig");
  for (std::size_t i = 1; copies && i < copies->size(); ++i) {
    const MediumFile& copy = *(*copies)[i];
    if (copy.size() > kMaxSignatureFileBytes) continue;
    Bytes bytes(static_cast<std::size_t>(copy.size()));
    const auto count = copy.ReadAt(0, bytes);
    if (!count || *count != bytes.size()) continue;
    auto other = CheckSigned(manifest, std::move(bytes), policy);
    if (other) return other;
  }
  return std::unexpected(std::move(first));
}

}  // namespace

Result<VerifiedManifest> VerifyManifest(Medium& medium, const TrustPolicy& policy,
                                        const std::optional<Addressee>& recipient) {
  VerifiedManifest out;
  auto signatures = ReadRequired(medium, "manifest.json.sig", kMaxSignatureFileBytes);
  const bool is_absent = !signatures && signatures.error().code == ErrorCode::kNotFound;
  if (is_absent || (!signatures && !medium.MayHaveCopies())) {
    return std::unexpected(std::move(signatures.error()));
  }
  TRY_ASSIGN(out.bytes_, ReadRequired(medium, "manifest.json", kMaxManifestBytes));
  out.digest_ = Sha256(out.bytes_);
  Result<SignedManifest> checked =
      signatures ? CheckSigned(out.bytes_, std::move(*signatures), policy)
                 : Result<SignedManifest>(std::unexpected(std::move(signatures.error())));
  if (!checked && medium.MayHaveCopies()) {
    checked = CheckOtherCopies(medium, out.bytes_, policy, std::move(checked.error()));
  }
  if (!checked) return std::unexpected(std::move(checked.error()));
  out.signature_bytes_ = std::move(checked->signature_bytes);
  out.signatures_ = std::move(checked->signatures);
  out.manifest_ = std::move(checked->manifest);
  const TrustedKey& origin = out.signatures_.origin;
  if (out.manifest_.sender.guid != origin.holder ||
      out.manifest_.sender.key_id != origin.key.Id()) {
    return Fail(ErrorCode::kUntrusted, "sender-mismatch",
                "the manifest says it comes from " + out.manifest_.sender.guid.ToString() +
                    ", signed is it by " + origin.holder.ToString());
  }
  if (!recipient) return out;
  TRY(CheckRecipient(out.manifest_, *recipient), out.manifest_.DirectoryName());
  if (out.manifest_.sealed && recipient->load_key) {
    TRY_ASSIGN(out.seal_key_, OpenDetails(medium, *recipient, out.manifest_),
               out.manifest_.DirectoryName());
  }
  return out;
}

Result<VerifiedIndex> VerifyIndex(Medium& medium, VerifiedManifest manifest, OnDamage on_damage) {
  VerifiedIndex out(std::move(manifest));
  const Manifest& stated = out.manifest_.manifest();
  if (!out.manifest_.has_details()) {
    return Fail(ErrorCode::kUntrusted, "seal-closed",
                "is sealed, and none of the keys here opens it");
  }
  TRY_ASSIGN(out.absent_volumes_,
             CheckStoredFiles(medium, stated,
                              on_damage == OnDamage::kGoOn ? &out.damaged_files_ : nullptr));
  OpenedMedium opened(medium, out.manifest_.seal_key());
  TRY_ASSIGN(out.lines_, ReadIndex(opened, stated));
  return out;
}

}  // namespace gapferry::manifests
