#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/stream.h"

namespace gapferry::protocol {

/// Upper bound of a revision's document, as UTF-8 text.
inline constexpr std::uint64_t kMaxDocumentBytes = 256ULL << 20;

/// Decodes an XmlUpdateBlobCompressed (MS-WSUSSS 2.2.3.8): a cabinet with exactly one member named
/// `blob` that holds UTF-16LE text without byte-order mark. Writes the text to `text` as UTF-8, in
/// pieces, and returns its size in bytes; memory does not grow with the text.
/// Fails with kCorrupt on anything that is no such cabinet, on damage, on text that is not UTF-16,
/// and past `limit_bytes` of UTF-8; what was written before a failure is to be thrown away.
Result<std::uint64_t> DecodeMetadataCabinet(ByteView cabinet, Sink& text,
                                            std::uint64_t limit_bytes = kMaxDocumentBytes);

/// The same as one string.
Result<std::string> DecodeMetadataCabinet(ByteView cabinet,
                                          std::uint64_t limit_bytes = kMaxDocumentBytes);

}  // namespace gapferry::protocol
