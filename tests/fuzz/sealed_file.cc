// Sealed files. As it is: never opens under a key that the input cannot know. As a text: what is
// sealed opens, whole and anywhere; with one byte changed, or cut, it does not.
#include <algorithm>
#include <cstdlib>

#include "manifests/opened_medium.h"
#include "manifests/seal.h"
#include "manifests/seal_format.h"

namespace {

using namespace gapferry;

class OneFile : public manifests::Medium {
 public:
  explicit OneFile(const Bytes& bytes) : bytes_(bytes) {}
  std::string Describe() const override { return "input"; }
  Result<std::vector<std::string>> List() override { return std::vector<std::string>(); }
  Result<std::unique_ptr<manifests::MediumFile>> Open(std::string_view) override {
    return std::unique_ptr<manifests::MediumFile>(std::make_unique<File>(bytes_));
  }

 private:
  class File : public manifests::MediumFile {
   public:
    explicit File(const Bytes& bytes) : bytes_(bytes) {}
    std::uint64_t size() const override { return bytes_.size(); }
    Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
      if (offset >= bytes_.size()) return std::size_t{0};
      const std::size_t count = std::min<std::size_t>(out.size(), bytes_.size() - offset);
      std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
      return count;
    }

   private:
    const Bytes& bytes_;
  };
  const Bytes& bytes_;
};

constexpr std::string_view kName = "volume-0001.tar";

/// Reads by pieces of odd sizes; the text, or an error.
Result<Bytes> ReadThrough(const Bytes& stored, const manifests::SealKey& key) {
  OneFile medium(stored);
  manifests::OpenedMedium opened(medium, key);
  TRY_ASSIGN(const auto file, opened.Open(kName));
  Bytes text(file->size());
  for (std::size_t at = 0, piece = 1; at < text.size(); piece = piece * 3 + 1) {
    TRY_ASSIGN(const std::size_t count,
               file->ReadAt(at, std::span(text).subspan(at, std::min(piece, text.size() - at))));
    if (count == 0) std::abort();
    at += count;
  }
  return text;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto secret = manifests::BundleSecret::Draw();
  static const manifests::SealKey key = secret.Key();
  const Bytes raw(data, data + size);
  if (manifests::OpenText(key, kName, raw)) std::abort();
  if (manifests::PlainSize(size).value_or(0) != 0 && ReadThrough(raw, key)) std::abort();
  if (size < 5) return 0;

  const ByteView text(data + 5, size - 5);
  Bytes stored = manifests::SealText(secret, kName, text);
  const auto opened = manifests::OpenText(key, kName, stored);
  const auto read = ReadThrough(stored, key);
  if (!opened || !read || !std::ranges::equal(*opened, text) || !std::ranges::equal(*read, text)) {
    std::abort();
  }
  const std::size_t at =
      (data[0] | std::size_t{data[1]} << 8 | std::size_t{data[2]} << 16) % stored.size();
  if (data[3] % 2 == 0) {
    stored[at] ^= static_cast<std::uint8_t>(data[4] | 1);
  } else {
    stored.resize(at);
  }
  if (manifests::OpenText(key, kName, stored)) std::abort();
  // A file cut to nothing but a header and a tag has no text that could be read.
  if (!text.empty() && manifests::PlainSize(stored.size()).value_or(0) != 0 &&
      ReadThrough(stored, key)) {
    std::abort();
  }
  return 0;
}
