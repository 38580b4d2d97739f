#include "cli/card_check.h"

#include <algorithm>

#include "base/text.h"

namespace gapferry::cli {
namespace {

/// What counts of a fingerprint as somebody typed it.
std::string Letters(std::string_view text) {
  std::string letters;
  for (const char c : ToLowerAscii(text)) {
    if (c != '-' && c != ' ') letters += c;
  }
  return letters;
}

std::unexpected<Error> NoFingerprint(const std::string& text, std::string why) {
  return std::unexpected(Error{ErrorCode::kUsage,
                               "--fingerprint '" + EscapeForDisplay(text, 80) + "' " + why,
                               "fingerprint-malformed",
                               "type all eight groups of four, as 'gapferry identity show' prints "
                               "them on the other side"});
}

Result<void> CheckTyped(const std::string& typed, const manifests::Card& card) {
  const std::string expected = Letters(card.Fingerprint()), letters = Letters(typed);
  const auto wrong = letters.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567");
  if (wrong != std::string::npos) {
    return NoFingerprint(typed,
                         "has characters that no fingerprint has: it is made of a to z and "
                         "2 to 7");
  }
  if (letters.size() != expected.size()) {
    return NoFingerprint(typed, "has " + std::to_string(letters.size()) +
                                    " letters and digits, a fingerprint has " +
                                    std::to_string(expected.size()));
  }
  if (letters == expected) return {};
  return std::unexpected(
      Error{ErrorCode::kUntrusted,
            "this card of '" + EscapeForDisplay(card.name, 64) + "' has the fingerprint " +
                card.Fingerprint() + ", not the one that was typed",
            "fingerprint-differs",
            "compare once more by voice; if it stays so, this is not their card: have it printed "
            "again over there, with 'gapferry identity show', and carried here"});
}

}  // namespace

Result<void> ConfirmCard(Context& context, const manifests::Card& card, const std::string& command,
                         const std::string& question) {
  if (const auto typed = context.args().Text("fingerprint")) return CheckTyped(*typed, card);
  auto answer = context.Confirm(question);
  if (!answer && answer.error().reason == "needs-answer") {
    answer.error().next = "compare the fingerprint by voice, then: " + command +
                          " --fingerprint WHAT-THEY-READ (or --yes, when it was compared)";
  }
  return answer;
}

Option FingerprintOption() {
  return {"--fingerprint", Takes::kText, "TEXT",
          "what the other side reads from its screen: the card must have it; nothing is asked"};
}

}  // namespace gapferry::cli
