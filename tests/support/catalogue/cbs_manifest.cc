#include "tests/support/catalogue/cbs_manifest.h"

#include <fmt/format.h>

#include <iterator>

#include "base/clock.h"
#include "tests/support/catalogue/random.h"
#include "tests/support/catalogue/xml_text.h"

namespace gapferry::catalogue {
namespace {

constexpr std::string_view kToken = "31bf3856ad364e35";
constexpr std::string_view kComponents[] = {"Networking-Stack", "Shell-Core",       "Kernel-Base",
                                            "Printing-Spooler", "Crypto-Providers", "Media-Codecs",
                                            "Storage-Drivers",  "Remote-Desktop",   "Web-Platform"};

std::string_view ArchitectureName(const Revision& revision) {
  return revision.recipe.c == 12 ? "arm64" : "amd64";
}

void AppendIdentity(XmlText& xml, std::string_view name, std::string_view version,
                    std::string_view architecture) {
  xml.Open("assemblyIdentity")
      .Attribute("name", name)
      .Attribute("version", version)
      .Attribute("processorArchitecture", architecture)
      .Attribute("language", "neutral")
      .Attribute("publicKeyToken", kToken)
      .CloseEmpty();
}

}  // namespace

void AppendCbsManifest(std::uint64_t seed, const Revision& revision, std::string& out) {
  Random random(seed, "manifest/" + revision.path);
  XmlText xml(out);
  const std::string kb = fmt::format("KB{}", revision.knowledge_base);
  const std::string created = UtcTime::FromUnixSeconds(revision.created_unix).ToXml();
  const std::string version =
      fmt::format("{}.{}.1.{}", revision.recipe.a, revision.recipe.b, random.Between(1, 20));
  const std::size_t start = out.size();
  out.reserve(start + static_cast<std::size_t>(revision.manifest_bytes) + 4096);

  xml.Open("assembly")
      .Attribute("xmlns", "urn:schemas-microsoft-com:asm.v3")
      .Attribute("manifestVersion", "1.0")
      .Attribute("description", "Fix for " + kb)
      .Attribute("displayName", "default")
      .Attribute("company", "Microsoft Corporation")
      .Attribute("copyright", "Microsoft Corporation")
      .Attribute("supportInformation",
                 fmt::format("https://support.microsoft.com/help/{}", revision.knowledge_base))
      .Attribute("creationTimeStamp", created)
      .Attribute("lastUpdateTimeStamp", created)
      .Close();
  AppendIdentity(xml, "Package_for_RollupFix", version, ArchitectureName(revision));
  xml.Open("package")
      .Attribute("identifier", kb)
      .Attribute("releaseType", revision.severity.empty() ? "Update" : "Security Update")
      .Attribute("restart", "possible")
      .Close();
  for (std::uint32_t number = 0; out.size() - start < revision.manifest_bytes; ++number) {
    // One draw per statement: compilers order the arguments of a call as they like.
    const auto kind = kComponents[random.Below(std::size(kComponents))];
    const std::uint64_t suffix = random.Next() & 0xFFFFFFFF;
    const std::string component = fmt::format("Microsoft-Windows-{}-{:08x}", kind, suffix);
    xml.Open("update").Attribute("name", fmt::format("{}-{}_neutral_PACKAGE", kb, number)).Close();
    xml.Open("applicable").Attribute("disposition", "detect").Close();
    xml.Open("detectUpdate").Close();
    xml.Open("parent").Attribute("buildCompare", "EQ").Attribute("serviceCompare", "LE").Close();
    AppendIdentity(xml, component, fmt::format("10.0.{}.1", revision.recipe.a),
                   ArchitectureName(revision));
    xml.End("parent").End("detectUpdate").End("applicable");
    xml.Open("package").Attribute("integrate", "hidden").Close();
    AppendIdentity(xml, component + "-Package", version, ArchitectureName(revision));
    xml.End("package").End("update");
  }
  xml.End("package").End("assembly");
}

}  // namespace gapferry::catalogue
