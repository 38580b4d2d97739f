#include "mirror/exchange/return_records.h"

#include <gmock/gmock.h>

#include "base/text.h"

// What a return may say, in which order, and once only.

namespace gapferry::mirror::exchange {
namespace {

using testing::HasSubstr;

Sha1Digest Sha1Of(std::string_view text) { return Sha1(text); }

ReturnDocument Small() {
  ReturnDocument document;
  document.header.site = *Guid::Parse("22222222-2222-4222-8222-222222222222");
  document.header.number = 3;
  document.header.created = UtcTime::FromUnixSeconds(1'700'000'000);
  return document;
}

ReturnReceipt ReceiptOf(std::string stream, std::uint64_t sequence, Generation generation) {
  ReturnReceipt receipt;
  receipt.stream = std::move(stream);
  receipt.sequence = sequence;
  receipt.target.name.generation = generation;
  receipt.imported_at = UtcTime::FromUnixSeconds(1'600'000'000);
  return receipt;
}

ReturnDocument Whole() {
  ReturnDocument document = Small();
  document.receipts = {ReceiptOf("plant", 9, 40), ReceiptOf("fleet", 12, 38)};
  document.requests = {{Sha1Of("wanted"), 5, true}};
  document.removed = {Sha1Of("gone")};
  document.blocks = {{"plant", 10, 1, 7, 2}, {"plant", 10, 1, 3, 1}};
  document.resends = {{"plant", 8}};
  document.blocked = {{*Guid::Parse("33333333-3333-4333-8333-333333333333"),
                       UtcTime::FromUnixSeconds(1'650'000'000),
                       {}}};
  document.withheld = {{Sha1Of("bad"), 7, WithheldWhy::kCrashed}};
  return document;
}

/// The lines of `text` with those at `a` and `b` exchanged.
std::string Exchanged(const std::string& text, std::size_t a, std::size_t b) {
  std::vector<std::string> lines;
  for (const std::string_view line : Split(text, '\n')) lines.emplace_back(line);
  std::swap(lines.at(a), lines.at(b));
  std::string out;
  for (std::size_t i = 0; i + 1 < lines.size(); ++i) out += lines[i] + '\n';
  return out;
}

std::string Replaced(std::string text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ReturnRecords, AllOfThemComeBack) {
  const std::string text = EncodeReturn(Whole());
  const auto read = DecodeReturn(text);
  ASSERT_TRUE(read.has_value()) << read.error().message;
  ASSERT_EQ(read->receipts.size(), 2u);
  EXPECT_EQ(read->receipts.back().stream, "plant");  // by generation: there the site stands
  EXPECT_EQ(read->blocks.front().block, 3u);
  EXPECT_EQ(read->blocks.back().count, 2u);
  EXPECT_EQ(read->resends.front().sequence, 8u);
  EXPECT_EQ(read->blocked.front().since, Whole().blocked.front().since);
  EXPECT_EQ(read->withheld.front().why, WithheldWhy::kCrashed);
  EXPECT_TRUE(read->requests.front().asked);
  EXPECT_EQ(EncodeReturn(*read), text);
}

TEST(ReturnRecords, EachKindHasItsPlaceAndLevel) {
  const std::string text = EncodeReturn(Whole());
  for (std::size_t line = 1; line < 8; ++line) {
    EXPECT_FALSE(DecodeReturn(Exchanged(text, line, line + 1)).has_value()) << line;
  }
  ReturnDocument summary = Whole();
  summary.servers.emplace_back();
  const auto refused = DecodeReturn(EncodeReturn(summary));
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("does not belong to level receipt"));
  summary.header.level = ReturnLevel::kSummary;
  EXPECT_TRUE(DecodeReturn(EncodeReturn(summary)).has_value());
}

TEST(ReturnRecords, NothingIsSaidTwice) {
  const auto twice = [](auto change) {
    ReturnDocument document = Whole();
    document.header.level = ReturnLevel::kDetailed;
    change(document);
    const auto read = DecodeReturn(EncodeReturn(document));
    EXPECT_FALSE(read.has_value());
    return read ? "" : read.error().reason;
  };
  const auto add = [](auto& list) { list.push_back(list.front()); };
  EXPECT_EQ(twice([&](auto& d) { add(d.receipts); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.requests); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.removed); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.blocks); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.resends); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.blocked); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { add(d.withheld); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { d.servers.resize(2); }), "return-malformed");
  EXPECT_EQ(twice([&](auto& d) { d.statuses.resize(2); }), "return-malformed");
}

TEST(ReturnRecords, FieldsHaveLimits) {
  const std::string text = EncodeReturn(Whole());
  for (const auto& [from, to] : std::vector<std::pair<std::string_view, std::string_view>>{
           {R"("count":2)", R"("count":0)"},
           {R"("block":3)", R"("block":5)"},  // 5..6 touches 7
           {R"("volume":1)", R"("volume":0)"},
           {R"("stream":"plant")", R"("stream":"-lant")"},
           {R"("sequence":9)", R"("sequence":0)"},
           {R"("since")", R"("reason":"no","since")"},  // says more than a receipt
           {R"("why":"crashed")", R"("why":"tired")"},
           {R"("record":"removed")", R"("record":"removes")"}}) {
    const std::string changed = Replaced(
        from == R"("block":3)" ? Replaced(text, R"("count":1)", R"("count":2)") : text, from, to);
    const auto read = DecodeReturn(changed);
    ASSERT_FALSE(read.has_value()) << to;
    EXPECT_EQ(read.error().reason, "return-malformed");
  }
}

}  // namespace
}  // namespace gapferry::mirror::exchange
