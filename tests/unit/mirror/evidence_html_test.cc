#include "mirror/evidence_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mirror/html_text.h"

namespace gapferry::mirror {
namespace {

using testing::HasSubstr;
using testing::Not;
using Object = JsonValue::Object;
using Array = JsonValue::Array;

constexpr const char* kHostile = "\"><script src='//evil'>alert(1)</script>&\x1b[2J\u202Egnp.exe";

/// A document of which every text is hostile.
Object Hostile() {
  const Object signer{{"name", kHostile}, {"role", kHostile}, {"key_id", kHostile}};
  const Object approval{
      {"action", kHostile}, {"group", kHostile}, {"update", kHostile}, {"deadline", kHostile}};
  const Object contents{{"updates", Array{kHostile}},
                        {"updates_count", 7},
                        {"approvals", Array{approval}},
                        {"approvals_count", 1}};
  const Object scanner{
      {"configured", true},
      {"program", kHostile},
      {"withheld", Array{Object{{"name", kHostile}, {"why", kHostile}, {"output", kHostile}}}}};
  const Object medium{{"path", kHostile}, {"label", kHostile}, {"serial", kHostile}};
  const Object event{
      {"actor", kHostile},
      {"kind", kHostile},
      {"facts",
       Object{{"contents", contents},
              {"media", Array{medium}},
              {"policy", kHostile},
              {"scanner", scanner},
              {"signatures", Object{{"counted", Array{signer}}, {"unknown", Array{signer}}}}}}};
  const Object record{{"action", "import.refused"}, {"actor", kHostile}, {"detail", kHostile}};
  return {{"audit", Object{{"head", kHostile}, {"speaking_of_it", Array{record}}}},
          {"bundle", Object{{"name", kHostile}, {"stream", kHostile}}},
          {"events", Array{event}},
          {"groups", Array{Object{{"guid", kHostile}, {"name", kHostile}}}},
          {"mirror", Object{{"name", kHostile}}},
          {"parties", Array{signer}},
          {"quarantine", Array{Object{{"name", kHostile}, {"output", kHostile}}}},
          {"receipts", Array{Object{{"name", kHostile}, {"acknowledged", true}}}},
          {"updates", Array{Object{{"update", kHostile}, {"title", kHostile}, {"kb", kHostile}}}},
          {"witnessed", Array{Object{{"log", kHostile}}}}};
}

TEST(EvidenceHtml, NothingInADocumentBecomesMarkup) {
  const std::string page = EvidenceHtml(Hostile());
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
  EXPECT_THAT(page, Not(HasSubstr("\u202E")));
  EXPECT_THAT(page, HasSubstr("&lt;script src=&#39;//evil&#39;&gt;"));
  EXPECT_THAT(page, HasSubstr("[U+202E]gnp.exe"));
  EXPECT_THAT(page, HasSubstr("and 6 more, which are not listed"));
  // One way in, whatever the text: quotes and angle brackets of texts never stay.
  const auto tags = [&page](const std::string& tag) {
    std::size_t count = 0;
    for (auto at = page.find(tag); at != page.npos; at = page.find(tag, at + 1)) ++count;
    return count;
  };
  EXPECT_EQ(tags("<table"), tags("</table>"));
  EXPECT_EQ(tags("<td>"), tags("</td>"));
  EXPECT_EQ(tags("<tr>"), tags("</tr>"));
}

TEST(EvidenceHtml, ItNeedsNothingFromElsewhere) {
  const std::string page = EvidenceHtml({});
  for (const char* word :
       {"http:", "https:", "url(", "@import", "<img", "<link", "src=", "href="}) {
    EXPECT_THAT(page, Not(HasSubstr(word)));
  }
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  EXPECT_THAT(page, HasSubstr("<i>not known</i>"));
  EXPECT_THAT(page, HasSubstr("@page"));
}

TEST(EvidenceHtml, MembersOfAnotherKindThanExpectedAreNotKnown) {
  EvidenceHtml({{"bundle", "text"},
                {"events", Object{}},
                {"audit", Array{1, true, "x"}},
                {"receipts", Array{1, Array{}}},
                {"updates", Array{Array{}}}});
}

TEST(HtmlText, IsEscapedInOnePlace) {
  EXPECT_EQ(EscapeHtml("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(EscapeHtml("Grüße 日本 😀"), "Grüße 日本 😀");
  EXPECT_EQ(EscapeHtml("a\tb\x7f\u200b\ufeff"), "a[U+0009]b[U+007F][U+200B][U+FEFF]");
  EXPECT_EQ(EscapeHtml("\u061ca\U000E0041"), "[U+061C]a[U+E0041]");
  EXPECT_THAT(EscapeHtml("bad \xff\xfe<"), Not(HasSubstr("<")));
}

}  // namespace
}  // namespace gapferry::mirror
