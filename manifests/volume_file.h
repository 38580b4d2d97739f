#pragma once

#include <memory>

#include "base/file.h"
#include "manifests/block_hasher.h"

namespace gapferry::manifests {

/// A volume while it is written: bytes go to the file in large pieces and to the hasher beside it;
/// the kernel is asked early to write, so that the sync at the end finds little to do. Owned by one
/// thread; `file` must outlive it.
class VolumeFile {
 public:
  /// `parity` is given all bytes too, by another thread until Finish; it may be null.
  explicit VolumeFile(File& file, ParityStream* parity = nullptr)
      : file_(file), piece_(std::make_shared<Bytes>()), hasher_(parity) {
    piece_->reserve(kPieceBytes);
  }

  Result<void> Append(ByteView bytes);
  /// Flushes, syncs and tells what was written.
  Result<VolumeDigests> Finish();
  std::uint64_t size() const { return written_ + piece_->size(); }

 private:
  static constexpr std::size_t kPieceBytes = 1 << 20;
  Result<void> Flush();

  File& file_;
  std::shared_ptr<Bytes> piece_;
  std::uint64_t written_ = 0;
  BlockHasher hasher_;
};

}  // namespace gapferry::manifests
