#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>

#include "base/bytes.h"
#include "base/guarded.h"
#include "base/hash.h"

namespace gapferry::manifests {

inline constexpr std::uint64_t kBlockBytes = 64 * 1024;
inline constexpr std::size_t kBlockDigestBytes = 8;

/// What is known of a volume once it was read from front to back.
struct VolumeDigests {
  Sha256Digest sha256;
  Bytes blocks;  ///< 8 bytes of SHA-256 for each 64 KiB block, the last one may be short
  std::uint64_t size = 0;
};

class ParityStream;

/// Hashes a stream of bytes as a volume, in a thread of its own so that the owner can read and
/// write meanwhile. At most a few pieces wait. Owned by one thread.
class BlockHasher {
 public:
  /// `parity` is given the same bytes, until Finish; it may be null.
  explicit BlockHasher(ParityStream* parity = nullptr);
  ~BlockHasher();
  void Add(std::shared_ptr<const Bytes> piece);
  VolumeDigests Finish();

 private:
  struct State {
    std::deque<std::shared_ptr<const Bytes>> waiting;
    bool ended = false;
  };
  void Run();
  void Hash(ByteView piece);

  Guarded<State> state_;
  std::condition_variable changed_;
  // Owned by the worker until it is joined.
  ParityStream* parity_;
  Sha256Hasher whole_;
  Sha256Hasher block_;
  std::uint64_t in_block_ = 0;
  VolumeDigests digests_;
  std::jthread worker_;
};

}  // namespace gapferry::manifests
