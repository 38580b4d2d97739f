#include "manifests/receipt_code.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"

namespace gapferry::manifests {
namespace {

constexpr std::string_view kAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::array<std::string_view, 32> kSpoken = {
    "zero",  "one",    "two",     "three",  "four",    "five",     "six",    "seven",
    "eight", "nine",   "Alfa",    "Bravo",  "Charlie", "Delta",    "Echo",   "Foxtrot",
    "Golf",  "Hotel",  "Juliett", "Kilo",   "Mike",    "November", "Papa",   "Quebec",
    "Romeo", "Sierra", "Tango",   "Victor", "Whiskey", "X-ray",    "Yankee", "Zulu"};

constexpr std::size_t kGroupChars = 4;
constexpr std::size_t kDataChars = 3;  // of each group
constexpr std::size_t kBits = kReceiptGroups * kDataChars * 5;
constexpr unsigned kVersion = 1;
constexpr int kVersionBits = 3;
constexpr int kSequenceBits = 30;
constexpr int kEpochBits = 12;
constexpr int kStateBits = 32;
constexpr std::size_t kPlainBits = kVersionBits + 1 + kSequenceBits + kEpochBits + kStateBits;
static_assert(kPlainBits + ReceiptCode::kMacBytes * 8 == kBits);

using Symbols = std::vector<std::uint8_t>;  // 5 bits each

/// Bits, the most significant first.
class BitWriter {
 public:
  void Put(std::uint64_t value, int bits) {
    for (int bit = bits - 1; bit >= 0; --bit) bits_.push_back((value >> bit & 1) != 0);
  }
  Symbols Finish() const {
    Symbols symbols(bits_.size() / 5);
    for (std::size_t i = 0; i < bits_.size(); ++i) {
      symbols[i / 5] = static_cast<std::uint8_t>(symbols[i / 5] << 1 | (bits_[i] ? 1 : 0));
    }
    return symbols;
  }

 private:
  std::vector<bool> bits_;
};

class BitReader {
 public:
  explicit BitReader(const Symbols& symbols) : symbols_(symbols) {}
  std::uint64_t Take(int bits) {
    std::uint64_t value = 0;
    for (int i = 0; i < bits; ++i, ++at_) {
      value = value << 1 | (symbols_[at_ / 5] >> (4 - at_ % 5) & 1);
    }
    return value;
  }

 private:
  const Symbols& symbols_;
  std::size_t at_ = 0;
};

/// In GF(32), x^5 + x^2 + 1.
unsigned Multiply(unsigned a, unsigned b) {
  unsigned product = 0;
  for (; b != 0; b >>= 1) {
    if ((b & 1) != 0) product ^= a;
    a <<= 1;
    if ((a & 32) != 0) a ^= 0b100101;
  }
  return product;
}

/// Different weights find each wrong character and two exchanged ones; the number of the group
/// finds exchanged groups.
std::uint8_t CheckSymbol(std::size_t group, const std::uint8_t* data) {
  unsigned sum = static_cast<unsigned>(group) + 1;
  for (unsigned i = 0; i < kDataChars; ++i) sum ^= Multiply(i + 2, data[i]);
  return static_cast<std::uint8_t>(sum);
}

std::uint8_t SymbolOf(char c) {
  if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  const std::size_t at = kAlphabet.find(c);
  return at == std::string_view::npos ? 0xFF : static_cast<std::uint8_t>(at);
}

Symbols Plain(const ReceiptCode& code, bool with_mac) {
  BitWriter bits;
  bits.Put(kVersion, kVersionBits);
  bits.Put(code.files_are_missing ? 1 : 0, 1);
  bits.Put(code.sequence, kSequenceBits);
  bits.Put(code.epoch, kEpochBits);
  bits.Put(code.state, kStateBits);
  if (with_mac) {
    for (const std::uint8_t byte : code.mac) bits.Put(byte, 8);
  } else {
    bits.Put(0, (5 - kPlainBits % 5) % 5);
  }
  return bits.Finish();
}

Sha256Digest Hmac(ByteView key, ByteView message) {
  Sha256Digest digest;
  std::size_t size = 0;
  if (EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key.data(), key.size(), message.data(),
                message.size(), digest.bytes.data(), digest.bytes.size(), &size) == nullptr ||
      size != digest.bytes.size()) {
    std::abort();  // only without memory, or without SHA-256
  }
  return digest;
}

std::unexpected<Error> Mistyped(const std::vector<std::size_t>& groups) {
  std::string names;
  for (const std::size_t group : groups) {
    names += (names.empty() ? "" : ", ") + std::to_string(group + 1);
  }
  return Fail(ErrorCode::kUsage, "receipt-code-mistyped",
              std::string("receipt code: ") +
                  (groups.size() == 1 ? "group " + names + " is mistyped"
                                      : "groups " + names + " are mistyped or exchanged"));
}

}  // namespace

std::uint16_t ReceiptEpochHint(const Guid& epoch) {
  const Sha256Digest digest = Sha256("gapferry-epoch-hint/1\n" + epoch.ToString() + "\n");
  return static_cast<std::uint16_t>((digest.bytes[0] << 8 | digest.bytes[1]) >> 4);
}

