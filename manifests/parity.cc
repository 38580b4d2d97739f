#include "manifests/parity.h"

#include <isa-l/erasure_code.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace gapferry::manifests {
namespace {

/// Coefficients are inverses of sums of two different bytes: rows and repair rows together are at
/// most 256.
constexpr unsigned kField = 256;

unsigned ParityOf(std::uint64_t rows, unsigned percent) {
  return static_cast<unsigned>((rows * percent + 99) / 100);
}

/// The largest stripe that leaves room for its repair blocks, and one more for a single stripe.
unsigned LargestStripe(unsigned percent) {
  unsigned rows = kStripeBlocks;
  while (rows + ParityOf(rows, percent) + 1 > kField) --rows;
  return rows;
}

/// Of a Cauchy matrix every square part can be inverted. gf_gen_rs_matrix gives a Vandermonde
/// matrix, of which this is not true at these sizes.
std::uint8_t Coefficient(const ParityLayout& layout, unsigned repair_row, unsigned row) {
  return gf_inv(static_cast<unsigned char>((layout.rows + repair_row) ^ row));
}

}  // namespace

std::string RepairName(std::uint32_t volume) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "repair-%04u", volume);
  return text.data();
}

bool IsRepairName(std::string_view name) {
  return name.size() == kCopiesName.size() && name.starts_with("repair-") &&
         name.find_first_not_of("0123456789", 7) == std::string_view::npos;
}

std::uint64_t RepairFileBytes(std::uint64_t volume_bytes, unsigned percent) {
  if (percent == 0) return 0;
  return ParityLayout::Of(volume_bytes, percent).repair_bytes() +
         BlocksFileBytes(volume_bytes, percent);
}

std::uint64_t BlocksFileBytes(std::uint64_t volume_bytes, unsigned percent) {
  const ParityLayout layout = ParityLayout::Of(volume_bytes, percent);
  return (layout.blocks + layout.repair_blocks()) * kBlockDigestBytes;
}

ParityLayout ParityLayout::Of(std::uint64_t volume_bytes, unsigned percent) {
  ParityLayout layout;
  layout.volume_bytes = volume_bytes;
  layout.blocks = (volume_bytes + kBlockBytes - 1) / kBlockBytes;
  if (percent == 0 || layout.blocks == 0) return layout;
  percent = std::min(percent, kMaxParityPercent);
  const unsigned largest = LargestStripe(percent);
  layout.stripes = (layout.blocks + largest - 1) / largest;
  layout.rows = static_cast<unsigned>((layout.blocks + layout.stripes - 1) / layout.stripes);
  // A run of lost bytes begins and ends inside of blocks: with one stripe only it gets one more.
  layout.parity = ParityOf(layout.rows, percent) + (layout.stripes == 1 ? 1 : 0);
  return layout;
}

std::uint64_t ParityLayout::block_bytes(std::uint64_t block) const {
  return std::min(kBlockBytes, volume_bytes - block * kBlockBytes);
}

struct ParityGroup::Tables {
  Bytes coefficients;  ///< of all repair rows, as ISA-L wants them expanded
  Bytes filled;        ///< a short block, filled up
  std::vector<std::uint8_t*> targets;
};

ParityGroup::ParityGroup(const ParityLayout& layout, std::uint64_t first, std::uint64_t count)
    : layout_(layout),
      first_(first),
      count_(count),
      sums_(count * layout.parity * kBlockBytes),
      tables_(std::make_unique<Tables>()) {
  Bytes matrix;
  for (unsigned repair_row = 0; repair_row < layout.parity; ++repair_row) {
    for (unsigned row = 0; row < layout.rows; ++row) {
      matrix.push_back(Coefficient(layout, repair_row, row));
    }
  }
  tables_->coefficients.resize(std::size_t{32} * layout.rows * layout.parity);
  ec_init_tables(static_cast<int>(layout.rows), static_cast<int>(layout.parity), matrix.data(),
                 tables_->coefficients.data());
  tables_->filled.resize(kBlockBytes);
  tables_->targets.resize(layout.parity);
}

ParityGroup::~ParityGroup() = default;
ParityGroup::ParityGroup(ParityGroup&&) noexcept = default;

