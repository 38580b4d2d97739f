#include "cli/return_commands.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"
#include "cli/context.h"
#include "cli/key_support.h"
#include "exporter/export_return.h"
#include "importer/import_return.h"
#include "importer/reviewer.h"
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
    error.next =
        "the site was put back to an older day: after a full bundle (gapferry export --full --to "
        "DIR --for SITE) its returns count again";
  } else if (error.reason == "signature-missing") {
    error.next = "carry both files, the return and its .sig";
  } else if (error.reason == "signature-threshold") {
    error.next = "a reviewer of the site reads and signs it: gapferry sign RETURN --key KEY";
  } else if (error.reason == "recipient-foreign") {
    error.next = "carry it to the mirror that it names";
  } else if (error.code == ErrorCode::kCorrupt) {
    error.next = "take another copy, or let the site write it again; nothing was changed here";
  }
  return std::unexpected(std::move(error));
}

struct ReviewWish {
  bool is_wanted = false;
  std::optional<manifests::SigningKey> key;  ///< absent: the reviewer signs elsewhere
};

/// Before anything is shown: a person should not read for nothing.
Result<ReviewWish> ReadReview(Context& context, mirror::Mirror& mirror) {
  ReviewWish wish;
  const auto key = context.args().Text("key");
  wish.is_wanted = context.args().Has("review") || key;
  if (mirror.config().return_review && !wish.is_wanted && !context.args().Has("dry-run")) {
    return std::unexpected(
        Error{ErrorCode::kUsage, "return.review in gapferry.yaml asks for a reviewer's signature",
              "review-required",
              "gapferry export --return --review --key KEY --to DIR, or without --key and then on "
              "the reviewer's machine: gapferry sign RETURN --key KEY"});
  }
  if (!key) return wish;
  std::filesystem::path file = *key;
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) {
    TRY_ASSIGN(const auto person, exporter::OpenPerson(file));
    file = person.paths.signing;
  }
  auto loaded = importer::LoadReviewer(mirror, file);
  if (!loaded) {
    Error error = std::move(loaded.error());
    if (error.reason == "reviewer-unknown")
      error.next = "gapferry trust add CARD (of the reviewer)";
    return std::unexpected(std::move(error));
  }
  wish.key.emplace(std::move(*loaded));
  return wish;
}

void SayWhy(Context& context, const mirror::Mirror& mirror,
            const exporter::PreparedReturn& prepared) {
  if (prepared.is_limited) {
    context.Say(fmt::format("level {} instead of {}: the upstream behind {} takes sums only",
                            mirror::ReturnLevelName(prepared.header.level),
                            mirror::ReturnLevelName(mirror.config().return_level),
                            EscapeForDisplay(prepared.recipient_name, 64)));
  }
  if (prepared.sender_knows > 0) {
    context.Warn(
        fmt::format("{} has applied return {}, of which this mirror knows nothing: it was put back "
                    "to an older day since",
                    EscapeForDisplay(prepared.recipient_name, 64), prepared.sender_knows));
  }
}

}  // namespace

Result<ExitCode> ExportReturn(Context& context, mirror::Mirror& mirror) {
  mirror::exchange::ReturnFields fields;
  for (const std::string& field : context.args().List("include")) {
    if (field == "names") fields.names = true;
    if (field == "addresses") fields.addresses = true;
    if (field == "hardware") fields.hardware = true;
  }
  TRY_ASSIGN(const auto review, ReadReview(context, mirror));
  TRY_ASSIGN(const auto lock, mirror::JobLock::Acquire(mirror.path(), "export-return"));

  auto prepared = exporter::PrepareReturn(mirror, lock, fields);
  if (!prepared) return WithNext(std::move(prepared.error()));
  context.Say("this is every line that leaves, to " +
              EscapeForDisplay(prepared->recipient_name, 64) + ":");
  for (const std::string_view line : Split(prepared->text, '\n')) {
    if (!line.empty()) context.Say("  " + std::string(line));
  }
  SayWhy(context, mirror, *prepared);
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
                                   review.key ? &*review.key : nullptr, mirror::CurrentActor()));
  context.Print(written.path.string());
  const bool waits = review.is_wanted && !review.key;
  if (waits) {
    context.Print("it waits for the reviewer: gapferry sign " + written.path.string() +
                  " --key KEY");
  }
  context.Emit({{"return", written.path.string()},
                {"number", written.number},
                {"level", mirror::ReturnLevelName(prepared->header.level)},
                {"lines", prepared->header.lines + 1},
                {"bytes", prepared->text.size()},
                {"review", waits        ? "waiting"
                           : review.key ? "signed"
                                        : "none"},
                {"repeated", prepared->repeated}});
  return ExitCode::kDone;
}

Result<ExitCode> ImportReturn(Context& context, mirror::Mirror& mirror, const std::string& path) {
  auto result = importer::ImportReturn(mirror, path, mirror::CurrentActor());
  if (!result && result.error().reason == "signature-unknown-key" && mirror.config().upstream.gap) {
    result.error().next =
        "this mirror is behind a gap and writes returns: carry it, its .sig and its .trust to the "
        "connected side";
    return std::unexpected(std::move(result.error()));
  }
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
  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto damage, ledger.Damage(result->site.guid));
  if (!damage.empty()) {
    context.Warn(fmt::format(
        "{} asks for damaged blocks of bundle {}: gapferry export --repair-asked --for {} --to DIR",
        site, damage.front().sequence, result->site.stream));
  }
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
