#pragma once

#include "base/canonical_json.h"
#include "manifests/manifest.h"

namespace gapferry::manifests {

/// The members that lie in the manifest of a plain bundle and in details.json.sealed of a sealed
/// one (docs/format.md, "Manifest", marked d). `index` holds what its decoded form is; a plain
/// manifest adds the stored size and digest to it.
JsonValue::Object EncodeDetailFields(const Manifest& manifest);

/// Takes these members but `index` from `fields`; `out.sequence` must be known. Failures are noted
/// in `fields`.
void ReadDetailFields(JsonFields& fields, Manifest& out);
void ReadIndexDetails(JsonFields& fields, IndexSummary& out);

/// Ends `child` and notes its failure in `parent`.
void TakeChild(JsonFields& parent, JsonFields& child);

}  // namespace gapferry::manifests
