#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "exporter/stored_plan.h"
#include "manifests/bundle_writer.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Secrets of sealed bundles (manifests/seal.h) lie in keys/sealing/, one file of mode 0600 for
/// each bundle, named as its folder: so that an interrupted export, a medium that is written again
/// and damaged blocks that are sent again have the same bytes. They go when the bundle is
/// acknowledged or void; of streams without receipts the last few are kept.

/// How the bundle of a plan is sealed, with the secret of an earlier run or, when it is not signed
/// yet, a new one; nothing for a plain bundle. Of a bundle that is signed another secret would make
/// other bytes: kUsage (reason "plan-gone").
Result<std::optional<manifests::Sealing>> SealingOf(mirror::Mirror& mirror, const StoredPlan& plan,
                                                    bool is_signed);

/// After a source gave other bytes than planned and the bundle is not signed: bytes that were
/// encrypted and will not be used must not meet others under the same key.
Result<void> ForgetSecret(mirror::Mirror& mirror, const manifests::Manifest& draft);

/// Removes the secrets of bundles that need not be written again. Fails only when the folder cannot
/// be read or changed.
Result<void> TidySecrets(mirror::Mirror& mirror, const mirror::Destination& destination);

/// The manifest of a bundle that this mirror wrote, with the details of its plan: the sender cannot
/// open what it sealed.
Result<manifests::Manifest> ReadWritten(ByteView bytes, const manifests::Manifest& draft);

}  // namespace gapferry::exporter
