#pragma once

#include <string>
#include <string_view>

namespace gapferry::mirror {

/// `text` as HTML text or as the value of an attribute in quotes. Controls, characters that show
/// nothing and those that change the direction of writing become codes such as [U+202E]; what is no
/// UTF-8 is escaped byte by byte.
std::string EscapeHtml(std::string_view text);

}  // namespace gapferry::mirror
