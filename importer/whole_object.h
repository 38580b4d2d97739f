#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "manifests/bundle_verifier.h"

namespace gapferry::importer {

/// Of a metadata object once it is decoded; read piece by piece.
inline constexpr std::uint64_t kMaxMetadataObjectBytes = 8ULL << 30;
/// Of an object that is looked at before an import or a signature, as it is stored. Senders write
/// some 16 MiB into one, or one document.
inline constexpr std::uint64_t kMaxWholeObjectBytes = 256ULL << 20;

/// An object of the bundle in memory, checked. One above kMaxWholeObjectBytes is kUnsupported
/// (reason "object-too-large"); `what_for` ends that sentence: "can be reviewed".
Result<Bytes> ReadWholeObject(manifests::Medium& medium, const manifests::VerifiedIndex& index,
                              const manifests::IndexLine& line, std::string_view what_for);

}  // namespace gapferry::importer
