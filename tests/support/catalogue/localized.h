#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gapferry::catalogue {

/// The first `count` languages of a fixed list (English, German, French, Japanese, …; at most 24),
/// sorted as the real documents sort them.
std::vector<std::string_view> Languages(std::uint32_t count);

/// `title` for readers of `language`, with its script; English is `title` itself.
std::string LocalTitle(std::string_view language, std::string_view title);

/// Some sentences in that language about `title`.
std::string LocalDescription(std::string_view language, std::string_view title);

}  // namespace gapferry::catalogue
