// gapferry bundle list|show|abandon: the numbers of the streams and what became of them.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/context.h"
#include "exporter/stored_plan.h"
#include "mirror/audit.h"
#include "mirror/bundle_media.h"
#include "mirror/job_lock.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

/// Owner, stream and name of every series of bundles.
struct Stream {
  Guid owner;
  std::string stream;
  std::string name;
};

Result<std::vector<Stream>> Streams(mirror::Ledger& ledger) {
  std::vector<Stream> streams;
  TRY_ASSIGN(const auto sites, ledger.Sites());
  for (const auto& site : sites) streams.push_back({site.guid, site.stream, site.name});
  TRY_ASSIGN(const auto groups, ledger.Groups());
  for (const auto& group : groups) streams.push_back({group.guid, group.stream, group.name});
  return streams;
}

json OutToJson(const Stream& stream, const mirror::BundleOut& bundle) {
  return {{"direction", "out"},
          {"stream", stream.stream},
          {"site", stream.owner.ToString()},
          {"sequence", bundle.sequence},
          {"state", mirror::BundleStateName(bundle.state)},
          {"scope", bundle.full ? "full" : "delta"},
          {"base", bundle.base.name.generation},
          {"target", bundle.target.name.generation},
          {"bytes", bundle.bytes},
          {"path", bundle.path},
          {"manifest_sha256", bundle.manifest ? bundle.manifest->ToHex() : ""}};
}

json InToJson(const mirror::BundleIn& bundle) {
  return {{"direction", "in"},
          {"stream", bundle.stream},
          {"sender", bundle.sender.ToString()},
          {"sequence", bundle.sequence},
          {"state", "imported"},
          {"scope", bundle.full ? "full" : "delta"},
          {"target", bundle.target.name.generation},
          {"generation", bundle.local_generation},
          {"imported_at", bundle.imported_at.ToXml()},
          {"manifest_sha256", bundle.manifest.ToHex()}};
}

constexpr int kMaxImports = 100'000;

Result<ExitCode> List(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto streams, Streams(ledger));
  std::vector<std::vector<std::string>> rows = {
      {"STREAM", "BUNDLE", "STATE", "SCOPE", "FROM", "TO", "SIZE", "MEDIA", "LAST ONE AT"}};
  for (const auto& stream : streams) {
    TRY_ASSIGN(const auto bundles, ledger.Bundles(stream.owner));
    for (const auto& bundle : bundles) {
      mirror::BundleMedia placed(mirror.db(), bundle.site, bundle.sequence);
      TRY_ASSIGN(const auto media, placed.All());
      const auto lost = std::ranges::count(media, true, &mirror::BundleMedium::lost);
      rows.push_back({stream.stream, std::to_string(bundle.sequence),
                      std::string(mirror::BundleStateName(bundle.state)),
                      bundle.full ? "full" : "delta", std::to_string(bundle.base.name.generation),
                      std::to_string(bundle.target.name.generation), FormatByteCount(bundle.bytes),
                      std::to_string(static_cast<std::ptrdiff_t>(media.size()) - lost),
                      bundle.path.empty() && !media.empty() ? media.back().path : bundle.path});
      context.Emit(OutToJson(stream, bundle));
    }
  }
  TRY_ASSIGN(auto imports, ledger.Imports(kMaxImports));
  std::ranges::reverse(imports);
  for (const auto& bundle : imports) {
    rows.push_back({bundle.stream, std::to_string(bundle.sequence), "imported",
                    bundle.full ? "full" : "delta", "",
                    std::to_string(bundle.target.name.generation), "", "", ""});
    context.Emit(InToJson(bundle));
  }
  context.Print(rows.size() == 1 ? "no bundles" : FormatTable(rows));
  return ExitCode::kDone;
}

Result<std::uint64_t> SequenceArgument(Context& context) {
  const auto text = *context.args().Text("SEQ");
  const auto sequence = ParseInt<std::uint64_t>(text);
  if (sequence) return *sequence;
  return Fail(ErrorCode::kUsage, "'" + EscapeForDisplay(text, 40) + "' is no number of a bundle");
}

/// Who has said that the bundle arrived, by name.
Result<std::vector<std::pair<std::string, bool>>> Receipts(mirror::Ledger& ledger,
                                                           const mirror::Destination& to,
                                                           std::uint64_t sequence) {
  std::vector<std::pair<std::string, bool>> receipts;
  for (const auto& site : to.recipients) {
    TRY_ASSIGN(const auto sent, ledger.Sent(site.guid));
    const auto found = std::ranges::find_if(
        sent, [&](const auto& one) { return one.owner == to.guid && one.sequence == sequence; });
    receipts.emplace_back(site.name, found != sent.end() && found->acknowledged);
  }
  return receipts;
}

void AppendMedia(std::string& text, json& object, const std::vector<mirror::BundleMedium>& media) {
  object["media"] = json::array();
  for (const auto& medium : media) {
    std::uint64_t bytes = 0;
    json volumes = json::array();
    for (const auto& volume : medium.volumes) {
      bytes += volume.bytes;
      volumes.push_back(
          {{"volume", volume.number}, {"bytes", volume.bytes}, {"sha256", volume.sha256.ToHex()}});
    }
    text += fmt::format("\n  medium {:<4} {}, {}{}, begun {}{}", medium.number,
                        EscapeForDisplay(medium.path, 400), FormatByteCount(bytes),
                        medium.has_manifest ? " and the manifest" : "", medium.begun_at.ToXml(),
                        medium.lost ? ", given up" : "");
    if (!medium.read_back.empty()) text += ", " + medium.read_back;
    for (const auto& volume : medium.volumes) {
      text += fmt::format("\n    volume {:<4} sha256:{}", volume.number, volume.sha256.ToHex());
    }
    object["media"].push_back({{"medium", medium.number},
                               {"path", medium.path},
                               {"lost", medium.lost},
                               {"manifest", medium.has_manifest},
                               {"read_back", medium.read_back},
                               {"bytes", bytes},
                               {"volumes", std::move(volumes)}});
  }
}

