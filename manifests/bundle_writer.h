#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
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

namespace gapferry::manifests {

/// Where the writer gets the bytes of objects from.
class ObjectProvider {
 public:
  virtual ~ObjectProvider() = default;
  /// The bytes of the whole object `name`, from `offset` to its end.
  virtual Result<std::unique_ptr<Source>> Open(const ObjectName& name, std::uint64_t offset) = 0;
};

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
  Result<void> RefuseForeignFiles() const;
  std::span<IndexLine> LinesOf(std::uint32_t volume);
  Result<bool> IsVolumeDone(std::uint32_t volume, std::stop_token stop);
  Result<void> WriteVolume(std::uint32_t volume, ObjectProvider& provider,
                           const WriteOptions& options);
  Result<void> ReadBackVolume(std::uint32_t volume, const VolumeDigests& written,
                              std::stop_token stop);
  Result<void> WriteSmall(const std::string& name, ByteView bytes);
  Result<void> WriteIndex(IndexSummary& summary);
  Result<void> WriteSignature(ByteView manifest, const SigningKey& key);

  std::filesystem::path directory_;
  std::filesystem::path journal_;
  std::vector<IndexLine> layout_;
  std::vector<VolumeSummary> volumes_;
  std::map<std::string, Sha256Digest> sums_;
  ReadBack read_back_ = ReadBack::kDirect;
  std::uint64_t bytes_written_ = 0;
};

/// The README.txt of a bundle: what it is, for whom, how to check it by hand. Depends on nothing
/// but `manifest` (of which index, volumes and sums are not yet known) and the fingerprint.
std::string BundleReadme(const Manifest& manifest, std::string_view sender_fingerprint);

}  // namespace gapferry::manifests
