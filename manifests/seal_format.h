#pragma once

#include <cstdint>
#include <optional>

namespace gapferry::manifests {

/// A sealed file is a header and chunks (docs/format.md, "Sealed bundles"). The header and the
/// first chunk, and every chunk after it, fill one 64 KiB block each: a damaged block is a damaged
/// chunk.
inline constexpr const char* kSealedSuffix = ".sealed";
inline constexpr std::uint64_t kSealChunkBytes = 64 * 1024;  ///< as stored
inline constexpr std::uint64_t kSealTagBytes = 16;           ///< at the end of each chunk
inline constexpr std::uint64_t kSealHeaderBytes = 32;
/// What a full chunk holds; the header takes its bytes from the first one.
inline constexpr std::uint64_t kSealPlainBytes = kSealChunkBytes - kSealTagBytes;

/// Of the sealed form of a file of `plain_bytes`.
std::uint64_t SealedSize(std::uint64_t plain_bytes);

/// Of the text in a sealed file of `stored_bytes`; nothing when none has that size.
std::optional<std::uint64_t> PlainSize(std::uint64_t stored_bytes);

/// The largest file whose sealed form has at most `stored_bytes`; 0 when there is none.
std::uint64_t PlainCapacity(std::uint64_t stored_bytes);

}  // namespace gapferry::manifests
