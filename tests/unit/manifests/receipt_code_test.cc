#include "manifests/receipt_code.h"

#include <gmock/gmock.h>

namespace gapferry::manifests {
namespace {

using testing::HasSubstr;

ReceiptCode Some() {
  ReceiptCode code;
  code.sequence = 1'000'007;
  code.state = 0xDEADBEEF;
  code.epoch = 0xABC;
  code.files_are_missing = true;
  for (std::size_t i = 0; i < code.mac.size(); ++i) code.mac[i] = static_cast<std::uint8_t>(17 * i);
  return code;
}

TEST(ReceiptCode, IsTenGroupsOfFourAndComesBack) {
  const std::string text = FormatReceiptCode(Some());
  EXPECT_EQ(text.size(), 49u);
  EXPECT_EQ(ParseReceiptCode(text).value(), Some());
  ReceiptCode none = Some();
  none.files_are_missing = false;
  EXPECT_EQ(ParseReceiptCode(FormatReceiptCode(none)).value(), none);
}

TEST(ReceiptCode, HasOneSpellingForEver) {
  EXPECT_EQ(FormatReceiptCode(Some()), "6019-X14E-FAYM-DXBN-DYX3-W01Z-28HN-K8HX-APCQ-XW8H");
}

TEST(ReceiptCode, PeopleTypeItAsTheyLike) {
  std::string text = FormatReceiptCode(Some());
  std::string typed;
  for (const char c : text) {
    if (c == '0')
      typed += 'o';
    else if (c == '1')
      typed += 'l';
    else if (c == '-')
      typed += "  ";
    else
      typed += static_cast<char>(std::tolower(c));
  }
  EXPECT_EQ(ParseReceiptCode(typed).value(), Some());
  std::erase(text, '-');
  EXPECT_EQ(ParseReceiptCode(text).value(), Some());
}

// Every single wrong character is found, and its group named.
TEST(ReceiptCode, EachWrongCharacterIsFound) {
  const std::string text = FormatReceiptCode(Some());
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '-') continue;
    for (const char c : std::string("0123456789ABCDEFGHJKMNPQRSTVWXYZ#*")) {
      if (c == text[at]) continue;
      std::string changed = text;
      changed[at] = c;
      const auto parsed = ParseReceiptCode(changed);
      ASSERT_FALSE(parsed.has_value()) << changed;
      EXPECT_EQ(parsed.error().reason, "receipt-code-mistyped");
      EXPECT_EQ(parsed.error().message,
                "receipt code: group " + std::to_string(at / 5 + 1) + " is mistyped");
    }
  }
}

TEST(ReceiptCode, ExchangedCharactersAndGroupsAreFound) {
  const std::string text = FormatReceiptCode(Some());
  for (std::size_t at = 0; at + 1 < text.size(); ++at) {
    if (text[at] == '-' || text[at + 1] == '-' || text[at] == text[at + 1]) continue;
    std::string changed = text;
    std::swap(changed[at], changed[at + 1]);
    EXPECT_FALSE(ParseReceiptCode(changed).has_value()) << changed;
  }
  for (std::size_t a = 0; a < kReceiptGroups; ++a) {
    for (std::size_t b = a + 1; b < kReceiptGroups; ++b) {
      std::string changed = text;
      std::swap_ranges(changed.begin() + static_cast<int>(5 * a),
                       changed.begin() + static_cast<int>(5 * a + 4),
                       changed.begin() + static_cast<int>(5 * b));
      EXPECT_FALSE(ParseReceiptCode(changed).has_value()) << changed;
    }
  }
}

TEST(ReceiptCode, TooShortAndTooLongIsSaid) {
  const std::string text = FormatReceiptCode(Some());
  EXPECT_THAT(ParseReceiptCode(text.substr(5)).error().message, HasSubstr("36 characters"));
  EXPECT_THAT(ParseReceiptCode("").error().message, HasSubstr("0 characters"));
  EXPECT_EQ(ParseReceiptCode(text + text).error().reason, "receipt-code-length");
  EXPECT_EQ(ParseReceiptCode(std::string(100'000, 'A')).error().reason, "receipt-code-length");
}

// The version is the first three bits: with 2 in them the first group has another check character.
TEST(ReceiptCode, ANewerVersionIsNoTypingError) {
  std::string text = FormatReceiptCode(Some());
  text[0] = static_cast<char>(text[0] == '6' ? 'A' : '8');
  std::string reason;
  for (const char c : std::string("0123456789ABCDEFGHJKMNPQRSTVWXYZ")) {
    text[3] = c;
    reason = ParseReceiptCode(text).error().reason;
    if (reason != "receipt-code-mistyped") break;
  }
  EXPECT_EQ(reason, "receipt-code-version");
}

TEST(ReceiptCode, IsReadAloud) {
  const std::string spoken = SpellReceiptCode("0A9Z-XK2M");
  EXPECT_EQ(spoken, " 1  zero Alfa nine Zulu\n 2  X-ray Kilo two Mike\n");
}

class ReceiptKeyTest : public testing::Test {
 protected:
  const EncryptionKey site_ = EncryptionKey::Generate();
  const EncryptionKey sender_ = EncryptionKey::Generate();
  const ReceiptKey::Parties parties_{*Guid::Parse("11111111-1111-4111-8111-111111111111"),
                                     *Guid::Parse("22222222-2222-4222-8222-222222222222"),
                                     site_.public_key(), sender_.public_key()};
};

TEST_F(ReceiptKeyTest, BothSidesDeriveTheSame) {
  ReceiptCode code = Some();
  code.mac = ReceiptKey::Derive(site_, parties_)->Mac(code, "plant");
  const auto other = ReceiptKey::Derive(sender_, parties_);
  EXPECT_TRUE(other->Matches(code, "plant"));
  EXPECT_FALSE(other->Matches(code, "fleet"));
}

TEST_F(ReceiptKeyTest, EverythingInTheCodeIsProtected) {
  const auto key = *ReceiptKey::Derive(sender_, parties_);
  ReceiptCode code = Some();
  code.mac = key.Mac(code, "plant");
  const auto changed = [&](auto change) {
    ReceiptCode other = code;
    change(other);
    return key.Matches(other, "plant");
  };
  EXPECT_FALSE(changed([](ReceiptCode& c) { ++c.sequence; }));
  EXPECT_FALSE(changed([](ReceiptCode& c) { c.state ^= 1; }));
  EXPECT_FALSE(changed([](ReceiptCode& c) { c.epoch ^= 1; }));
  EXPECT_FALSE(changed([](ReceiptCode& c) { c.files_are_missing = false; }));
  EXPECT_FALSE(changed([](ReceiptCode& c) { c.mac[8] ^= 1; }));
}

TEST_F(ReceiptKeyTest, OthersCannotDeriveIt) {
  ReceiptCode code = Some();
  code.mac = ReceiptKey::Derive(site_, parties_)->Mac(code, "plant");
  // Another site with a key of its own; the same keys under another name.
  const EncryptionKey foreign = EncryptionKey::Generate();
  auto parties = parties_;
  parties.site_key = foreign.public_key();
  EXPECT_FALSE(ReceiptKey::Derive(sender_, parties)->Matches(code, "plant"));
  parties = parties_;
  parties.site = parties_.sender;
  EXPECT_FALSE(ReceiptKey::Derive(sender_, parties)->Matches(code, "plant"));
}

}  // namespace
}  // namespace gapferry::manifests
