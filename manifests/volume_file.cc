#include "manifests/volume_file.h"

#include <fcntl.h>

#include <algorithm>

namespace gapferry::manifests {

Result<void> VolumeFile::Append(ByteView bytes) {
  while (!bytes.empty()) {
    const std::size_t count = std::min(bytes.size(), kPieceBytes - piece_->size());
    piece_->insert(piece_->end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (piece_->size() == kPieceBytes) TRY(Flush());
  }
  return {};
}

Result<void> VolumeFile::Flush() {
  TRY(file_.WriteAll(*piece_));
  // Advice only: a file system that does not know it writes at the sync.
  (void)::sync_file_range(file_.fd(), static_cast<off_t>(written_),
                          static_cast<off_t>(piece_->size()), SYNC_FILE_RANGE_WRITE);
  written_ += piece_->size();
  hasher_.Add(std::move(piece_));
  piece_ = std::make_shared<Bytes>();
  piece_->reserve(kPieceBytes);
  return {};
}

Result<VolumeDigests> VolumeFile::Finish() {
  TRY(Flush());
  TRY(file_.Sync());
  return hasher_.Finish();
}

}  // namespace gapferry::manifests
