// gapferry repair-request: what to ask the sender of a damaged bundle for.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/bundle_check.h"
#include "cli/damage_view.h"
#include "cli/media_support.h"
#include "manifests/repair_request.h"

namespace gapferry::cli {
namespace {

Result<ExitCode> RepairRequest(Context& context) {
  const fs::path folder = fs::absolute(*context.args().Text("to"));
  TRY(CheckTargetFolder(folder));
  TRY_ASSIGN(const CheckedBundle checked, CheckBundle(context, "repair-request"));
  const auto& report = checked.report;
  const std::string name = report.manifest.DirectoryName();
  const auto request = manifests::RequestFor(report, *checked.medium);
  if (!report.failure) {
    context.Print(name + ": nothing has to be asked for\n" + DamageText(report));
    context.Emit({{"bundle", name}, {"request", nullptr}, {"blocks", 0}, {"files", 0}});
    return ExitCode::kDone;
  }
  if (request.runs.empty() && request.files.empty()) {
    Error error = *report.failure;
    error.message = name + ": " + error.message + ": no repair can be named for this";
    error.next = "take another copy of the medium";
    return std::unexpected(std::move(error));
  }
  const fs::path path = folder / fmt::format("repair-request-{}-{:06}.jsonl",
                                             report.manifest.stream, report.manifest.sequence);
  TRY(WriteFileAtomically(path, AsBytes(manifests::EncodeRepairRequest(request))));
  std::string text = fmt::format(
      "{}\nasks for {} blocks and {} files of {}; the sender types: gapferry export "
      "--repair {} --to DIR\n",
      path.string(), Thousands(request.blocks()), request.files.size(), name,
      path.filename().string());
  if (!report.has_index && report.was_opened) {
    text += "the index is among them: when it is back, verify again, more may be damaged\n";
  }
  context.Print(text + DamageText(report));
  context.Emit({{"bundle", name},
                {"request", path.string()},
                {"blocks", request.blocks()},
                {"runs", request.runs.size()},
                {"files", request.files.size()},
                {"damaged_volumes", DamageToJson(report.volumes)}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> RepairCommands() {
  std::vector<Option> options = BundleCheckOptions();
  options.push_back({"--to", Takes::kText, "DIR", "where the request is written", true});
  return {
      {.path = {"repair-request"},
       .summary = "write what to ask the sender of a damaged bundle for",
       .description =
           "Checks the bundle as 'verify' does and writes a small text file that names each "
           "block of 64 KiB and each small file that is lost, with the digests they must have. "
           "The sender makes a repair folder from it (export --repair), which 'verify --repair' "
           "and 'import --repair' use.",
       .examples = {{"gapferry repair-request /media/stick/gapferry-plant-000007 --to /tmp",
                     "writes /tmp/repair-request-plant-000007.jsonl"}},
       .options = std::move(options),
       .exits = {ExitCode::kNotFound, ExitCode::kCorrupt, ExitCode::kUntrusted},
       .run = RepairRequest}};
}

}  // namespace gapferry::cli
