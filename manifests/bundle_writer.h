#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/stream.h"
#include "manifests/index.h"
#include "manifests/keys.h"
#include "manifests/manifest.h"
#include "manifests/read_back.h"
#include "manifests/repair_file.h"
#include "manifests/seal.h"
#include "manifests/volume_file.h"
#include "manifests/volume_journal.h"

namespace gapferry::manifests {

/// Where the writer gets the bytes of objects from.
class ObjectProvider {
 public:
  virtual ~ObjectProvider() = default;
  /// The bytes of the whole object `name`, from `offset` to its end.
  virtual Result<std::unique_ptr<Source>> Open(const ObjectName& name, std::uint64_t offset) = 0;
};

/// For whom a bundle is sealed: the secret of the bundle, and the encryption keys of its recipients
/// in the order of the manifest.
struct Sealing {
  BundleSecret secret;
  std::vector<EncryptionPublicKey> recipients;
};

struct WriteOptions {
  Progress* progress = nullptr;
  std::stop_token stop;
};

/// Writes one bundle in the order of docs/format.md, each file synced, the signature last:
/// README.txt, volumes with the files beside them, index, sums, manifest, signature. Volumes may go
/// to several folders in turn (MoveTo), one on each medium; the files behind them belong on the
/// last one, and may be written to others again.
/// Interrupted anywhere, the same calls with the same plan end in the same bytes; volumes that an
/// earlier run finished (noted in `journal`, a folder on the sender's own disk) are read back
/// instead of written again. Not thread-safe.
class BundleWriter {
 public:
  /// `layout` as LayOut gave it. Folders are created; `directory` may be empty until MoveTo.
  /// `parity`: percent of repair blocks, 0 for no repair files. `sealing`: for whom it is sealed;
  /// without it the bundle is plain.
  static Result<BundleWriter> Create(std::filesystem::path directory, std::filesystem::path journal,
                                     std::vector<IndexLine> layout, unsigned parity = 0,
                                     std::optional<Sealing> sealing = {});

  /// README.txt and all volumes, into one folder. Fails as WriteVolume.
  Result<void> WriteVolumes(std::string_view readme, ObjectProvider& provider,
                            const WriteOptions& options);

  /// What follows goes to this folder, which is made and may hold nothing but this bundle's files:
  /// kUsage (reason "directory-in-use") otherwise.
  Result<void> MoveTo(std::filesystem::path directory);
  Result<void> WriteReadme(std::string_view readme);
  /// With the files beside it. kCorrupt (reason "source-changed") when a source gives other bytes
  /// than planned, (reason "read-back") when the medium gives other bytes than written; the call
  /// may be repeated.
  Result<void> WriteVolume(std::uint32_t volume, ObjectProvider& provider,
                           const WriteOptions& options);
  /// The bytes of a volume as they are stored, nothing else: what WriteVolume puts into its file.
  /// Ends early with what `out` fails with.
  Result<void> StreamVolume(std::uint32_t volume, ObjectProvider& provider,
                            const WriteOptions& options, Sink& out);
  /// Whether the folder holds the volume as an earlier run finished it; it is read for that.
  Result<bool> IsVolumeDone(std::uint32_t volume, std::stop_token stop);
  /// Takes a volume that an earlier run wrote to a medium that is not here now; false when the
  /// journal does not know it.
  bool AdoptVolume(std::uint32_t volume);

  /// Trust documents that the bundle carries (docs/format.md, "Trust documents"), none when empty.
  void SetTrust(std::string documents) { trust_ = std::move(documents); }
  /// Fills index, volumes and sums of `manifest`, signs it as origin and writes the rest. Returns
  /// the manifest as written. Every volume was written, done or adopted before.
  Result<Manifest> Finish(Manifest manifest, const SigningKey& key);

  const std::vector<VolumeSummary>& volumes() const { return volumes_; }
  std::size_t objects() const { return layout_.size(); }  ///< lines of the index
  ReadBack read_back() const { return read_back_; }
  std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  BundleWriter(std::filesystem::path journal, std::vector<IndexLine> layout);
  Result<void> RefuseForeignFiles() const;
  std::span<IndexLine> LinesOf(std::uint32_t volume);
  std::uint64_t BytesBefore(const IndexLine& part) const;
  void Take(std::uint32_t volume, const VolumeRecord& record);
  Result<void> ReadBackVolume(std::uint32_t volume, const VolumeDigests& written,
                              std::stop_token stop);
  ParityLayout LayoutOf(std::uint32_t volume) const;
  Result<void> WriteBlocks(std::uint32_t volume, ByteView blocks, RepairWriter& repair,
                           bool streamed, std::stop_token stop);
  Result<void> WriteCopies();
  Result<void> WriteSmall(const std::string& name, ByteView bytes);
  Result<void> WriteIndex(IndexSummary& summary);
  /// The details of a sealed bundle, and its key for each recipient.
  Result<void> WriteDetails(Manifest& manifest);
  /// Digest of all that decides the bytes of a volume.
  Sha256Digest PlanOf(std::uint32_t volume);
  Result<void> WriteSignature(ByteView manifest, const SigningKey& key);

  std::filesystem::path directory_;
  VolumeJournal journal_;
  std::optional<Sealing> sealing_;
  std::vector<IndexLine> layout_;
  std::vector<VolumeSummary> volumes_;
  std::string trust_;
  std::map<std::string, Sha256Digest> sums_;
  ReadBack read_back_ = ReadBack::kDirect;
  std::uint64_t bytes_written_ = 0;
  unsigned parity_ = 0;
};

/// The README.txt of a bundle: what it is, for whom, how to check it by hand. Depends on nothing
/// but `manifest` (of which index, volumes and sums are not yet known), the fingerprint and the
/// form; that of a sealed bundle tells none of the details.
std::string BundleReadme(const Manifest& manifest, std::string_view sender_fingerprint,
                         VolumeForm form = VolumeForm::kPlain);

}  // namespace gapferry::manifests
