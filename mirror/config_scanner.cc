// The parts of gapferry.yaml about what is let in: the scanner of imports and the media.
#include <fmt/format.h>

#include "base/text.h"
#include "mirror/config.h"

namespace gapferry::mirror {
namespace {

std::string QuotedList(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += out.empty() ? "\"" : ", \"";
    for (const char c : word) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return "[" + out + "]";
}

}  // namespace

std::string_view OnRejectName(OnReject choice) {
  return choice == OnReject::kWithhold ? "withhold" : "refuse";
}

Result<OnReject> ParseOnReject(std::string_view text) {
  for (const auto choice : {OnReject::kRefuse, OnReject::kWithhold}) {
    if (text == OnRejectName(choice)) return choice;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is none of refuse, withhold", EscapeForDisplay(text)));
}

Result<std::string> ParseConfigWord(std::string_view text) {
  constexpr std::size_t kMost = 4096;
  const bool control = text.find_first_of(std::string_view("\0\t\r\n", 4)) != text.npos;
  if (text.empty() || text.size() > kMost || control) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no word of 1 to {} bytes", EscapeForDisplay(text), kMost));
  }
  return std::string(text);
}

std::string WriteScannerSection(const Config::Scanner& scanner) {
  const std::string mark = scanner.command.empty() ? "# " : "";
  const std::string command = scanner.command.empty()
                                  ? R"(["/usr/bin/clamdscan", "--fdpass", "--no-summary", "{}"])"
                                  : QuotedList(scanner.command);
  return fmt::format(
      "  {0}scanner:                 # sees each new file before it is read here; absent: none\n"
      "  {0}  command: {1}   # {{}}: the paths\n"
      "  {0}  timeout: {2}            # for one call; later counts as rejected, as a crash does\n"
      "  {0}  batch: {3}               # paths in one call\n"
      "  {0}  on_reject: {4}       # the whole import; or withhold: the file and its updates\n",
      mark, command, WriteDuration(scanner.timeout), scanner.batch,
      OnRejectName(scanner.on_reject));
}

std::string WriteMediaSection(const Config::Media& media) {
  const std::string allowed = media.allowed.empty() ? R"(# allowed: ["4C530001230101117362"])"
                                                    : "allowed: " + QuotedList(media.allowed);
  return fmt::format(
      "# Sticks and discs that bundles and returns may lie on, by serial number of the device or\n"
      "# UUID of the file system ('gapferry evidence' shows them); absent: any.\n"
      "media:\n  {}\n\n",
      allowed);
}

}  // namespace gapferry::mirror
