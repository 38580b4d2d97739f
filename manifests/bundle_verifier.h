#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/stream.h"
#include "manifests/index.h"
#include "manifests/manifest.h"
#include "manifests/medium.h"
#include "manifests/seal.h"
#include "manifests/signature.h"

namespace gapferry::manifests {

/// For whom a bundle must be.
struct Addressee {
  Guid guid;
  KeyId encryption_key_id;
  std::vector<KeyId> retired_key_ids = {};  ///< earlier ones that it can still open bundles with
  /// Gives the private key of that id, which may ask for a passphrase: called only for a sealed
  /// bundle, with one of the ids above. Without it sealed bundles stay closed.
  std::function<Result<std::shared_ptr<const EncryptionKey>>(const KeyId&)> load_key = {};
};

/// A manifest whose signatures satisfied a policy. Only VerifyManifest makes one.
class VerifiedManifest {
 public:
  const Manifest& manifest() const { return manifest_; }
  const SignatureReport& signatures() const { return signatures_; }
  const Bytes& bytes() const { return bytes_; }  ///< exactly as signed
  const Sha256Digest& digest() const { return digest_; }
  /// The copy of manifest.json.sig that satisfied.
  const Bytes& signature_bytes() const { return signature_bytes_; }
  /// False for a sealed bundle that was not opened: the details of manifest() are then empty, and
  /// only what is stored can be checked (VerifyStored).
  bool has_details() const { return !manifest_.sealed || seal_key_; }
  /// Of a sealed bundle that was opened.
  const std::optional<SealKey>& seal_key() const { return seal_key_; }

 private:
  friend Result<VerifiedManifest> VerifyManifest(Medium&, const TrustPolicy&,
                                                 const std::optional<Addressee>&);
  VerifiedManifest() = default;
  Manifest manifest_;
  SignatureReport signatures_;
  Bytes bytes_;
  Sha256Digest digest_;
  Bytes signature_bytes_;
  std::optional<SealKey> seal_key_;
};

/// Steps 1 to 3 of docs/format.md, "What a reader does": size caps, signatures over the exact
/// bytes, recipient (skipped without one: a check that imports nothing), details of a sealed bundle
/// when the recipient has a key. Reads manifest.json, its .sig and details.json.sealed only. Of
/// several copies of the .sig any one may satisfy, releases included.
/// kNotFound (reason "bundle-unfinished") without a .sig, kUntrusted (reasons of CheckSignatures,
/// "sender-mismatch", "recipient-foreign"), kCorrupt (also "seal-key", "seal-damaged",
/// "file-digest" of the details).
Result<VerifiedManifest> VerifyManifest(Medium& medium, const TrustPolicy& policy,
                                        const std::optional<Addressee>& recipient);

/// Whether damage ends a check, or the check goes on to find all of it.
enum class OnDamage { kRefuse, kGoOn };
/// Small files and what is wrong with each.
using DamagedFiles = std::map<std::string, Error>;

/// A manifest and everything that it names except the insides of volumes: exactly the listed files
/// are there, sums, blocks and README match, the index is complete. Only VerifyIndex makes one.
class VerifiedIndex {
 public:
  const VerifiedManifest& manifest() const { return manifest_; }
  const std::vector<IndexLine>& lines() const { return lines_; }
  /// Volumes that are not there; only where the medium may lack some.
  const std::set<std::uint32_t>& absent_volumes() const { return absent_volumes_; }
  /// Only with OnDamage::kGoOn: README.txt and blocks files that are not as they were signed.
  /// VerifyVolumes then ends with the first of these failures at the latest.
  const DamagedFiles& damaged_files() const { return damaged_files_; }

