#pragma once

#include <filesystem>

#include "base/result.h"
#include "manifests/signature.h"

namespace gapferry::manifests {

/// Adds one line to the signature file `from`, which lies beside `document`, and writes the whole
/// to `to` (the same path, or elsewhere when the medium is read-only) in one step; nothing else is
/// touched. The lines that are there must be well-formed (kCorrupt as DecodeSignatures); this very
/// key again replaces its line when the role is the same, and is refused (kUsage, reason
/// "signature-other-role") in another. Returns the line.
Result<SignatureLine> AddSignature(ByteView document, const std::filesystem::path& from,
                                   const std::filesystem::path& to, const SigningKey& key,
                                   SignerRole role);

}  // namespace gapferry::manifests
