#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "manifests/keys.h"

namespace gapferry::manifests {

/// How files of a sealed bundle are encrypted (docs/format.md, "Sealed bundles"). One random key
/// for the bundle, wrapped for each recipient; from it a key for each file, bound to its name and
/// to a salt that depends on its text; AES-256-GCM over chunks, the number and the end of the file
/// in the nonce (STREAM). So files can be read anywhere, by several threads, and chunks can be
/// neither moved, repeated nor left out.

using SealBytes32 = std::array<std::uint8_t, 32>;
using SealSalt = std::array<std::uint8_t, 16>;

/// What the recipients of a bundle find and all its files are under.
struct SealKey {
  SealBytes32 bytes{};
};

/// What the sender keeps of a bundle: key, salts and wrapping keys follow from it, so that the same
/// plan gives the same bytes again. Two different texts never meet under the same key and nonce,
/// since the salt depends on the text.
class BundleSecret {
 public:
  static BundleSecret Draw();
  /// A file of one line; fails as SigningKey::Load does.
  static Result<BundleSecret> Load(const std::filesystem::path& path);
  /// Mode 0600; replaces what was there.
  Result<void> Save(const std::filesystem::path& path) const;

  SealKey Key() const;
  /// Names the secret and says nothing about it.
  Sha256Digest Fingerprint() const;
  /// `text` stands for the text of the file: its digest, or of all that decides it.
  SealSalt Salt(std::string_view name, const Sha256Digest& text) const;
  /// Manifest field `sealed_key`. Fails with kCorrupt for a public key of small order.
  Result<Bytes> WrapFor(const EncryptionPublicKey& recipient) const;

 private:
  SealBytes32 bytes_{};
};

/// Fails with kCorrupt (reason "seal-key") when `wrapped` was not made for this key.
Result<SealKey> Unwrap(ByteView wrapped, const EncryptionKey& own);

/// Seals and opens the chunks of one file. Thread-safe.
class ChunkCipher {
 public:
  ChunkCipher(const SealKey& key, const SealSalt& salt, std::string_view name);
  ~ChunkCipher();
  ChunkCipher(const ChunkCipher&) = default;
  ChunkCipher& operator=(const ChunkCipher&) = default;
  /// Writes text.size() + kSealTagBytes bytes to `out`.
  void Seal(std::uint64_t number, bool last, ByteView text, std::uint8_t* out) const;
  /// Writes stored.size() - kSealTagBytes bytes to `out`; false when the chunk is not what was
  /// sealed as this one, and `out` then holds nothing of use.
  [[nodiscard]] bool Open(std::uint64_t number, bool last, ByteView stored,
                          std::uint8_t* out) const;

 private:
  SealBytes32 key_{};
};

/// Writes the sealed form of what it is given. Finish writes the last chunk; without it the file is
/// refused by readers. One chunk of memory. `out` must outlive it.
class SealSink : public Sink {
 public:
  SealSink(Sink& out, const SealKey& key, const SealSalt& salt, std::string_view name);
  Result<void> Write(ByteView bytes) override;
  Result<void> Finish();

 private:
  Result<void> Flush(bool last);

  Sink& out_;
  ChunkCipher cipher_;
  SealSalt salt_;
  Bytes text_;
  std::uint64_t number_ = 0;
};

/// A small file as a whole.
Bytes SealText(const BundleSecret& secret, std::string_view name, ByteView text);

/// The text of a sealed file that is at hand as a whole: kCorrupt, reason "seal-damaged".
Result<Bytes> OpenText(const SealKey& key, std::string_view name, ByteView stored);

/// The first bytes of a sealed file.
Bytes SealHeader(const SealSalt& salt);
/// kCorrupt, reason "seal-damaged".
Result<SealSalt> ReadSealHeader(ByteView header);

}  // namespace gapferry::manifests
