#pragma once

#include <string_view>

#include "base/bytes.h"

namespace gapferry::testing {

/// A cabinet of one folder and one member, compressed with MSZIP (type 1): data blocks of 32 KiB,
/// each a deflate stream that may refer to the block before, with block checksums. Deterministic;
/// no date, no attributes. Content up to 1 GiB. Real servers use LZX, for which there is no writer;
/// a reader of cabinets treats both alike.
Bytes WriteMszipCabinet(std::string_view member_name, ByteView content);

/// What GetUpdateData carries as XmlUpdateBlobCompressed: a cabinet with `blob`, the text as
/// UTF-16LE. `utf8` must be valid.
Bytes WriteMetadataCabinet(std::string_view utf8);

/// WSUS compresses documents whose UTF-16 form is larger than this; smaller ones go as text.
inline constexpr std::size_t kCompressedDocumentBytes = 5120;

}  // namespace gapferry::testing
