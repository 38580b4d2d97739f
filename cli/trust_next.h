#pragma once

#include <string_view>

namespace gapferry::cli {

/// The next step when trust, a key or a bundle's chain was refused for `reason`
/// (docs/operations.md, "Refusals"); empty for other reasons. For every command that may meet it
/// and knows nothing better.
std::string_view NextOfTrust(std::string_view reason);

}  // namespace gapferry::cli