 private:
  friend Result<VerifiedIndex> VerifyIndex(Medium&, VerifiedManifest, OnDamage);
  VerifiedManifest manifest_;
  std::vector<IndexLine> lines_;
  std::set<std::uint32_t> absent_volumes_;
  DamagedFiles damaged_files_;
  explicit VerifiedIndex(VerifiedManifest manifest) : manifest_(std::move(manifest)) {}
};

/// Steps 4 and 5: SHA256SUMS against the manifest; no file missing, none unlisted, all of the sizes
/// stated; small files hashed; the index hashed, then decoded within its stated sizes, then
/// checked. kCorrupt with reasons "sums-digest", "sums-malformed", "file-missing", "file-unlisted",
/// "file-size", "file-digest", "index-digest", "index-malformed", "index-order", "index-gap",
/// "index-parts", "index-volumes", "seal-damaged"; kUntrusted (reason "seal-closed") for a sealed
/// bundle that was not opened. `medium` gives the files as they are stored; sealed ones are opened
/// here and in what follows.
Result<VerifiedIndex> VerifyIndex(Medium& medium, VerifiedManifest manifest,
                                  OnDamage on_damage = OnDamage::kRefuse);

/// What can be checked of a sealed bundle without a key: the same as VerifyIndex but for the index,
/// and the digest of every volume. Volumes that are not there are left out where the medium may
/// lack some. Same failures, and "volume-digest".
struct StoredCheck {
  std::uint64_t volumes = 0;  ///< checked
  std::uint64_t bytes = 0;    ///< of these
  std::set<std::uint32_t> absent_volumes;
};
Result<StoredCheck> VerifyStored(Medium& medium, const VerifiedManifest& manifest,
                                 Progress* progress, const std::stop_token& stop);

/// Takes the bytes of one object or part while they are checked. Used by one thread at a time.
class ObjectSlot : public Sink {
 public:
  /// Called once, after all bytes were written and their digest was right. Without it the bytes are
  /// not what they should be and must be forgotten.
  virtual Result<void> Complete() = 0;
};

/// Decides what happens with checked bytes. Thread-safe: called by all workers.
class ObjectReceiver {
 public:
  virtual ~ObjectReceiver() = default;
  /// True when these very bytes (digest of `line`) are already held and were checked again now: the
  /// object is then not read from the medium.
  virtual Result<bool> Has(const IndexLine& line) = 0;
  /// Null: only check.
  virtual Result<std::unique_ptr<ObjectSlot>> Begin(const IndexLine& line) = 0;
};

/// A bundle of which every byte was checked. Only VerifyVolumes makes one.
class VerifiedBundle {
 public:
  const VerifiedIndex& index() const { return index_; }
  const Manifest& manifest() const { return index_.manifest().manifest(); }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  friend class VolumeVerifier;
  VerifiedBundle(VerifiedIndex index, std::uint64_t bytes_read)
      : index_(std::move(index)), bytes_read_(bytes_read) {}
  VerifiedIndex index_;
  std::uint64_t bytes_read_;
};

/// What a check that goes on after the first damage found.
struct DamagedObjects {
  struct Item {
    std::size_t line = 0;  ///< of the index, from 0
    Error why;
  };
  static constexpr std::size_t kMaxItems = 10'000;
  std::vector<Item> items;  ///< in index order; the first kMaxItems found
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;  ///< of these objects and parts
};

struct VerifyOptions {
  unsigned threads = 2;
  ObjectReceiver* receiver = nullptr;  ///< null: check only
  Progress* progress = nullptr;
  std::stop_token stop;
  /// Filled when the call ends with "volumes-missing": the volumes that must still come.
  std::set<std::uint32_t>* missing = nullptr;
  /// Not null: damage does not end the check; filled when the call ends with a failure.
  DamagedObjects* damaged = nullptr;
};

/// Step 6: every byte of every volume exactly once, several objects at a time; headers, padding and
/// ends are compared with what the index says, bytes with their digests. kCorrupt with reasons
/// "header-damaged", "object-damaged", "padding-damaged", "trailer-damaged", "volume-short"; the
/// message names object, volume and offset, and for damage the first bad 64 KiB block that the
/// blocks file shows. Of several failures the first in index order is reported. What is damaged is
/// read a second time, carefully: it counts as sound when that gives the right bytes.
/// Of volumes that are absent the receiver must have every object already: kNotFound (reason
/// "volumes-missing") otherwise, after everything that is there was checked.
Result<VerifiedBundle> VerifyVolumes(Medium& medium, VerifiedIndex index,
                                     const VerifyOptions& options);

/// Reads and checks one object (not a part) of a verified index: what a plan needs before anything
/// is staged. Writes to `sink` while reading; its bytes count only when this succeeds.
Result<void> ReadObject(Medium& medium, const VerifiedIndex& index, const IndexLine& line,
                        Sink& sink);

}  // namespace gapferry::manifests
