#pragma once

#include "base/result.h"
#include "cli/context.h"

namespace gapferry::cli {

/// `error` of a dialogue with the upstream with the next step for the operator: the key of
/// gapferry.yaml to set, the space to make, or to repeat the command. Keeps a next step it has.
Error WithUpstreamNext(const Context& context, Error error);

}  // namespace gapferry::cli