std::uint8_t* ParityGroup::Row(std::uint64_t stripe, unsigned row) {
  return sums_.data() + ((stripe - first_) * layout_.parity + row) * kBlockBytes;
}

bool ParityGroup::Covers(std::uint64_t block) const {
  const std::uint64_t stripe = block % layout_.stripes;
  return stripe >= first_ && stripe - first_ < count_;
}

void ParityGroup::Add(std::uint64_t block, ByteView bytes) {
  if (!Covers(block)) return;
  const std::uint64_t stripe = block % layout_.stripes;
  const auto row = static_cast<int>(block / layout_.stripes);
  if (bytes.size() < kBlockBytes) {
    std::ranges::fill(tables_->filled, std::uint8_t{0});
    std::ranges::copy(bytes, tables_->filled.begin());
    bytes = tables_->filled;
  }
  for (unsigned i = 0; i < layout_.parity; ++i) tables_->targets[i] = Row(stripe, i);
  ec_encode_data_update(static_cast<int>(kBlockBytes), static_cast<int>(layout_.rows),
                        static_cast<int>(layout_.parity), row, tables_->coefficients.data(),
                        const_cast<unsigned char*>(bytes.data()), tables_->targets.data());
}

ByteView ParityGroup::RepairBlock(std::uint64_t stripe, unsigned row) const {
  return ByteView(sums_).subspan(((stripe - first_) * layout_.parity + row) * kBlockBytes,
                                 kBlockBytes);
}

std::vector<Bytes> ParityGroup::Restore(std::uint64_t stripe, std::span<const unsigned> lost,
                                        std::span<const Repair> repair) const {
  const std::size_t count = lost.size();
  // What a repair block holds beyond the sum over the blocks that are there is the sum over the
  // lost ones: as many equations as unknowns.
  std::vector<Bytes> sums, blocks;
  std::vector<std::uint8_t*> sources, targets;
  Bytes matrix, inverse(count * count);
  for (std::size_t i = 0; i < count; ++i) {
    const ByteView known = RepairBlock(stripe, repair[i].row);
    Bytes sum(kBlockBytes);
    for (std::size_t at = 0; at < kBlockBytes; ++at) {
      sum[at] = static_cast<std::uint8_t>(known[at] ^ repair[i].bytes[at]);
    }
    sums.push_back(std::move(sum));
    blocks.emplace_back(kBlockBytes);
    for (const unsigned row : lost) matrix.push_back(Coefficient(layout_, repair[i].row, row));
  }
  if (count == 0 || gf_invert_matrix(matrix.data(), inverse.data(), static_cast<int>(count)) != 0) {
    return {};
  }
  Bytes tables(std::size_t{32} * count * count);
  ec_init_tables(static_cast<int>(count), static_cast<int>(count), inverse.data(), tables.data());
  for (std::size_t i = 0; i < count; ++i) {
    sources.push_back(sums[i].data());
    targets.push_back(blocks[i].data());
  }
  ec_encode_data(static_cast<int>(kBlockBytes), static_cast<int>(count), static_cast<int>(count),
                 tables.data(), sources.data(), targets.data());
  return blocks;
}

std::uint64_t ParityGroup::StripesIn(const ParityLayout& layout, std::uint64_t memory_bytes) {
  if (layout.parity == 0) return 1;
  return std::clamp<std::uint64_t>(memory_bytes / (layout.parity * kBlockBytes), 1, layout.stripes);
}

void ParityStream::Add(ByteView bytes) {
  while (!bytes.empty()) {
    if (partial_.empty() && bytes.size() >= kBlockBytes) {
      group_.Add(block_++, bytes.first(kBlockBytes));
      bytes = bytes.subspan(kBlockBytes);
      continue;
    }
    const std::size_t count = std::min<std::size_t>(
        bytes.size(), static_cast<std::size_t>(kBlockBytes) - partial_.size());
    partial_.insert(partial_.end(), bytes.begin(),
                    bytes.begin() + static_cast<std::ptrdiff_t>(count));
    bytes = bytes.subspan(count);
    if (partial_.size() < kBlockBytes) return;
    group_.Add(block_++, partial_);
    partial_.clear();
  }
}

void ParityStream::Finish() {
  if (!partial_.empty()) group_.Add(block_++, partial_);
  partial_.clear();
}

}  // namespace gapferry::manifests
