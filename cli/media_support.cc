#include "cli/media_support.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/text.h"

namespace gapferry::cli {

Result<std::uint64_t> ParseMediaSize(std::string_view option, std::string_view text) {
  if (text == "fat32") return 4'294'966'784;  // in whole tar blocks
  if (text == "dvd") return 4'600'000'000;
  if (text == "bd25") return 24'900'000'000;
  const auto bytes = ParseInt<std::uint64_t>(text);
  if (bytes && *bytes > 0) return *bytes;
  return Fail(ErrorCode::kUsage,
              fmt::format("{} takes a number of bytes, fat32, dvd or bd25, not '{}'", option,
                          EscapeForDisplay(text, 40)));
}

Result<std::optional<std::filesystem::path>> AskForMedium(Context& context, std::string_view what,
                                                          const std::filesystem::path& same) {
  if (context.json() || context.global().yes || ::isatty(STDIN_FILENO) == 0) {
    return std::optional<std::filesystem::path>();
  }
  fmt::print(stderr, "{}\nPut it in and press Enter ({}), type another path, or q to stop: ", what,
             same.string());
  std::fflush(stderr);
  std::array<char, 4096> answer{};
  if (std::fgets(answer.data(), static_cast<int>(answer.size()), stdin) == nullptr ||
      context.stop().stop_requested()) {
    return Fail(ErrorCode::kCancelled, "no answer");
  }
  const std::string_view word = TrimAscii(answer.data());
  if (word == "q" || word == "Q") return std::optional<std::filesystem::path>();
  if (word.empty()) return std::optional(same);
  return std::optional(std::filesystem::absolute(word));
}

}  // namespace gapferry::cli
