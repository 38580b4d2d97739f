#include "manifests/parity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

namespace gapferry::manifests {
namespace {

using Volume = std::vector<Bytes>;

Volume RandomVolume(const ParityLayout& layout, unsigned seed) {
  std::mt19937 random(seed);
  Volume volume;
  for (std::uint64_t i = 0; i < layout.blocks; ++i) {
    Bytes block(layout.block_bytes(i));
    for (auto& byte : block) byte = static_cast<std::uint8_t>(random());
    volume.push_back(std::move(block));
  }
  return volume;
}

ParityGroup Encode(const ParityLayout& layout, const Volume& volume) {
  ParityGroup group(layout, 0, layout.stripes);
  ParityStream stream(group);
  for (const Bytes& block : volume) stream.Add(block);
  stream.Finish();
  return group;
}

/// Restores `lost` blocks of stripe 0 from the repair blocks of `rows`.
std::vector<Bytes> Lose(const ParityLayout& layout, const Volume& volume, const ParityGroup& good,
                        const std::vector<unsigned>& lost, const std::vector<unsigned>& rows) {
  ParityGroup group(layout, 0, 1);
  for (std::uint64_t i = 0; i < layout.blocks; i += layout.stripes) {
    if (std::ranges::find(lost, static_cast<unsigned>(i / layout.stripes)) == lost.end()) {
      group.Add(i, volume[i]);
    }
  }
  std::vector<ParityGroup::Repair> repair;
  for (const unsigned row : rows) repair.push_back({row, good.RepairBlock(0, row)});
  return group.Restore(0, lost, repair);
}

void ExpectRestored(const ParityLayout& layout, const Volume& volume, std::vector<Bytes> restored,
                    const std::vector<unsigned>& lost) {
  ASSERT_EQ(restored.size(), lost.size());
  for (std::size_t i = 0; i < lost.size(); ++i) {
    const std::uint64_t block = lost[i] * layout.stripes;
    restored[i].resize(layout.block_bytes(block));
    EXPECT_EQ(restored[i], volume[block]) << "row " << lost[i];
  }
}

TEST(ParityLayout, FollowsFromSizeAndPercent) {
  const struct {
    std::uint64_t bytes;
    unsigned percent;
    std::uint64_t blocks, stripes;
    unsigned rows, parity;
  } cases[] = {
      {0, 5, 0, 0, 0, 0},
      {1, 0, 1, 0, 0, 0},
      {1, 5, 1, 1, 1, 2},
      {65'536, 5, 1, 1, 1, 2},
      {65'537, 5, 2, 1, 2, 2},
      {100 * kBlockBytes, 5, 100, 1, 100, 6},
      {240 * kBlockBytes, 5, 240, 1, 240, 13},
      {240 * kBlockBytes + 1, 5, 241, 2, 121, 7},
      {4'600'000'000, 5, 70'191, 293, 240, 12},
      {24'900'000'000, 5, 379'944, 1'584, 240, 12},
      {480 * kBlockBytes, 10, 480, 3, 160, 16},
      {480 * kBlockBytes, 100, 480, 4, 120, 120},
  };
  for (const auto& one : cases) {
    const auto layout = ParityLayout::Of(one.bytes, one.percent);
    EXPECT_EQ(layout.blocks, one.blocks) << one.bytes;
    EXPECT_EQ(layout.stripes, one.stripes) << one.bytes << " " << one.percent;
    EXPECT_EQ(layout.rows, one.rows) << one.bytes << " " << one.percent;
    EXPECT_EQ(layout.parity, one.parity) << one.bytes << " " << one.percent;
  }
}

TEST(ParityLayout, EveryStripeFitsTheFieldAndTheLimit) {
  for (unsigned percent = 1; percent <= kMaxParityPercent; ++percent) {
    for (std::uint64_t blocks = 1; blocks < 2'000; blocks += blocks < 300 ? 1 : 97) {
      const auto layout = ParityLayout::Of(blocks * kBlockBytes, percent);
      ASSERT_LE(layout.rows, kStripeBlocks);
      ASSERT_LE(layout.rows + layout.parity, 256u);
      ASSERT_GE(layout.stripes * layout.rows, blocks);
      ASSERT_GE(layout.parity * 100, layout.rows * percent);
    }
  }
}

/// "Any one run of 4 % of a volume is restored with 5 %", wherever it begins, for every size: no
/// stripe loses more blocks than it has repair blocks.
TEST(ParityLayout, ARunOfFourPercentIsRestoredAtEverySize) {
  for (std::uint64_t blocks = 1; blocks < 3'000; ++blocks) {
    for (const std::uint64_t last : {std::uint64_t{1}, kBlockBytes}) {
      const std::uint64_t bytes = (blocks - 1) * kBlockBytes + last;
      const auto layout = ParityLayout::Of(bytes, 5);
      const std::uint64_t run = bytes * 4 / 100;
      if (run == 0) continue;
      const std::uint64_t touched = (run - 1 + kBlockBytes - 1) / kBlockBytes + 1;
      ASSERT_LE((touched + layout.stripes - 1) / layout.stripes, layout.parity) << blocks;
    }
  }
}

TEST(Parity, RestoresEveryNumberOfLostBlocks) {
  const auto layout = ParityLayout::Of(240 * kBlockBytes - 5, 5);
  ASSERT_EQ(layout.parity, 13u);
  const Volume volume = RandomVolume(layout, 1);
  const ParityGroup good = Encode(layout, volume);
  std::mt19937 random(2);
  for (unsigned count = 1; count <= layout.parity; ++count) {
    std::vector<unsigned> rows(layout.rows), repair(layout.parity);
    std::iota(rows.begin(), rows.end(), 0u);
    std::iota(repair.begin(), repair.end(), 0u);
    std::ranges::shuffle(rows, random);
    std::ranges::shuffle(repair, random);
    rows.resize(count);
    repair.resize(count);
    if (count > 1) rows[0] = layout.rows - 1;  // the short one
    std::ranges::sort(rows);
    if (std::ranges::adjacent_find(rows) != rows.end()) continue;
    ExpectRestored(layout, volume, Lose(layout, volume, good, rows, repair), rows);
  }
}

/// A Vandermonde matrix of these sizes has square parts that cannot be inverted; ours has none.
TEST(Parity, EveryChoiceOfTwoAndThreeOfASmallStripeIsRestored) {
  const auto layout = ParityLayout::Of(6 * kBlockBytes, 30);
  ASSERT_EQ(layout.parity, 3u);
  const Volume volume = RandomVolume(layout, 3);
  const ParityGroup good = Encode(layout, volume);
  for (unsigned a = 0; a < 6; ++a) {
    for (unsigned b = a + 1; b < 6; ++b) {
      for (const auto& rows : {std::vector<unsigned>{0, 1}, {0, 2}, {1, 2}}) {
        ExpectRestored(layout, volume, Lose(layout, volume, good, {a, b}, rows), {a, b});
      }
      for (unsigned c = b + 1; c < 6; ++c) {
        ExpectRestored(layout, volume, Lose(layout, volume, good, {a, b, c}, {0, 1, 2}), {a, b, c});
      }
    }
  }
}

TEST(Parity, ShortStripesAndHighPercentagesRestoreWhatTheyPromise) {
  const struct {
    std::uint64_t bytes;
    unsigned percent;
  } cases[] = {{1, 5}, {70'000, 5}, {241 * kBlockBytes, 5}, {130 * kBlockBytes + 9, 100}};
  for (const auto& one : cases) {
    const auto layout = ParityLayout::Of(one.bytes, one.percent);
    const Volume volume = RandomVolume(layout, 4);
    const ParityGroup good = Encode(layout, volume);
    const auto in_stripe =
        static_cast<unsigned>((layout.blocks + layout.stripes - 1) / layout.stripes);
    std::vector<unsigned> rows(std::min(in_stripe, layout.parity)), repair(rows.size());
    std::iota(rows.begin(), rows.end(), in_stripe - static_cast<unsigned>(rows.size()));
    std::iota(repair.begin(), repair.end(), layout.parity - static_cast<unsigned>(rows.size()));
    ExpectRestored(layout, volume, Lose(layout, volume, good, rows, repair), rows);
  }
}

TEST(Parity, GroupsOfStripesGiveTheSameRepairBlocks) {
  const auto layout = ParityLayout::Of(500 * kBlockBytes + 77, 5);
  ASSERT_EQ(layout.stripes, 3u);
  const Volume volume = RandomVolume(layout, 5);
  const ParityGroup whole = Encode(layout, volume);
  EXPECT_EQ(ParityGroup::StripesIn(layout, 1), 1u);
  EXPECT_EQ(ParityGroup::StripesIn(layout, 2 * layout.parity * kBlockBytes), 2u);
  EXPECT_EQ(ParityGroup::StripesIn(layout, 1 << 30), 3u);
  for (std::uint64_t stripe = 0; stripe < layout.stripes; ++stripe) {
    ParityGroup one(layout, stripe, 1);
    for (std::uint64_t i = 0; i < layout.blocks; ++i) one.Add(i, volume[i]);
    for (unsigned row = 0; row < layout.parity; ++row) {
      EXPECT_TRUE(std::ranges::equal(one.RepairBlock(stripe, row), whole.RepairBlock(stripe, row)));
    }
  }
}

TEST(Parity, PiecesOfAnySizeGiveTheSameRepairBlocks) {
  const auto layout = ParityLayout::Of(3 * kBlockBytes + 100, 40);
  const Volume volume = RandomVolume(layout, 6);
  Bytes bytes;
  for (const Bytes& block : volume) bytes.insert(bytes.end(), block.begin(), block.end());
  const ParityGroup whole = Encode(layout, volume);
  for (const std::size_t piece : {1'000u, 65'535u, 65'536u, 65'537u, 200'000u}) {
    ParityGroup group(layout, 0, 1);
    ParityStream stream(group);
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      stream.Add(ByteView(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    stream.Finish();
    for (unsigned row = 0; row < layout.parity; ++row) {
      EXPECT_TRUE(std::ranges::equal(group.RepairBlock(0, row), whole.RepairBlock(0, row)));
    }
  }
}

}  // namespace
}  // namespace gapferry::manifests
