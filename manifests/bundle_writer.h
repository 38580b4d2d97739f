#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/progress.h"
#include "base/stream.h"
#include "manifests/index.h"
#include "manifests/keys.h"
#include "manifests/manifest.h"

namespace gapferry::manifests {

/// Where the writer gets the bytes of objects from.
class ObjectProvider {
 public:
  virtual ~ObjectProvider() = default;
  /// The bytes of the whole object `name`, from `offset` to its end.
  virtual Result<std::unique_ptr<Source>> Open(const ObjectName& name, std::uint64_t offset) = 0;
};

/// How written volumes were read back: from the medium, or after asking the kernel to drop its
/// pages (which it may ignore).
enum class ReadBack { kDirect, kAfterDrop };
std::string_view ReadBackName(ReadBack mode);

struct WriteOptions {
  Progress* progress = nullptr;
  std::stop_token stop;
};

/// Writes one bundle into `directory` in the order of docs/format.md, each file synced, the
/// signature last: README.txt, volumes with their blocks files, index, sums, manifest, signature.
/// Interrupted anywhere, the same calls with the same plan end in the same bytes; volumes that an
/// earlier run finished (noted in `journal`, a folder on the sender's own disk) are read back
/// instead of written again. Not thread-safe.
class BundleWriter {
 public:
  /// `layout` as LayOut gave it. Folders are created.
  static Result<BundleWriter> Create(std::filesystem::path directory, std::filesystem::path journal,
                                     std::vector<IndexLine> layout);

  /// README.txt and volumes. kCorrupt (reason "source-changed") when a source gives other bytes
  /// than planned, (reason "read-back") when the medium gives other bytes than written; the call
  /// may be repeated.
  Result<void> WriteVolumes(std::string_view readme, ObjectProvider& provider,
                            const WriteOptions& options);

  /// Fills index, volumes and sums of `manifest`, signs it as origin and writes the rest. Returns
  /// the manifest as written.
  Result<Manifest> Finish(Manifest manifest, const SigningKey& key);

  ReadBack read_back() const { return read_back_; }
  std::uint64_t bytes_written() const { return bytes_written_; }

 private:
  BundleWriter(std::filesystem::path directory, std::filesystem::path journal,
               std::vector<IndexLine> layout);
  struct VolumeRecord;
  Result<void> WriteOrCheckVolume(std::uint32_t number, ObjectProvider& provider,
                                  const WriteOptions& options);
  Result<VolumeRecord> WriteVolume(std::uint32_t number, ObjectProvider& provider,
                                   const WriteOptions& options);
  Result<void> WriteSmall(std::string_view name, ByteView bytes);
  Result<std::string> WriteIndex(Manifest& manifest);

  std::filesystem::path directory_;
  std::filesystem::path journal_;
  std::vector<IndexLine> layout_;
  std::vector<VolumeSummary> volumes_;
  std::vector<std::pair<std::string, Sha256Digest>> sums_;
  ReadBack read_back_ = ReadBack::kDirect;
  std::uint64_t bytes_written_ = 0;
};

/// The README.txt of a bundle: what it is, for whom, how to check it by hand. Depends on nothing
/// but `manifest` (of which index, volumes and sums are not yet known) and the fingerprint.
std::string BundleReadme(const Manifest& manifest, std::string_view sender_fingerprint);

}  // namespace gapferry::manifests
