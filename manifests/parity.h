#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "manifests/block_hasher.h"

namespace gapferry::manifests {

inline constexpr unsigned kMaxParityPercent = 100;
inline constexpr unsigned kStripeBlocks = 240;  ///< of a volume, at most

/// Copies of a bundle's small files, when there are repair files.
inline constexpr std::string_view kCopiesName = "repair-0000";
std::string RepairName(std::uint32_t volume);  ///< repair-0001
/// repair-NNNN, repair-0000 among them.
bool IsRepairName(std::string_view name);

/// How the blocks of one volume share repair blocks (docs/format.md, "Repair files"). Everything is
/// a function of the volume's stored size and the percent of the manifest, so that repair files
/// need no header. Block i belongs to stripe i mod stripes: blocks that are lost together belong to
/// different stripes. Each stripe has `parity` repair blocks, and any `parity` blocks of it may be
/// lost, its repair blocks counted. Repair block j of the file is row j / stripes of stripe
/// j mod stripes.
struct ParityLayout {
  std::uint64_t volume_bytes = 0;
  std::uint64_t blocks = 0;
  std::uint64_t stripes = 0;
  unsigned rows = 0;    ///< blocks of the largest stripe; others are filled up with zeros
  unsigned parity = 0;  ///< repair blocks of each stripe; 0: none

  static ParityLayout Of(std::uint64_t volume_bytes, unsigned percent);
  std::uint64_t repair_blocks() const { return stripes * parity; }
  std::uint64_t repair_bytes() const { return repair_blocks() * kBlockBytes; }
  std::uint64_t block_bytes(std::uint64_t block) const;  ///< the last one may be short
  bool operator==(const ParityLayout&) const = default;
};

/// Size of the repair file beside a volume of `volume_bytes`: the repair blocks, and a copy of the
/// blocks file.
std::uint64_t RepairFileBytes(std::uint64_t volume_bytes, unsigned percent);
/// Size of the blocks file: 8 bytes for each block of the volume, then for each repair block.
std::uint64_t BlocksFileBytes(std::uint64_t volume_bytes, unsigned percent);

/// Repair blocks of the neighbouring stripes [first, first + count), while blocks are added in any
/// order. Holds count * parity blocks in memory. Thread-compatible.
class ParityGroup {
 public:
  ParityGroup(const ParityLayout& layout, std::uint64_t first, std::uint64_t count);
  ~ParityGroup();
  ParityGroup(ParityGroup&&) noexcept;

  bool Covers(std::uint64_t block) const;
  /// `bytes` as they lie in the volume: a short last block counts as filled up with zeros. Blocks
  /// of other stripes are ignored.
  void Add(std::uint64_t block, ByteView bytes);
  ByteView RepairBlock(std::uint64_t stripe, unsigned row) const;

  /// Restores blocks of one stripe, of which all others were added. `lost`: rows of the stripe (the
  /// block's number / stripes), at most `parity`; `repair`: as many repair blocks of this stripe as
  /// there are lost ones, with their rows. Returns whole blocks in the order of `lost`.
  struct Repair {
    unsigned row = 0;
    ByteView bytes;
  };
  std::vector<Bytes> Restore(std::uint64_t stripe, std::span<const unsigned> lost,
                             std::span<const Repair> repair) const;

  std::uint64_t first() const { return first_; }
  std::uint64_t count() const { return count_; }
  const ParityLayout& layout() const { return layout_; }
  /// How many stripes fit `memory_bytes`, at least one.
  static std::uint64_t StripesIn(const ParityLayout& layout, std::uint64_t memory_bytes);

 private:
  struct Tables;
  std::uint8_t* Row(std::uint64_t stripe, unsigned row);
  ParityLayout layout_;
  std::uint64_t first_;
  std::uint64_t count_;
  Bytes sums_;
  std::unique_ptr<Tables> tables_;
};

/// Adds blocks to a group from a stream that begins at the volume's first byte.
class ParityStream {
 public:
  explicit ParityStream(ParityGroup& group) : group_(group) {}
  void Add(ByteView bytes);
  void Finish();

 private:
  ParityGroup& group_;  // must outlive
  std::uint64_t block_ = 0;
  Bytes partial_;
};

}  // namespace gapferry::manifests
