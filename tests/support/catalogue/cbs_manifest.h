#pragma once

#include <cstdint>
#include <string>

#include "tests/support/catalogue/model.h"

namespace gapferry::catalogue {

/// Appends the manifest of `revision`'s component package, about revision.manifest_bytes long: an
/// `assembly` with the default namespace that clients need to find again.
void AppendCbsManifest(std::uint64_t seed, const Revision& revision, std::string& out);

}  // namespace gapferry::catalogue
