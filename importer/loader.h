#pragma once

#include <stop_token>

#include "base/progress.h"
#include "base/result.h"
#include "importer/staging.h"
#include "mirror/catalog_load.h"
#include "mirror/exchange/intent_object.h"

namespace gapferry::importer {

/// Reads the staged intent object.
Result<mirror::exchange::IntentObject> ReadStagedIntent(const Staging& staging);

/// Loads the documents of a verified bundle, invisible until the commit, and proves that every
/// revision the bundle is about is here with the text it names. Fails with kCorrupt: reasons
/// "metadata-malformed", "metadata-unlisted", "metadata-missing", "document-conflict", "closure"
/// (a revision refers to one that is neither here nor in the bundle, and the sender did not say
/// so).
Result<mirror::CatalogLoad::Summary> LoadDocuments(mirror::Mirror& mirror,
                                                   const manifests::VerifiedIndex& index,
                                                   const Staging& staging,
                                                   const mirror::exchange::IntentObject& intent,
                                                   mirror::CatalogLoad& load, Progress& progress,
                                                   std::stop_token stop);

/// Each content object is declared by some revision, with this digest and size wherever a digest is
/// declared. Fails with kCorrupt: reasons "content-undeclared", "content-mismatch".
Result<void> CheckDeclarations(mirror::Mirror& mirror, const manifests::VerifiedIndex& index);

}  // namespace gapferry::importer