Result<ExitCode> ShowOut(Context& context, mirror::Mirror& mirror, const mirror::Destination& to,
                         const mirror::BundleOut& bundle) {
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto plan, exporter::DecodePlan(bundle.plan));
  mirror::BundleMedia placed(mirror.db(), bundle.site, bundle.sequence);
  TRY_ASSIGN(const auto media, placed.All());
  TRY_ASSIGN(const auto receipts, Receipts(ledger, to, bundle.sequence));
  const auto& totals = plan.draft.totals;
  std::string text = fmt::format(
      "bundle {} of stream {}, for {}\n"
      "  state       {}\n"
      "  scope       {}, generation {} to {}\n"
      "  carries     {} documents, {} files, {}\n"
      "  reserved    {}\n"
      "  finished    {}\n"
      "  manifest    {}",
      bundle.sequence, to.stream, EscapeForDisplay(to.name, 64),
      mirror::BundleStateName(bundle.state), bundle.full ? "full" : "delta",
      bundle.base.name.generation, bundle.target.name.generation, totals.revisions,
      totals.content_files, FormatByteCount(totals.content_bytes), bundle.reserved_at.ToXml(),
      bundle.finished_at ? bundle.finished_at->ToXml() : "not yet",
      bundle.manifest ? "sha256:" + bundle.manifest->ToHex() : "not signed yet");
  json object = OutToJson({to.guid, to.stream, to.name}, bundle);
  object["revisions"] = totals.revisions;
  object["content_files"] = totals.content_files;
  object["content_bytes"] = totals.content_bytes;
  object["reserved_at"] = bundle.reserved_at.ToXml();
  object["finished_at"] = bundle.finished_at ? json(bundle.finished_at->ToXml()) : json();
  AppendMedia(text, object, media);
  object["receipts"] = json::array();
  for (const auto& [site, arrived] : receipts) {
    text += fmt::format("\n  receipt     {}: {}", EscapeForDisplay(site, 64),
                        arrived ? "imported there" : "none yet");
    object["receipts"].push_back({{"site", site}, {"acknowledged", arrived}});
  }
  context.Print(text);
  context.Emit(object);
  return ExitCode::kDone;
}

ExitCode ShowIn(Context& context, const mirror::BundleIn& bundle) {
  context.Print(
      fmt::format("bundle {} of stream {}, from {}\n"
                  "  state       imported {}\n"
                  "  scope       {}, to generation {} of the sender, {} here\n"
                  "  manifest    sha256:{}",
                  bundle.sequence, bundle.stream, bundle.sender.ToString(),
                  bundle.imported_at.ToXml(), bundle.full ? "full" : "delta",
                  bundle.target.name.generation, bundle.local_generation, bundle.manifest.ToHex()));
  context.Emit(InToJson(bundle));
  return ExitCode::kDone;
}

Result<ExitCode> Show(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  TRY_ASSIGN(const std::uint64_t sequence, SequenceArgument(context));
  const std::string name = *context.args().Text("SITE");
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto imports, ledger.Imports(kMaxImports));
  for (const auto& bundle : imports) {
    if (bundle.stream == name && bundle.sequence == sequence) return ShowIn(context, bundle);
  }
  auto to = ledger.FindDestination(name);
  if (!to) {
    to.error().next = "gapferry bundle list";
    return std::unexpected(std::move(to.error()));
  }
  TRY_ASSIGN(const auto bundle, ledger.FindBundle(to->guid, sequence));
  if (bundle) return ShowOut(context, mirror, *to, *bundle);
  auto error = Fail(ErrorCode::kNotFound, "bundle-unknown",
                    fmt::format("there is no bundle {} of stream {}", sequence, to->stream));
  error.error().next = "gapferry bundle list";
  return error;
}

Result<ExitCode> Abandon(Context& context) {
  TRY_ASSIGN(const auto path, context.MirrorPath());
  TRY_ASSIGN(auto mirror, mirror::Mirror::Open(path));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "bundle abandon"));
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto site, ledger.FindDestination(*context.args().Text("SITE")));
  TRY_ASSIGN(const std::uint64_t sequence, SequenceArgument(context));
  TRY(context.Confirm(
      fmt::format("Bundle {} of stream {} will never be finished or counted. Give it up?", sequence,
                  site.stream)));
  TRY(ledger.Abandon(site.guid, sequence, mirror.clock().Now(), mirror::CurrentActor()));
  context.Print(fmt::format("bundle {} of stream {} is void", sequence, site.stream));
  context.Emit({{"stream", site.stream}, {"sequence", sequence}, {"state", "void"}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> BundleCommands() {
  return {{.path = {"bundle", "list"},
           .summary = "list the bundles that were written and imported",
           .examples = {{"gapferry bundle list", "every number and what became of it"},
                        {"gapferry bundle list --json", "one object per line"}},
           .run = List},
          {.path = {"bundle", "show"},
           .summary = "show one bundle: state, media, volumes, digests, receipts",
           .examples = {{"gapferry bundle show plant 7", "by stream and number"},
                        {"gapferry bundle show plant 7 --json", "with every digest"}},
           .options = {{"SITE", Takes::kText, {}, "stream, name or GUID of a site or group", true},
                       {"SEQ", Takes::kText, {}, "the bundle's number", true}},
           .exits = {ExitCode::kNotFound},
           .run = Show},
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
