#pragma once

#include "base/result.h"
#include "manifests/manifest.h"
#include "mirror/mirror.h"

namespace gapferry::importer {

/// What the connected side says of this site's returns (docs/format.md). A computer that the
/// upstream has deleted stays here, served as before, but leaves with no return until it registers
/// again; one of a server below is removed, and that server is told so. Saying it again changes
/// nothing; what is not said any more is over. Requests for whole bundles that an applied return
/// told are honoured by the bundle that says so, and end. Short transactions; may be repeated.
/// `sender` has applied a return: what that one asked for is not asked again.
Result<void> ApplyAcknowledgement(mirror::Mirror& mirror, const Guid& sender,
                                  const manifests::Acknowledgement& acknowledgement);

}  // namespace gapferry::importer
