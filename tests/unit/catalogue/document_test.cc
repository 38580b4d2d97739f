#include <expat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/text.h"
#include "protocol/update_document.h"
#include "tests/support/catalogue/catalogue.h"

namespace gapferry::catalogue {
namespace {

const Catalogue& Small() {
  static const Catalogue catalogue = Catalogue::Make(Options{}, 2).value();
  return catalogue;
}

// The shape of a document: for each element the name it has with its prefix, the name of its
// parent, and the names of its attributes in order, namespace declarations among them.
class ShapeReader {
 public:
  static std::set<std::string> Read(const std::string& document) {
    ShapeReader reader;
    XML_Parser parser = XML_ParserCreate(nullptr);  // without namespaces: prefixes as written
    XML_SetUserData(parser, &reader);
    XML_SetElementHandler(parser, &ShapeReader::Start, &ShapeReader::End);
    EXPECT_EQ(XML_Parse(parser, document.data(), static_cast<int>(document.size()), 1),
              XML_STATUS_OK)
        << XML_ErrorString(XML_GetErrorCode(parser));
    XML_ParserFree(parser);
    return reader.shapes_;
  }

 private:
  static void Start(void* self, const char* name, const char** attributes) {
    auto& reader = *static_cast<ShapeReader*>(self);
    std::string shape = reader.stack_.empty() ? "" : reader.stack_.back();
    shape.append("/").append(name);
    for (const char** a = attributes; *a != nullptr; a += 2) shape.append(" ").append(*a);
    reader.shapes_.insert(shape);
    reader.stack_.emplace_back(name);
  }
  static void End(void* self, const char*) { static_cast<ShapeReader*>(self)->stack_.pop_back(); }

  std::vector<std::string> stack_;
  std::set<std::string> shapes_;
};

// Whether the two documents use tags without content alike: <a /> or <a></a>.
bool HasBlankBeforeSlash(const std::string& document) {
  for (std::size_t at = document.find("/>"); at != std::string::npos;
       at = document.find("/>", at + 1)) {
    if (at == 0 || document[at - 1] != ' ') return false;
  }
  return true;
}

TEST(Document, HasTheShapeOfTheRealOnes) {
  const std::filesystem::path samples =
      std::filesystem::path(GAPFERRY_SOURCE_DIR) / "../shared/samples";
  if (!std::filesystem::exists(samples)) GTEST_SKIP() << "no samples here";
  std::set<std::string> generated;
  for (const Revision& revision : Small().revisions()) {
    if (revision.manifest_bytes > 1 << 20) continue;
    generated.merge(ShapeReader::Read(Document(Small(), revision)));
  }
  int compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(samples)) {
    if (entry.path().extension() != ".xml") continue;
    ++compared;
    const std::string real = ReadTextFile(entry.path(), 1 << 24).value();
    EXPECT_TRUE(HasBlankBeforeSlash(real));
    for (const std::string& shape : ShapeReader::Read(real)) {
      EXPECT_TRUE(generated.contains(shape)) << entry.path().filename() << ": " << shape;
    }
  }
  EXPECT_GE(compared, 7);
}

TEST(Document, HasNoWhiteSpaceBetweenTags) {
  for (const Revision& revision : Small().revisions()) {
    const std::string document = Document(Small(), revision);
    EXPECT_EQ(document.find("> <"), std::string::npos) << revision.path;
    EXPECT_EQ(document.find('\n'), std::string::npos) << revision.path;
    EXPECT_TRUE(HasBlankBeforeSlash(document)) << revision.path;
  }
}

bool SameClauses(const std::vector<protocol::PrerequisiteClause>& parsed,
                 const std::vector<Clause>& made) {
  return std::ranges::equal(parsed, made, [](const auto& a, const Clause& b) {
    return a.is_category == b.is_category && a.any_of == b.alternatives;
  });
}

TEST(Document, IsReadAsItWasMeant) {
  for (const Revision& revision : Small().revisions()) {
    const std::string document = Document(Small(), revision);
    const auto read = protocol::ParseUpdateDocument(document);
    ASSERT_TRUE(read.has_value()) << revision.path << ": " << read.error().message;
    EXPECT_EQ(read->id, revision.id);
    EXPECT_EQ(read->is_expired, revision.expired);
    EXPECT_EQ(read->Title("en"), revision.title);
    EXPECT_EQ(read->localized.size(), revision.languages);
    EXPECT_TRUE(SameClauses(read->prerequisites, revision.prerequisites)) << revision.path;
    ASSERT_EQ(read->bundled.size(), revision.bundled.size());
    for (std::size_t i = 0; i < revision.bundled.size(); ++i) {
      EXPECT_EQ(read->bundled[i].any_of, revision.bundled[i]);
    }
    EXPECT_EQ(read->superseded, revision.superseded);
    EXPECT_EQ(read->eula_id.has_value(), !revision.eula.IsZero());
    EXPECT_EQ(read->eula_files.size(), revision.eula_files.size());
    EXPECT_EQ(read->drivers.size(), revision.drivers.size());
    EXPECT_EQ(read->explicitly_deployable, revision.kind == Kind::kBundle ||
                                               revision.kind == Kind::kLeaf ||
                                               revision.kind == Kind::kDriver);
    EXPECT_EQ(read->IsClassification(), revision.kind == Kind::kClassification);
    EXPECT_EQ(read->IsProduct(), revision.kind == Kind::kProduct);
    ASSERT_EQ(read->files.size(), revision.files.size());
    for (std::size_t i = 0; i < revision.files.size(); ++i) {
      const FileSpec& file = Small().files()[revision.files[i]];
      EXPECT_EQ(read->files[i].sha1, file.digests.sha1);
      EXPECT_EQ(read->files[i].sha256, file.digests.sha256);
      EXPECT_EQ(read->files[i].size, file.size_bytes);
      EXPECT_EQ(read->files[i].file_name, file.name);
    }
  }
}

}  // namespace
}  // namespace gapferry::catalogue
