// gapferry bundle list|abandon: the numbers of the streams and what became of them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "mirror/audit.h"
#include "mirror/job_lock.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto sites, ledger.Sites());
  std::vector<std::vector<std::string>> rows = {
      {"STREAM", "BUNDLE", "STATE", "SCOPE", "FROM", "TO", "SIZE", "WRITTEN TO"}};
  for (const auto& site : sites) {
    TRY_ASSIGN(const auto bundles, ledger.Bundles(site.guid));
    for (const auto& bundle : bundles) {
      rows.push_back({site.stream, std::to_string(bundle.sequence),
                      std::string(mirror::BundleStateName(bundle.state)),
                      bundle.full ? "full" : "delta", std::to_string(bundle.base.name.generation),
                      std::to_string(bundle.target.name.generation), FormatByteCount(bundle.bytes),
                      bundle.path});
      context.Emit({{"stream", site.stream},
                    {"site", site.guid.ToString()},
                    {"sequence", bundle.sequence},
                    {"state", mirror::BundleStateName(bundle.state)},
                    {"scope", bundle.full ? "full" : "delta"},
                    {"base", bundle.base.name.generation},
                    {"target", bundle.target.name.generation},
                    {"bytes", bundle.bytes},
                    {"path", bundle.path}});
    }
  }
  context.Print(rows.size() == 1 ? "no bundles" : FormatTable(rows));
  return ExitCode::kDone;
}

Result<ExitCode> Abandon(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "bundle abandon"));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindSite(*context.args().Text("SITE")));
  const auto text = *context.args().Text("SEQ");
  const auto sequence = ParseInt<std::uint64_t>(text);
  if (!sequence) {
    return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(text, 40) + "' is no number of a bundle");
  }
  TRY(context.Confirm(
      fmt::format("Bundle {} of stream {} will never be finished or counted. Give it up?",
                  *sequence, site.stream)));
  TRY(ledger.Abandon(site.guid, *sequence, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print(fmt::format("bundle {} of stream {} is void", *sequence, site.stream));
  context.Emit({{"stream", site.stream}, {"sequence", *sequence}, {"state", "void"}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> BundleCommands() {
  return {{.path = {"bundle", "list"},
           .summary = "list the bundles written for sites",
           .examples = {{"gapferry bundle list", "every number and what became of it"},
                        {"gapferry bundle list --json", "one object per line"}},
           .run = List},
          {.path = {"bundle", "abandon"},
           .summary = "give up a bundle that is unfinished or will not be delivered",
           .examples = {{"gapferry bundle abandon plant 7", "asks first"},
                        {"gapferry bundle abandon plant 7 --yes", "in scripts"}},
           .options = {{"SITE", Takes::kText, {}, "stream, name or GUID of a site", true},
                       {"SEQ", Takes::kText, {}, "the bundle's number", true}},
           .asks = true,
           .exits = {ExitCode::kNotFound, ExitCode::kBusy},
           .run = Abandon}};
}

}  // namespace gapferry::cli
