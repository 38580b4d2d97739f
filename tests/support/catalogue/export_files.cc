#include "tests/support/catalogue/export_files.h"

#include <fmt/format.h>

#include <vector>

#include "base/file.h"
#include "tests/support/cabinet_writer.h"
#include "tests/support/catalogue/listing.h"
#include "tests/support/catalogue/summary.h"

namespace gapferry::catalogue {
namespace {

constexpr std::size_t kPieceBytes = 256 << 10;

// UTF-16 size of valid UTF-8: a unit per sequence, two for those of four bytes.
std::size_t Utf16Bytes(const std::string& utf8) {
  std::size_t units = 0;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) != 0x80) ++units;
    if (byte >= 0xF0) ++units;
  }
  return units * 2;
}

Result<void> WriteDocument(const Catalogue& catalogue, const Revision& revision,
                           const fs::path& directory) {
  TRY_ASSIGN(const WireDocument wire, ToWire(Document(catalogue, revision)));
  const std::string name = fmt::format("{}-r{}.{}", revision.id.guid.ToString(),
                                       revision.id.revision, wire.is_cabinet ? "cab" : "xml");
  TRY_ASSIGN(File out, File::Create(directory / name));
  TRY(out.WriteAll(wire.bytes));
  return out.Close();
}

}  // namespace

Result<WireDocument> ToWire(const std::string& document) {
  if (Utf16Bytes(document) <= testing::kCompressedDocumentBytes) {
    const ByteView plain = AsBytes(document);
    return WireDocument{false, Bytes(plain.begin(), plain.end())};
  }
  return WireDocument{true, testing::WriteMetadataCabinet(document)};
}

std::string StoreName(const FileSpec& file) {
  const std::string hex = file.digests.sha1.ToHex(HexCase::kUpper);
  const std::size_t dot = file.name.rfind('.');
  return fmt::format("{}/{}.{}", hex.substr(38), hex, file.name.substr(dot + 1));
}

Result<void> WriteContent(std::uint64_t seed, const FileSpec& file,
                          const std::filesystem::path& path) {
  TRY_ASSIGN(File out, File::Create(path));
  ContentSource source(seed, file.key, file.size_bytes);
  std::vector<std::uint8_t> piece(kPieceBytes);
  while (true) {
    TRY_ASSIGN(const std::size_t count, source.Read(piece));
    if (count == 0) break;
    TRY(out.WriteAll(ByteView(piece.data(), count)));
  }
  return out.Close();
}

Result<void> WriteCatalogue(const Catalogue& catalogue, const std::filesystem::path& directory,
                            unsigned threads) {
  const fs::path documents = directory / "documents";
  const fs::path content = directory / "content";
  TRY(CreateDirectories(documents));
  for (unsigned folder = 0; folder < 256; ++folder) {
    TRY(CreateDirectories(content / fmt::format("{:02X}", folder)));
  }
  const auto write_document = [&](std::size_t i) {
    return WriteDocument(catalogue, catalogue.revisions()[i], documents);
  };
  TRY(ParallelFor(catalogue.revisions().size(), threads, write_document));
  const auto write_file = [&](std::size_t i) {
    const FileSpec& file = catalogue.files()[i];
    return WriteContent(catalogue.options().seed, file, content / StoreName(file));
  };
  TRY(ParallelFor(catalogue.files().size(), threads, write_file));
  return WriteFileAtomically(directory / "catalogue.json", AsBytes(ListingJson(catalogue)));
}

}  // namespace gapferry::catalogue
