#include "exporter/medium_label.h"

#include <fmt/format.h>

#include "base/text.h"

namespace gapferry::exporter {

std::string NumberRanges(const std::vector<std::uint32_t>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[i]);
    if (last > i) text += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return text.empty() ? "none" : text;
}

std::string MediumLabel(const manifests::Manifest& bundle, const LabelFacts& facts) {
  std::string recipients;
  for (const auto& recipient : bundle.recipients) {
    recipients += (recipients.empty() ? "" : ", ") + EscapeForDisplay(recipient.name, 64);
  }
  std::string text = fmt::format("MEDIUM {}", facts.medium);
  if (!facts.media.empty() && facts.media.back() == facts.media.size()) {
    text += fmt::format(" OF {}", facts.media.size());
  } else if (!facts.media.empty()) {
    text += fmt::format(" (of media {})", NumberRanges(facts.media));
  }
  text += fmt::format(
      "\n\n"
      "Bundle    {} of stream {}\n"
      "Folder    {}\n"
      "Carries   volumes {} of {}, {}{}\n"
      "From      {}\n"
      "Give to   {}: the administrator of gapferry there\n",
      bundle.sequence, bundle.stream, bundle.DirectoryName(), NumberRanges(facts.volumes),
      facts.volumes_in_all, FormatByteCount(facts.bytes),
      facts.has_manifest ? ", and the manifest" : "", EscapeForDisplay(bundle.sender.name, 64),
      recipients);
  if (!facts.has_manifest) {
    text += "Order     any, once the medium with the manifest was read\n";
  } else if (facts.media.size() > 1) {
    text += "Order     read this medium first\n";
  }
  text +=
      "\n"
      "Courier: do not open, do not plug into another computer. Return address: none.\n"
      "Recipient: gapferry import PATH-OF-THIS-MEDIUM\n";
  return text;
}

}  // namespace gapferry::exporter
