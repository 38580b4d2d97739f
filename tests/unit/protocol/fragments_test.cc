#include "protocol/fragments.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "protocol/update_document.h"

namespace gapferry::protocol {
namespace {

constexpr char kNamespaces[] =
    "xmlns:upd=\"http://schemas.microsoft.com/msus/2002/12/Update\" "
    "xmlns:bar=\"http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules\" "
    "xmlns:mar=\"http://schemas.microsoft.com/msus/2002/12/MsiApplicabilityRules\" "
    "xmlns:lar=\"http://schemas.microsoft.com/msus/2002/12/LogicalApplicabilityRules\" "
    "xmlns:drv=\"http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver\"";

constexpr char kIdentity[] =
    "<upd:UpdateIdentity UpdateID=\"11111111-1111-1111-1111-111111111111\" RevisionNumber=\"7\"/>";
constexpr char kIdentityOut[] =
    "<UpdateIdentity UpdateID=\"11111111-1111-1111-1111-111111111111\" RevisionNumber=\"7\" />";
constexpr char kProperties[] = "<upd:Properties UpdateType=\"Software\"/>";

std::string Document(std::string_view inner) {
  return std::string("<upd:Update ") + kNamespaces + ">" + std::string(inner) + "</upd:Update>";
}

FragmentCollector Derive(const std::string& document, const UpdateDocumentLimits& limits = {}) {
  FragmentCollector collector;
  const auto parsed = ParseUpdateDocument(document, &collector, limits);
  EXPECT_TRUE(parsed.has_value()) << (parsed ? "" : parsed.error().message);
  return collector;
}

std::string CoreOf(std::string_view inner) {
  return std::string(Derive(Document(std::string(kIdentity) + kProperties + std::string(inner)))
                         .Find(FragmentKind::kCore));
}

const std::string kCoreHead = std::string(kIdentityOut) + "<Properties UpdateType=\"Software\" />";

TEST(Fragments, CoreTakesPrefixesByNamespaceAndDropsTheirDeclarations) {
  EXPECT_EQ(
      CoreOf(
          "<upd:ApplicabilityRules><upd:IsInstalled><lar:And>"
          "<x:RegSz xmlns:x=\"http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules\" "
          "Key=\"K\"></x:RegSz><mar:MsiProductInstalled ProductCode=\"{1}\"/></lar:And>"
          "</upd:IsInstalled></upd:ApplicabilityRules>"),
      kCoreHead +
          "<ApplicabilityRules><IsInstalled><And><b.RegSz Key=\"K\" />"
          "<m.MsiProductInstalled ProductCode=\"{1}\" /></And></IsInstalled></ApplicabilityRules>");
}

TEST(Fragments, CoreKeepsDefaultNamespaces) {
  EXPECT_EQ(
      CoreOf("<upd:ApplicabilityRules><upd:Metadata><assembly "
             "xmlns=\"urn:schemas-microsoft-com:asm.v3\" a=\"1\"><b>t</b></assembly>"
             "</upd:Metadata></upd:ApplicabilityRules>"),
      kCoreHead +
          "<ApplicabilityRules><Metadata><assembly xmlns=\"urn:schemas-microsoft-com:asm.v3\" "
          "a=\"1\"><b>t</b></assembly></Metadata></ApplicabilityRules>");
}

TEST(Fragments, CoreEmptiesDriverMetadata) {
  EXPECT_EQ(CoreOf("<upd:ApplicabilityRules><upd:Metadata><drv:WindowsDriverMetaData "
                   "HardwareID=\"pci\\a\"><drv:FeatureScore OperatingSystem=\"amd64.10.0\" "
                   "FeatureScore=\"FF\">x</drv:FeatureScore></drv:WindowsDriverMetaData>"
                   "</upd:Metadata></upd:ApplicabilityRules>"),
            kCoreHead +
                "<ApplicabilityRules><Metadata><d.WindowsDriverMetaData HardwareID=\"pci\\a\" />"
                "</Metadata></ApplicabilityRules>");
}

TEST(Fragments, EscapesTextAndAttributesAnew) {
  EXPECT_EQ(CoreOf("<upd:ApplicabilityRules><upd:Metadata><v a='\"&lt;&gt;&amp;&#10;\xC3\xA9'>"
                   "<![CDATA[<&>]]>&#13;\"</v></upd:Metadata></upd:ApplicabilityRules>"),
            kCoreHead +
                "<ApplicabilityRules><Metadata><v a=\"&quot;&lt;&gt;&amp;&#xA;\xC3\xA9\">"
                "&lt;&amp;&gt;&#xD;\"</v></Metadata></ApplicabilityRules>");
}

TEST(Fragments, PropertiesAreDividedAndDefaultsLeftOut) {
  const FragmentCollector collector = Derive(Document(
      std::string(kIdentity) +
      "<upd:Properties EulaID=\"22222222-2222-2222-2222-222222222222\" UpdateType=\"Software\" "
      "DefaultPropertiesLanguage=\"en\" ExplicitlyDeployable=\"true\" "
      "AutoSelectOnWebSites=\"false\" OSUpgrade=\"false\" PerUser=\"false\" IsPublic=\"true\" "
      "PublicationState=\"Published\" CreationDate=\"2026-10-04T12:00:58.287Z\" "
      "PublisherID=\"33333333-3333-3333-3333-333333333333\" LegacyName=\"n\" MsrcSeverity=\"Low\">"
      "<upd:InstallationBehavior Impact=\"Minor\"/><upd:KBArticleID>123</upd:KBArticleID>"
      "</upd:Properties><upd:Files><upd:File FileName=\"a.exe\" Size=\"0\" "
      "DigestAlgorithm=\"SHA1\" "
      "Digest=\"2jmj7l5rSw0yVb/vlWAYkK/YBwk=\"/></upd:Files><upd:HandlerSpecificData "
      "xsi:type=\"cmd:C\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"/>"));
  EXPECT_EQ(collector.Find(FragmentKind::kCore),
            std::string(kIdentityOut) +
                "<Properties UpdateType=\"Software\" ExplicitlyDeployable=\"true\" "
                "EulaID=\"22222222-2222-2222-2222-222222222222\" />");
  EXPECT_EQ(collector.Find(FragmentKind::kExtended),
            "<ExtendedProperties DefaultPropertiesLanguage=\"en\" MsrcSeverity=\"Low\">"
            "<InstallationBehavior Impact=\"Minor\" /><KBArticleID>123</KBArticleID>"
            "</ExtendedProperties><Files><File FileName=\"a.exe\" Size=\"0\" "
            "DigestAlgorithm=\"SHA1\" Digest=\"2jmj7l5rSw0yVb/vlWAYkK/YBwk=\" /></Files>"
            "<HandlerSpecificData type=\"cmd:C\" />");
}

TEST(Fragments, LanguagesAndEulasAreFragmentsOfTheirOwn) {
  const FragmentCollector collector = Derive(Document(
      std::string(kIdentity) + kProperties +
      "<upd:LocalizedPropertiesCollection><upd:LocalizedProperties><upd:Language>en</upd:Language>"
      "<upd:Title>A</upd:Title></upd:LocalizedProperties><upd:LocalizedProperties>"
      "<upd:Title>B</upd:Title><upd:Language>pt-BR</upd:Language></upd:LocalizedProperties>"
      "<upd:EulaFile Digest=\"2jmj7l5rSw0yVb/vlWAYkK/YBwk=\" DigestAlgorithm=\"SHA1\" "
      "FileName=\"e.txt\" Size=\"0\" Language=\"en\" GeoId=\"USA\"/>"
      "</upd:LocalizedPropertiesCollection>"));
  EXPECT_EQ(collector.Find(FragmentKind::kLocalizedProperties, "en"),
            "<LocalizedProperties><Language>en</Language><Title>A</Title></LocalizedProperties>");
  EXPECT_EQ(
      collector.Find(FragmentKind::kLocalizedProperties, "pt-br"),
      "<LocalizedProperties><Title>B</Title><Language>pt-BR</Language></LocalizedProperties>");
  ASSERT_EQ(collector.fragments().back().key, (FragmentKey{FragmentKind::kEula, "en", "USA"}));
  EXPECT_EQ(collector.fragments().back().text,
            "<EulaFile Digest=\"2jmj7l5rSw0yVb/vlWAYkK/YBwk=\" DigestAlgorithm=\"SHA1\" "
            "FileName=\"e.txt\" Size=\"0\" Language=\"en\" GeoId=\"USA\" />");
}

TEST(Fragments, SectionsInAnotherOrderGiveTheSameCore) {
  const std::string relations = "<upd:Relationships/>";
  const std::string rules = "<upd:ApplicabilityRules><upd:IsInstalled/></upd:ApplicabilityRules>";
  const std::string expected =
      kCoreHead + "<Relationships /><ApplicabilityRules><IsInstalled /></ApplicabilityRules>";
  for (const std::string& inner :
       {kIdentity + (kProperties + relations) + rules, rules + relations + kProperties + kIdentity,
        kIdentity + rules + kProperties + relations}) {
    EXPECT_EQ(Derive(Document(inner)).Find(FragmentKind::kCore), expected) << inner;
  }
}

TEST(Fragments, RefusesLatePartsBehindWhatIsTooLargeToHold) {
  UpdateDocumentLimits limits;
  limits.reorder_bytes = 1000;
  const std::string rules =
      "<upd:ApplicabilityRules>" + std::string(2000, 'x') + "</upd:ApplicabilityRules>";
  const std::string head = std::string(kIdentity) + kProperties;
  EXPECT_EQ(Derive(Document(head + rules), limits).Find(FragmentKind::kCore).size(),
            kCoreHead.size() + rules.size() - 8);
  FragmentCollector collector;
  const auto late =
      ParseUpdateDocument(Document(head + rules + "<upd:Relationships/>"), &collector, limits);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, ErrorCode::kUnsupported);
}

TEST(Fragments, LargeCoreComesInPieces) {
  struct Receiver : FragmentReceiver {
    Result<void> Append(const FragmentKey&, std::string_view text) override {
      largest = std::max(largest, text.size());
      total += text.size();
      return {};
    }
    std::size_t largest = 0;
    std::size_t total = 0;
  } receiver;
  const std::string body(20 << 20, 'x');
  const auto parsed = ParseUpdateDocument(
      Document(std::string(kIdentity) + kProperties +
               "<upd:Relationships/><upd:ApplicabilityRules>" + body + "</upd:ApplicabilityRules>"),
      &receiver);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  EXPECT_GT(receiver.total, body.size());
  EXPECT_LT(receiver.largest, std::size_t{200} << 10);
}

TEST(Fragments, ChoosesTheLanguageAsAWindowsServerDoes) {
  const std::vector<std::string> available = {"de", "en", "pt-br"};
  struct Case {
    std::vector<std::string> requested;
    std::string fallback;
    int expected;
  };
  for (const auto& [requested, fallback, expected] :
       {Case{{"en-US", "en"}, "de", 1}, Case{{"de-AT"}, "en", 0}, Case{{"pt-BR"}, "en", 2},
        Case{{"fr"}, "de", 1}, Case{{}, "de", 1}}) {
    EXPECT_EQ(ChooseLanguage(available, requested, fallback), expected);
  }
  EXPECT_EQ(ChooseLanguage({"fr", "de"}, {"it"}, "de"), 1);
  EXPECT_EQ(ChooseLanguage({"fr", "de"}, {"it"}, "ru"), 0);
  EXPECT_EQ(ChooseLanguage({}, {"it"}, "ru"), -1);
}

TEST(Fragments, EqualTheRealOnesByteForByte) {
  const std::filesystem::path samples =
      std::filesystem::path(GAPFERRY_SOURCE_DIR) / "../shared/samples";
  if (!std::filesystem::is_directory(samples)) GTEST_SKIP() << "no samples here";
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(samples)) {
    if (entry.path().extension() != ".xml") continue;
    const auto document = ReadTextFile(entry.path(), 1 << 20);
    ASSERT_TRUE(document.has_value());
    const FragmentCollector collector = Derive(*document);
    const std::string name = entry.path().filename().string();
    const std::string stem = name.substr(0, name.find('.'));
    const auto compare = [&](const std::string& suffix, std::string_view derived) {
      const std::filesystem::path golden = samples / (stem + suffix);
      if (!std::filesystem::exists(golden)) return;
      EXPECT_EQ(derived, *ReadTextFile(golden, 1 << 20)) << golden;
      ++compared;
    };
    compare(".core.txt", collector.Find(FragmentKind::kCore));
    compare(".extended.txt", collector.Find(FragmentKind::kExtended));
    compare(".localized-en.txt", collector.Find(FragmentKind::kLocalizedProperties, "en"));
  }
  EXPECT_EQ(compared, 12);
}

}  // namespace
}  // namespace gapferry::protocol
