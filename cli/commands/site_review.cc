// gapferry site review: who must have read and signed what a site sends back.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "manifests/card.h"
#include "mirror/audit.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

constexpr std::uint64_t kMaxReviewers = 64;

std::unexpected<Error> Refuse(std::string message, std::string next) {
  return std::unexpected(
      Error{ErrorCode::kUsage, std::move(message), "review-unmet", std::move(next)});
}

Result<manifests::Card> ReadReviewer(const std::string& file, const Bytes& bytes) {
  TRY_ASSIGN(auto card, manifests::DecodeCard(bytes), "'" + file + "'");
  if (std::ranges::find(card.roles, manifests::SignerRole::kRelease) == card.roles.end()) {
    return Refuse("'" + file + "' is the card of " + EscapeForDisplay(card.name, 64) +
                      ", which has no role release",
                  "gapferry key create makes the keys and the card of a reviewer");
  }
  return card;
}

Result<ExitCode> Review(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  const std::string name = *context.args().Text("SITE");
  TRY_ASSIGN(const auto site, ledger.FindSite(name));
  TRY_ASSIGN(const auto before, ledger.ReviewOf(site.guid));
  std::vector<std::pair<Guid, Bytes>> cards;
  std::vector<std::string> names;
  const auto files = context.args().List("reviewer");
  for (const std::string& file : files) {
    TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
    TRY_ASSIGN(const auto card, ReadReviewer(file, bytes));
    if (card.guid == site.guid) {
      return Refuse("'" + file + "' is the card of the site itself", "name another person's card");
    }
    cards.emplace_back(card.guid, bytes);
    names.push_back(card.name);
  }
  if (files.empty()) {
    for (const Bytes& bytes : before.cards) {
      TRY_ASSIGN(const auto card, manifests::DecodeCard(bytes));
      cards.emplace_back(card.guid, bytes);
      names.push_back(card.name);
    }
  }
  std::ranges::sort(cards, {}, &std::pair<Guid, Bytes>::first);
  cards.erase(std::ranges::unique(cards, {}, &std::pair<Guid, Bytes>::first).begin(), cards.end());
  const std::uint64_t required = context.args().Number("require").value_or(before.required);
  if (required > std::min<std::uint64_t>(cards.size(), kMaxReviewers)) {
    return Refuse(
        fmt::format("{} reviewers are to sign, and the cards of {} are here", required,
                    cards.size()),
        fmt::format("gapferry site review {} --require {} --reviewer CARD ...", name, required));
  }
  if (context.args().Has("require") || !files.empty()) {
    TRY(ledger.SetReview(site.guid, static_cast<unsigned>(required), cards, mirror.clock().Now(),
                         mirror::CurrentActor()));
  }
  std::string text =
      required == 0
          ? fmt::format("returns of {} need no reviewer", site.stream)
          : fmt::format("returns of {} count when {} of these signed them:", site.stream, required);
  for (const std::string& one : names) text += "\n  " + EscapeForDisplay(one, 64);
  context.Print(text);
  context.Emit({{"site", site.stream}, {"required", required}, {"reviewers", names}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> SiteReviewCommands() {
  return {{.path = {"site", "review"},
           .summary = "say who must have signed what a site sends back",
           .description =
               "Returns of the site are refused unless so many reviewers of it signed them "
               "beside the site itself. Receipt codes, which nobody can sign, are refused "
               "then. Without options the present rule is shown.",
           .examples = {{"gapferry site review plant --require 1 --reviewer alice.card",
                         "a return counts when Alice signed it"},
                        {"gapferry site review plant --require 0", "the site alone again"}},
           .options = {{"SITE", Takes::kText, {}, "stream, name or GUID of a site", true},
                       {"--require", Takes::kNumber, "K", "so many reviewers; 0: none"},
                       {"--reviewer", Takes::kList, "CARD",
                        "whose signature counts; given, they replace those before"}},
           .exits = {ExitCode::kNotFound, ExitCode::kCorrupt, ExitCode::kUntrusted},
           .run = Review}};
}

}  // namespace gapferry::cli
