#include "protocol/update_document.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"

namespace gapferry::protocol {
namespace {

constexpr char kFull[] = R"(<?xml version="1.0" encoding="utf-8"?>
<Update xmlns="http://schemas.microsoft.com/msus/2002/12/Update"
        xmlns:bar="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules">
  <UpdateIdentity UpdateID="AAAAAAAA-1111-2222-3333-444444444444" RevisionNumber="201"/>
  <Properties UpdateType="Software" ExplicitlyDeployable="true" AutoSelectOnWebSites="1"
      DefaultPropertiesLanguage="en" Handler="http://h" MaxDownloadSize="123456789012"
      PublicationState="Expired" CreationDate="2026-10-04T12:00:58.287Z" MsrcSeverity="Critical"
      EulaID="22222222-2222-2222-2222-222222222222" IsBeta="true" IsLocallyPublished="true"
      CompatibleProtocolVersion="1.4">
    <InstallationBehavior RebootBehavior="CanRequestReboot" Impact="Normal"/>
    <UninstallationBehavior/>
    <SupportUrl> http://s </SupportUrl>
    <KBArticleID>890830</KBArticleID><KBArticleID>12</KBArticleID>
    <SecurityBulletinID>MS26-001</SecurityBulletinID>
    <CveID>CVE-2026-1</CveID><Language>all</Language>
    <SecuredFragment><FileUrl/></SecuredFragment>
  </Properties>
  <LocalizedPropertiesCollection>
    <LocalizedProperties><Language>de</Language><Title>Ein &amp; Titel</Title></LocalizedProperties>
    <LocalizedProperties><Language>en</Language><Title>A title</Title>
      <Description>What it does</Description></LocalizedProperties>
    <EulaFile Digest="2jmj7l5rSw0yVb/vlWAYkK/YBwk=" DigestAlgorithm="SHA1" FileName="e.txt"
      Size="7" Language="en"><AdditionalDigest Algorithm="SHA256">
      47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</AdditionalDigest></EulaFile>
  </LocalizedPropertiesCollection>
  <Relationships>
    <SupersededUpdates><UpdateIdentity UpdateID="55555555-5555-5555-5555-555555555555"/>
    </SupersededUpdates>
    <Prerequisites>
      <UpdateIdentity UpdateID="66666666-6666-6666-6666-666666666666"/>
      <AtLeastOne IsCategory="true"><UpdateIdentity UpdateID="77777777-7777-7777-7777-777777777777"/>
        <UpdateIdentity UpdateID="66666666-6666-6666-6666-666666666666"/></AtLeastOne>
    </Prerequisites>
    <BundledUpdates>
      <AtLeastOne><UpdateIdentity UpdateID="88888888-8888-8888-8888-888888888888" RevisionNumber="1"/>
      <UpdateIdentity UpdateID="99999999-9999-9999-9999-999999999999" RevisionNumber="2"/></AtLeastOne>
      <UpdateIdentity UpdateID="99999999-9999-9999-9999-999999999999" RevisionNumber="3"/>
    </BundledUpdates>
  </Relationships>
  <ApplicabilityRules><IsInstalled><bar:WindowsVersion/></IsInstalled></ApplicabilityRules>
  <Files>
    <File FileName="Setup.CAB" Size="5000000000" Digest="2jmj7l5rSw0yVb/vlWAYkK/YBwk="
       DigestAlgorithm="SHA1" PatchingType="SelfContained" IsEncrypted="true">
       <AdditionalDigest Algorithm="SHA512">xx</AdditionalDigest>
       <AdditionalDigest Algorithm="SHA256">47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</AdditionalDigest>
    </File>
  </Files>
  <HandlerSpecificData xsi:type="cmd:CommandLineInstallation"
      xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
    <InstallCommand Program="Setup.exe" Arguments="/q" xmlns="urn:cmd"/>
  </HandlerSpecificData>
</Update>)";

TEST(UpdateDocument, ReadsEverythingOfASoftwareUpdate) {
  const auto parsed = ParseUpdateDocument(kFull);
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const UpdateDocument& d = *parsed;
  EXPECT_EQ(d.id.ToString(), "aaaaaaaa-1111-2222-3333-444444444444/201");
  EXPECT_EQ(d.type, UpdateType::kSoftware);
  EXPECT_TRUE(d.explicitly_deployable && d.auto_select_on_web_sites && d.is_expired && d.is_beta &&
              d.is_locally_published && d.has_secured_fragment && d.has_install_behavior &&
              d.has_uninstall_behavior && d.has_installed_rule && d.is_public);
  EXPECT_FALSE(d.has_installable_rule || d.os_upgrade || d.per_user);
  EXPECT_EQ(d.eula_id->ToString(), "22222222-2222-2222-2222-222222222222");
  EXPECT_EQ(d.creation_date->ToXml(), "2026-10-04T12:00:58.287Z");
  EXPECT_EQ(d.max_download_bytes, 123456789012u);
  EXPECT_EQ(d.support_url, "http://s");
  EXPECT_EQ(d.kb_articles, (std::vector<std::string>{"890830", "12"}));
  EXPECT_EQ(d.security_bulletins, std::vector<std::string>{"MS26-001"});
  EXPECT_EQ(d.languages, std::vector<std::string>{"all"});
  EXPECT_EQ(d.install_reboot_behavior, "CanRequestReboot");
  EXPECT_EQ(d.compatible_protocol_version, "1.4");
  ASSERT_EQ(d.prerequisites.size(), 2u);
  EXPECT_FALSE(d.prerequisites[0].is_category);
  EXPECT_TRUE(d.prerequisites[1].is_category);
  EXPECT_EQ(d.PrerequisiteIds().size(), 2u);
  EXPECT_EQ(d.CategoryIds().size(), 2u);
  ASSERT_EQ(d.bundled.size(), 2u);
  EXPECT_EQ(d.bundled[0].any_of.size(), 2u);
  EXPECT_EQ(d.bundled[1].any_of.front().revision, 3);
  EXPECT_EQ(d.superseded.size(), 1u);
  ASSERT_EQ(d.files.size(), 1u);
  EXPECT_EQ(d.files[0].size, 5'000'000'000u);
  EXPECT_EQ(d.files[0].Extension(), "CAB");
  EXPECT_TRUE(d.files[0].is_encrypted);
  EXPECT_EQ(d.files[0].sha256, Sha256(std::string_view()));
  ASSERT_EQ(d.eula_files.size(), 1u);
  EXPECT_EQ(d.eula_files[0].file.sha256, Sha256(std::string_view()));
  EXPECT_EQ(d.Title("de-AT"), "Ein & Titel");
  EXPECT_EQ(d.Title("fr"), "A title");
  EXPECT_EQ(d.Text("en")->description, "What it does");
  EXPECT_EQ(d.handler_data_type, "CommandLineInstallation");
  ASSERT_EQ(d.command_lines.size(), 1u);
  EXPECT_EQ(d.command_lines[0].program, "Setup.exe");
  EXPECT_EQ(d.command_lines[0].arguments, "/q");
}

TEST(UpdateDocument, GivesTheSameFeedingByteByByte) {
  UpdateDocumentParser parser;
  for (const char c : std::string_view(kFull)) ASSERT_TRUE(parser.Feed({&c, 1}).has_value());
  const auto parsed = parser.Finish();
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->Title(), "A title");
}

TEST(UpdateDocument, RefusesEveryPrefix) {
  const std::string_view full = kFull;
  for (std::size_t size = 0; size < full.size(); size += 7) {
    EXPECT_FALSE(ParseUpdateDocument(full.substr(0, size)).has_value()) << size;
  }
}

std::string Small(std::string_view properties, std::string_view rest = {}) {
  return "<u:Update xmlns:u=\"http://schemas.microsoft.com/msus/2002/12/Update\"><u:UpdateIdentity "
         "UpdateID=\"11111111-1111-1111-1111-111111111111\" RevisionNumber=\"7\"/><u:Properties " +
         std::string(properties) + "/>" + std::string(rest) + "</u:Update>";
}

TEST(UpdateDocument, RefusesWhatIsNoDocumentNamingTheFault) {
  struct Case {
    std::string text;
    ErrorCode code;
    std::string message;
  };
  const std::string soft = "UpdateType=\"Software\"";
  const Case cases[] = {
      {"<!DOCTYPE a [<!ENTITY b \"c\">]><a/>", ErrorCode::kCorrupt,
       "line 1, column 12: document type declarations are not accepted"},
      {"<Update/>", ErrorCode::kCorrupt, "the document's root is 'Update', expected Update"},
      {"<x:a/>", ErrorCode::kCorrupt, "line 1, column 0: prefix 'x' is not declared"},
      {Small("UpdateType=\"Gadget\""), ErrorCode::kUnsupported, "UpdateType 'Gadget' is not known"},
      {Small(soft + " EulaID=\"5\""), ErrorCode::kCorrupt,
       "EulaID has the value '5', which is out of its range"},
      {Small(soft + " MaxDownloadSize=\"-1\""), ErrorCode::kCorrupt,
       "MaxDownloadSize has the value '-1', which is out of its range"},
      {Small(soft, "<u:Properties UpdateType=\"Software\"/>"), ErrorCode::kCorrupt,
       "Properties occurs twice"},
      {Small(soft, "<u:Files><u:File FileName=\"a\" Digest=\"AAAA\" Size=\"1\"/></u:Files>"),
       ErrorCode::kCorrupt, "file 'a': digest has 3 bytes, expected 20"},
      {Small(soft, "<u:Files><u:File FileName=\"a\" DigestAlgorithm=\"MD5\"/></u:Files>"),
       ErrorCode::kUnsupported, "file 'a' has a digest of the unknown kind 'MD5'"},
      {Small(soft,
             "<u:LocalizedPropertiesCollection><u:LocalizedProperties><u:Language>en</u:Language>"
             "</u:LocalizedProperties><u:LocalizedProperties><u:Language>EN</u:Language>"
             "</u:LocalizedProperties></u:LocalizedPropertiesCollection>"),
       ErrorCode::kCorrupt, "LocalizedProperties of 'en' occur twice"},
      {"<u:Update xmlns:u=\"http://schemas.microsoft.com/msus/2002/12/Update\"/>",
       ErrorCode::kCorrupt, "the document has no UpdateIdentity"},
  };
  for (const Case& c : cases) {
    const auto parsed = ParseUpdateDocument(c.text);
    ASSERT_FALSE(parsed.has_value()) << c.text;
    EXPECT_EQ(parsed.error().message, c.message);
    EXPECT_EQ(parsed.error().code, c.code) << c.message;
  }
}

TEST(UpdateDocument, HoldsItsBounds) {
  UpdateDocumentLimits limits;
  limits.depth = 10;
  limits.attributes = 5;
  limits.token_bytes = 100'000;
  limits.text_bytes = 100;
  limits.document_bytes = 1'000'000;
  limits.items = 3;
  const auto refused = [&](const std::string& text) {
    const auto parsed = ParseUpdateDocument(text, nullptr, limits);
    return parsed ? "accepted" : parsed.error().message;
  };
  const std::string soft = "UpdateType=\"Software\"";
  std::string deep;
  for (int i = 0; i < 10; ++i) deep += "<a>";
  EXPECT_NE(refused(Small(soft, deep)).find("more than 10 levels"), std::string::npos);
  EXPECT_NE(refused(Small(soft + " a='' b='' c='' d='' e=''")).find("more than 5 attributes"),
            std::string::npos);
  EXPECT_NE(
      refused(Small(soft + " a='" + std::string(300'000, 'x') + "'")).find("one tag is longer"),
      std::string::npos);
  EXPECT_EQ(refused(Small(soft, std::string(1'000'000, ' '))),
            "document is larger than 1000000 bytes");
  EXPECT_EQ(
      refused(Small(soft, "<u:LocalizedPropertiesCollection><u:LocalizedProperties><u:Title>" +
                              std::string(200, 'x') +
                              "</u:Title></u:LocalizedProperties>"
                              "</u:LocalizedPropertiesCollection>")),
      "a text is longer than 100 bytes");
  std::string many = "<u:Relationships><u:SupersededUpdates>";
  for (int i = 0; i < 4; ++i) {
    many += "<u:UpdateIdentity UpdateID=\"11111111-1111-1111-1111-111111111111\"/>";
  }
  EXPECT_EQ(refused(Small(soft, many + "</u:SupersededUpdates></u:Relationships>")),
            "more than 3 relations, files and texts");
}

TEST(UpdateDocument, ReadsDrivers) {
  const auto parsed = ParseUpdateDocument(Small(
      "UpdateType=\"Driver\"",
      "<u:ApplicabilityRules><u:Metadata "
      "xmlns:drv=\"http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/WindowsDriver\">"
      "<drv:WindowsDriverMetaData HardwareID=\"pci\\ven_1\" DriverVerDate=\"2026-01-01\" "
      "DriverVerVersion=\"1.2.3.4\" WhqlDriverID=\"9\" Class=\"Net\" Company=\"C\" Provider=\"P\" "
      "Manufacturer=\"M\" Model=\"X\"><drv:CompatibleProvider>Q</drv:CompatibleProvider>"
      "<drv:FeatureScore OperatingSystem=\"amd64.10.0\" FeatureScore=\"FE\"/>"
      "<drv:TargetComputerHardwareId>11111111-1111-1111-1111-111111111111"
      "</drv:TargetComputerHardwareId></drv:WindowsDriverMetaData></u:Metadata>"
      "</u:ApplicabilityRules>"));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  ASSERT_EQ(parsed->drivers.size(), 1u);
  const DriverMetadata& driver = parsed->drivers[0];
  EXPECT_EQ(driver.hardware_id, "pci\\ven_1");
  EXPECT_EQ(driver.ver_version, "1.2.3.4");
  EXPECT_EQ(driver.compatible_providers, std::vector<std::string>{"Q"});
  EXPECT_EQ(driver.feature_scores.at(0).score, 0xFE);
  EXPECT_EQ(driver.target_computer_ids.size(), 1u);
}

TEST(UpdateFile, TakesOnlyPlainExtensions) {
  for (const auto& [name, extension] :
       {std::pair("a.exe", "exe"), std::pair("a.b.CAB", "CAB"), std::pair("a", "bin"),
        std::pair("a.", "bin"), std::pair("a.x/y", "bin"),
        std::pair("a.12345678901234567", "bin")}) {
    UpdateFile file;
    file.file_name = name;
    EXPECT_EQ(file.Extension(), extension) << name;
  }
}

TEST(UpdateDocument, ReadsTheRealSamples) {
  const std::filesystem::path samples =
      std::filesystem::path(GAPFERRY_SOURCE_DIR) / "../shared/samples";
  if (!std::filesystem::is_directory(samples)) GTEST_SKIP() << "no samples here";
  const auto read = [&](const char* name) {
    return *ParseUpdateDocument(*ReadTextFile(samples / name, 1 << 20));
  };
  const UpdateDocument leaf = read("266f6222-r200.software-leaf.xml");
  EXPECT_EQ(leaf.prerequisites.size(), 4u);
  EXPECT_EQ(leaf.files.at(0).size, 11606440u);
  EXPECT_TRUE(leaf.files.at(0).sha256.has_value());
  EXPECT_EQ(leaf.command_lines.at(0).arguments, "WD /q");
  const UpdateDocument bundle = read("1f9bd9bb-r200.software-hidden-bundle24.xml");
  ASSERT_EQ(bundle.bundled.size(), 1u);
  EXPECT_EQ(bundle.bundled[0].any_of.size(), 24u);
  const UpdateDocument product = read("dd78b8a1-r202.category-product.xml");
  EXPECT_TRUE(product.IsProduct());
  EXPECT_TRUE(product.category->excluded_by_default);
  EXPECT_EQ(product.Title(), "OOBE ZDP");
  const UpdateDocument company = read("56309036-r101.category-company.xml");
  EXPECT_TRUE(company.IsCategoryOf("Company"));
  EXPECT_EQ(company.localized.size(), 24u);
  const UpdateDocument detectoid = read("spec-17e993cd-r100.detectoid.xml");
  EXPECT_EQ(detectoid.type, UpdateType::kDetectoid);
  EXPECT_FALSE(detectoid.is_public);
}

}  // namespace
}  // namespace gapferry::protocol
