#include "manifests/seal_format.h"

namespace gapferry::manifests {

std::uint64_t SealedSize(std::uint64_t plain_bytes) {
  // The header counts as text of the first chunk; a file without bytes still has one chunk.
  const std::uint64_t text = kSealHeaderBytes + plain_bytes;
  return text + (text + kSealPlainBytes - 1) / kSealPlainBytes * kSealTagBytes;
}

std::uint64_t PlainCapacity(std::uint64_t stored_bytes) {
  const std::uint64_t chunks = (stored_bytes + kSealChunkBytes - 1) / kSealChunkBytes;
  const std::uint64_t overhead = kSealHeaderBytes + chunks * kSealTagBytes;
  return stored_bytes > overhead ? stored_bytes - overhead : 0;
}

std::optional<std::uint64_t> PlainSize(std::uint64_t stored_bytes) {
  const std::uint64_t plain = PlainCapacity(stored_bytes);
  if (SealedSize(plain) != stored_bytes) return std::nullopt;
  return plain;
}

}  // namespace gapferry::manifests
