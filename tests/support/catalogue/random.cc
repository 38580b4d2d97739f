#include "tests/support/catalogue/random.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/hash.h"

namespace gapferry::catalogue {
namespace {

Sha256Digest KeyDigest(std::string_view domain, std::uint64_t seed, std::string_view key) {
  Bytes seed_bytes;
  AppendLe64(seed_bytes, seed);
  Sha256Hasher hasher;
  hasher.Update(domain).Update(seed_bytes).Update(key);
  return hasher.Finish();
}

std::uint64_t SplitMix64(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

__extension__ using Wide = unsigned __int128;

// 2^(exponent / 65536) scaled by `factor`, by a cubic through the fraction: exact to about 0.02 %,
// and the same everywhere, which the C library's exp is not.
std::uint64_t ScaleByPowerOfTwo(std::uint64_t factor, std::int64_t exponent_q16) {
  const std::int64_t whole = exponent_q16 >> 16;
  const auto fraction = static_cast<std::uint64_t>(exponent_q16 & 0xFFFF);
  // 1 + 0.695556 f + 0.226173 f^2 + 0.078024 f^3 in Q16, evaluated by Horner's rule.
  std::uint64_t power = 5113;
  power = 14822 + ((power * fraction) >> 16);
  power = 45584 + ((power * fraction) >> 16);
  power = 65536 + ((power * fraction) >> 16);
  const Wide product = static_cast<Wide>(factor) * power;
  const std::int64_t shift = 16 - whole;
  if (shift >= 120) return 0;
  if (shift >= 0) return static_cast<std::uint64_t>(product >> shift);
  return static_cast<std::uint64_t>(product << std::min<std::int64_t>(-shift, 40));
}

}  // namespace

Random::Random(std::uint64_t seed, std::string_view key) {
  const Sha256Digest digest = KeyDigest("gapferry-catalogue-random/1", seed, key);
  std::uint64_t state = LoadLe64(digest.bytes.data());
  for (std::uint64_t& word : state_) word = SplitMix64(state);
}

std::uint64_t Random::Next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Random::Below(std::uint64_t bound) {
  return static_cast<std::uint64_t>((static_cast<Wide>(Next()) * bound) >> 64);
}

std::uint64_t Random::LogNormal(std::uint64_t median, std::uint32_t sigma_thousandths,
                                std::uint64_t low, std::uint64_t high) {
  // The sum of twelve uniforms is close to normal (mean 6, deviation 1).
  std::int64_t z_q16 = -6 * 65536;
  for (int i = 0; i < 12; ++i) z_q16 += static_cast<std::int64_t>(Next() >> 48);
  // log2(e) = 1.442695
  const std::int64_t exponent = z_q16 * sigma_thousandths / 1000 * 1442695 / 1000000;
  return std::clamp(ScaleByPowerOfTwo(median, exponent), low, high);
}

std::uint64_t Random::Geometric(std::uint64_t mean, std::uint64_t limit) {
  std::uint64_t value = 1;
  while (value < limit && Below(mean) != 0) ++value;
  return value;
}

Guid GuidOf(std::uint64_t seed, std::string_view path) {
  const Sha256Digest digest = KeyDigest("gapferry-catalogue-guid/1", seed, path);
  Guid guid;
  std::memcpy(guid.bytes.data(), digest.bytes.data(), guid.bytes.size());
  guid.bytes[6] = static_cast<std::uint8_t>((guid.bytes[6] & 0x0F) | 0x40);
  guid.bytes[8] = static_cast<std::uint8_t>((guid.bytes[8] & 0x3F) | 0x80);
  return guid;
}

}  // namespace gapferry::catalogue
