#include "cli/bundle_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "cli/bundle_paths.h"
#include "importer/import_damage.h"
#include "importer/own_side.h"
#include "manifests/trust_store.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

struct Judge {
  manifests::TrustPolicy policy;
  std::optional<manifests::Addressee> addressee;  ///< none with --trust: no site of its own
};

Result<Judge> FindJudge(Context& context, manifests::Medium& medium) {
  Judge judge;
  const auto cards = context.args().List("trust");
  if (cards.empty()) {
    auto path = context.MirrorPath();
    if (!path) {
      path.error().next = "add --trust CARD, the sender's card, or --mirror DIR";
      return std::unexpected(std::move(path.error()));
    }
    TRY_ASSIGN(auto mirror, mirror::Mirror::Open(*path));
    TRY_ASSIGN(auto own, importer::ReadOwnSide(mirror, &medium));
    judge.policy = std::move(own.policy);
    judge.addressee = own.addressee;
    return judge;
  }
  std::vector<manifests::Card> trusted;
  for (const std::string& file : cards) {
    TRY_ASSIGN(const Bytes bytes, ReadFile(file, manifests::kMaxCardBytes));
    TRY_ASSIGN(auto card, manifests::DecodeCard(bytes), "'" + file + "'");
    trusted.push_back(std::move(card));
  }
  judge.policy = manifests::PolicyOf(trusted);
  return judge;
}

/// A manifest that is damaged on one medium stands behind that of another. Nothing is decided by
/// this but which one is verified.
void PutSignedFirst(Context& context, std::vector<fs::path>& folders) {
  std::vector<fs::path> ordered;
  for (const fs::path& folder : folders) {
    manifests::DirectoryMedium medium(folder);
    if (!medium.Open("manifest.json")) continue;
    // What is wrong with one copy is told when all of them together do not satisfy.
    const auto judge = FindJudge(context, medium);
    if (judge && manifests::VerifyManifest(medium, judge->policy, std::nullopt)) {
      ordered.push_back(folder);
    }
  }
  for (const fs::path& folder : folders) {
    if (std::ranges::find(ordered, folder) == ordered.end()) ordered.push_back(folder);
  }
  folders = std::move(ordered);
}

std::vector<fs::path> Paths(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

}  // namespace

Result<CheckedBundle> CheckBundle(Context& context, const std::string& command) {
  CheckedBundle out;
  const auto lacking =
      context.args().Has("part") ? manifests::Lacking::kElsewhere : manifests::Lacking::kRefused;
  TRY_ASSIGN(auto folders, BundleFolders(context.args().List("DIR"), command));
  if (folders.size() > 1) PutSignedFirst(context, folders);
  out.media = std::make_unique<manifests::MediumSet>(folders, lacking);
  manifests::MendOptions options;
  options.reads_on = true;
  out.medium = std::make_unique<manifests::MendingMedium>(*out.media, std::move(options));
  TRY(importer::UseRepairFolders(*out.medium, *out.media, Paths(context.args().List("repair"))));
  TRY_ASSIGN(const Judge judge, FindJudge(context, *out.medium));
  TRY_ASSIGN(out.report, manifests::ReportOn(*out.medium, judge.policy, judge.addressee,
                                             &context.progress(), context.stop()));
  return out;
}

std::vector<Option> BundleCheckOptions() {
  return {{"DIR", Takes::kList, {}, "the bundle's folders, one of each medium", true},
          {"--trust", Takes::kList, "CARD", "a card whose signature counts"},
          {"--repair", Takes::kList, "DIR", "a repair folder that came for this bundle"},
          {"--part",
           Takes::kNothing,
           {},
           "not all media are here: volumes that are missing are no damage"}};
}

std::string SignatureText(const manifests::SignatureReport& report) {
  std::string text =
      fmt::format("signed by {} (origin, key {})", EscapeForDisplay(report.origin.name, 64),
                  report.origin.key.Id().ToHex());
  for (const auto& key : report.released) {
    text += fmt::format(", released by {}", EscapeForDisplay(key.name, 64));
  }
  for (const auto& line : report.unknown) {
    text += fmt::format(", also signed by the unknown key {}, which does not count",
                        line.key_id.ToHex());
  }
  return text;
}

}  // namespace gapferry::cli
