#include "cli/return_commands.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/context.h"
#include "exporter/export_return.h"
#include "importer/import_return.h"
#include "mirror/audit.h"

namespace gapferry::cli {
namespace {

using nlohmann::json;

std::unexpected<Error> WithNext(Error error) {
  if (error.reason == "no-recipient") {
    error.next = "gapferry trust add CARD";
  } else if (error.reason == "signature-unknown-key") {
    error.next = "if it comes from a site that is to be known: gapferry site add CARD";
  } else if (error.reason == "return-foreign-server") {
    error.next =
        "gapferry downstream list shows whom this server reports to; if it moved behind the gap: "
        "gapferry downstream remove SERVER, then import the return again";
  } else if (error.reason == "return-reused") {
    error.next = "at the site: gapferry export --return writes the next number";
  } else if (error.reason == "recipient-foreign") {
    error.next = "carry it to the mirror that it names";
  } else if (error.code == ErrorCode::kCorrupt) {
    error.next = "take another copy, or let the site write it again; nothing was changed here";
  }
  return std::unexpected(std::move(error));
}

}  // namespace

Result<ExitCode> ExportReturn(Context& context, mirror::Mirror& mirror) {
  mirror::exchange::ReturnFields fields;
  for (const std::string& field : context.args().List("include")) {
    if (field == "names") fields.names = true;
    if (field == "addresses") fields.addresses = true;
    if (field == "hardware") fields.hardware = true;
  }
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "export-return"));
  auto prepared = exporter::PrepareReturn(mirror, lock, fields);
  if (!prepared) return WithNext(std::move(prepared.error()));
  context.Say("this is every line that leaves, to " +
              EscapeForDisplay(prepared->recipient_name, 64) + ":");
  for (const std::string_view line : Split(prepared->text, '\n')) {
    if (!line.empty()) context.Say("  " + std::string(line));
  }
  if (context.args().Has("dry-run")) {
    context.Emit({{"level", mirror::ReturnLevelName(prepared->header.level)},
                  {"lines", prepared->header.lines + 1},
                  {"bytes", prepared->text.size()}});
    return ExitCode::kDone;
  }
  TRY(context.Confirm("May these lines leave?"));
  TRY_ASSIGN(const auto written,
             exporter::WriteReturn(mirror, lock, *prepared,
                                   std::filesystem::absolute(*context.args().Text("to")),
                                   mirror::CurrentActor()));
  context.Print(written.path.string());
  context.Emit({{"return", written.path.string()},
                {"number", written.number},
                {"level", mirror::ReturnLevelName(prepared->header.level)},
                {"lines", prepared->header.lines + 1},
                {"bytes", prepared->text.size()},
                {"repeated", prepared->repeated}});
  return ExitCode::kDone;
}

Result<ExitCode> ImportReturn(Context& context, mirror::Mirror& mirror, const std::string& path) {
  auto result = importer::ImportReturn(mirror, path, mirror::CurrentActor());
  if (!result) return WithNext(std::move(result.error()));
  const std::string site = EscapeForDisplay(result->site.name, 64);
  std::string text;
  if (result->outcome != importer::ReturnOutcome::kApplied) {
    text = fmt::format("return {} of {} is {}; nothing changed", result->header.number, site,
                       result->outcome == importer::ReturnOutcome::kLate
                           ? "older than the last one applied"
                           : "applied already");
  } else if (result->applied.acknowledged) {
    text = fmt::format(
        "return {} of {}: receipt for bundle {}, generation {}; the next delta starts "
        "there",
        result->header.number, site, result->applied.sequence,
        result->applied.acknowledged->name.generation);
  } else {
    text = fmt::format("return {} of {}: no receipt; the next bundle is a full one",
                       result->header.number, site);
  }
  if (result->outcome == importer::ReturnOutcome::kApplied) {
    text +=
        fmt::format("\n{} servers, {} computers, {} states; {} files asked for", result->servers,
                    result->computers, result->statuses, result->applied.requested);
  }
  context.Print(text);
  if (result->applied.restored)
    context.Warn(site + " was restored or made anew since its last return");
  if (!result->applied.diverged.empty()) {
    context.Warn(site + " has diverged: " + result->applied.diverged +
                 "; deltas stop until: gapferry export --full --for " + result->site.stream);
  }
  json object = {{"site", result->site.stream},
                 {"number", result->header.number},
                 {"outcome", importer::ReturnOutcomeName(result->outcome)},
                 {"acknowledged", nullptr},
                 {"diverged", result->applied.diverged},
                 {"restored", result->applied.restored},
                 {"requested_files", result->applied.requested},
                 {"servers", result->servers},
                 {"computers", result->computers},
                 {"statuses", result->statuses}};
  if (result->applied.acknowledged) {
    object["acknowledged"] = {{"sequence", result->applied.sequence},
                              {"generation", result->applied.acknowledged->name.generation}};
  }
  context.Emit(object);
  return ExitCode::kDone;
}

}  // namespace gapferry::cli