std::uint32_t ReceiptStatePrefix(const Sha256Digest& state_digest) {
  std::uint32_t prefix = 0;
  for (std::size_t i = 0; i < 4; ++i) prefix = prefix << 8 | state_digest.bytes[i];
  return prefix;
}

std::string FormatReceiptCode(const ReceiptCode& code) {
  const Symbols symbols = Plain(code, /*with_mac=*/true);
  std::string text;
  for (std::size_t group = 0; group < kReceiptGroups; ++group) {
    const std::uint8_t* data = symbols.data() + group * kDataChars;
    if (group > 0) text += '-';
    for (std::size_t i = 0; i < kDataChars; ++i) text += kAlphabet[data[i]];
    text += kAlphabet[CheckSymbol(group, data)];
  }
  return text;
}

std::string SpellReceiptCode(std::string_view formatted) {
  std::string text;
  std::size_t number = 0;
  for (const std::string_view group : Split(formatted, '-')) {
    text += (number + 1 < 10 ? " " : "") + std::to_string(number + 1) + " ";
    ++number;
    for (const char c : group) {
      const std::uint8_t symbol = SymbolOf(c);
      if (symbol < kSpoken.size()) text += " " + std::string(kSpoken[symbol]);
    }
    text += '\n';
  }
  return text;
}

Result<ReceiptCode> ParseReceiptCode(std::string_view text) {
  constexpr std::size_t kLongest = 200;  // with blanks between all characters
  std::string typed;
  if (text.size() <= kLongest) {
    for (const char c : text) {
      if (c != '-' && c != ' ' && c != '\t' && c != '\n' && c != '\r') typed += c;
    }
  }
  if (typed.size() != kReceiptGroups * kGroupChars) {
    return Fail(ErrorCode::kUsage, "receipt-code-length",
                "receipt code: " +
                    (text.size() > kLongest ? "more than 40" : std::to_string(typed.size())) +
                    " characters were typed, it has 40 in 10 groups");
  }
  Symbols data;
  std::vector<std::size_t> wrong;
  for (std::size_t group = 0; group < kReceiptGroups; ++group) {
    std::array<std::uint8_t, kGroupChars> symbols{};
    for (std::size_t i = 0; i < kGroupChars; ++i) {
      symbols[i] = SymbolOf(typed[group * kGroupChars + i]);
    }
    const bool known = std::ranges::all_of(symbols, [](std::uint8_t s) { return s < 32; });
    if (!known || CheckSymbol(group, symbols.data()) != symbols[kDataChars]) wrong.push_back(group);
    data.insert(data.end(), symbols.begin(), symbols.begin() + kDataChars);
  }
  if (!wrong.empty()) return Mistyped(wrong);
  BitReader bits(data);
  const std::uint64_t version = bits.Take(kVersionBits);
  if (version != kVersion) {
    return Fail(ErrorCode::kUnsupported, "receipt-code-version",
                "receipt code: version " + std::to_string(version) + ", this program reads " +
                    std::to_string(kVersion));
  }
  ReceiptCode code;
  code.files_are_missing = bits.Take(1) != 0;
  code.sequence = bits.Take(kSequenceBits);
  code.epoch = static_cast<std::uint16_t>(bits.Take(kEpochBits));
  code.state = static_cast<std::uint32_t>(bits.Take(kStateBits));
  for (std::uint8_t& byte : code.mac) byte = static_cast<std::uint8_t>(bits.Take(8));
  return code;
}

Result<ReceiptKey> ReceiptKey::Derive(const EncryptionKey& own, const Parties& parties) {
  const bool is_site = own.public_key() == parties.site_key;
  TRY_ASSIGN(auto shared, own.Agree(is_site ? parties.sender_key : parties.site_key));
  // HKDF (RFC 5869) for one block: extract, expand.
  Sha256Digest extracted = Hmac(AsBytes("gapferry-receipt/1"), shared);
  const std::string info = "gapferry-receipt/1\n" + parties.site.ToString() + "\n" +
                           parties.sender.ToString() + "\n" + parties.site_key.ToText() + "\n" +
                           parties.sender_key.ToText() + "\n\x01";
  ReceiptKey key;
  key.key_ = Hmac(extracted.bytes, AsBytes(info));
  OPENSSL_cleanse(shared.data(), shared.size());
  OPENSSL_cleanse(extracted.bytes.data(), extracted.bytes.size());
  return key;
}

std::array<std::uint8_t, ReceiptCode::kMacBytes> ReceiptKey::Mac(const ReceiptCode& code,
                                                                 std::string_view stream) const {
  Bytes message(stream.begin(), stream.end());
  message.push_back('\n');
  const Symbols plain = Plain(code, /*with_mac=*/false);
  message.insert(message.end(), plain.begin(), plain.end());
  const Sha256Digest digest = Hmac(key_.bytes, message);
  std::array<std::uint8_t, ReceiptCode::kMacBytes> mac{};
  std::copy_n(digest.bytes.begin(), mac.size(), mac.begin());
  return mac;
}

bool ReceiptKey::Matches(const ReceiptCode& code, std::string_view stream) const {
  const auto mac = Mac(code, stream);
  return CRYPTO_memcmp(mac.data(), code.mac.data(), mac.size()) == 0;
}

}  // namespace gapferry::manifests
