#include "manifests/opened_medium.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include "base/guarded.h"
#include "manifests/seal_format.h"

namespace gapferry::manifests {
namespace {

/// Objects are small beside chunks: neighbours in one chunk should cost one decryption, also with
/// several readers.
constexpr std::size_t kKeptChunks = 8;

/// The text of one sealed file.
class OpenedFile : public MediumFile {
 public:
  OpenedFile(std::unique_ptr<MediumFile> stored, const SealKey& key, std::string name)
      : stored_(std::move(stored)),
        key_(key),
        name_(std::move(name)),
        size_(PlainSize(stored_->size()).value_or(0)) {}

  std::uint64_t size() const override { return size_; }

  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    return Read(offset, out, &MediumFile::ReadAt);
  }
  Result<std::size_t> ReadCarefully(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override {
    return Read(offset, out, &MediumFile::ReadCarefully);
  }

 private:
  using Text = std::shared_ptr<const Bytes>;
  using Reader = Result<std::size_t> (MediumFile::*)(std::uint64_t, std::span<std::uint8_t>) const;
  struct State {
    std::optional<ChunkCipher> cipher;
    std::deque<std::pair<std::uint64_t, Text>> kept;
  };

  Result<std::size_t> Read(std::uint64_t offset, std::span<std::uint8_t> out, Reader reader) const {
    std::size_t done = 0;
    while (done < out.size() && offset + done < size_) {
      // The header counts as text of the first chunk, so that all chunks hold the same.
      const std::uint64_t at = kSealHeaderBytes + offset + done;
      TRY_ASSIGN(const auto chunk, Chunk(at / kSealPlainBytes, reader));
      const std::uint64_t skip =
          at % kSealPlainBytes - (at < kSealPlainBytes ? kSealHeaderBytes : 0);
      const ByteView rest = ByteView(*chunk).subspan(static_cast<std::size_t>(skip));
      const std::size_t count = std::min(rest.size(), out.size() - done);
      std::copy_n(rest.begin(), count, out.begin() + static_cast<std::ptrdiff_t>(done));
      done += count;
    }
    return done;
  }

  std::unexpected<Error> Damaged(std::uint64_t number) const {
    return Fail(ErrorCode::kCorrupt, "seal-damaged",
                "'" + name_ + kSealedSuffix + "': the block at offset " +
                    std::to_string(number * kSealChunkBytes) + " is not what was sealed");
  }

  Result<Text> Chunk(std::uint64_t number, Reader reader) const {
    std::optional<ChunkCipher> cipher;
    {
      auto state = state_.Lock();
      for (const auto& [kept, text] : state->kept) {
        if (kept == number) return text;
      }
      cipher = state->cipher;
    }
    // Kept once it has opened a chunk: the header that it was made from may be damaged.
    if (!cipher) {
      TRY_ASSIGN(cipher, ReadCipher(reader));
    }
    TRY_ASSIGN(Text text, OpenChunk(*cipher, number, reader));
    auto state = state_.Lock();
    state->cipher = cipher;
    state->kept.emplace_back(number, text);
    if (state->kept.size() > kKeptChunks) state->kept.pop_front();
    return text;
  }

  Result<ChunkCipher> ReadCipher(Reader reader) const {
    Bytes header(kSealHeaderBytes);
    TRY_ASSIGN(const std::size_t count, (*stored_.*reader)(0, header));
    header.resize(count);
    TRY_ASSIGN(const SealSalt salt, ReadSealHeader(header), "'" + name_ + kSealedSuffix + "'");
    return ChunkCipher(key_, salt, name_);
  }

  Result<Text> OpenChunk(const ChunkCipher& cipher, std::uint64_t number, Reader reader) const {
    const std::uint64_t begin = number == 0 ? kSealHeaderBytes : number * kSealChunkBytes;
    const std::uint64_t end = std::min((number + 1) * kSealChunkBytes, stored_->size());
    if (end < begin + kSealTagBytes) return Damaged(number);
    Bytes stored(static_cast<std::size_t>(end - begin));
    TRY_ASSIGN(const std::size_t count, (*stored_.*reader)(begin, stored));
    if (count != stored.size()) return Damaged(number);
    auto text = std::make_shared<Bytes>(stored.size() - kSealTagBytes);
    if (!cipher.Open(number, end == stored_->size(), stored, text->data())) return Damaged(number);
    return Text(std::move(text));
  }

  // Constant after construction.
  const std::unique_ptr<MediumFile> stored_;
  const SealKey key_;
  const std::string name_;
  const std::uint64_t size_;
  // Own synchronisation.
  mutable Guarded<State> state_;
};

}  // namespace

bool IsSealedFile(std::string_view name) {
  return name == "index.jsonl.zst" || name == "details.json" ||
         (name.starts_with("volume-") && name.ends_with(".tar"));
}

Result<std::unique_ptr<MediumFile>> OpenedMedium::Open(std::string_view name) {
  if (!key_ || !IsSealedFile(name)) return stored_.Open(name);
  TRY_ASSIGN(auto stored, stored_.Open(std::string(name) + kSealedSuffix));
  if (!PlainSize(stored->size())) {
    return Fail(ErrorCode::kCorrupt, "file-size",
                "'" + std::string(name) + kSealedSuffix + "' has " +
                    std::to_string(stored->size()) + " bytes, which no sealed file has");
  }
  return std::unique_ptr<MediumFile>(
      std::make_unique<OpenedFile>(std::move(stored), *key_, std::string(name)));
}

}  // namespace gapferry::manifests
