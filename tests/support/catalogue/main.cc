// gapferry-catalogue: catalogues of generated updates for tests, demo and benchmarks.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>

#include "cli/exit_code.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/expect.h"
#include "tests/support/catalogue/export_files.h"
#include "tests/support/catalogue/fill.h"
#include "tests/support/catalogue/listing.h"
#include "tests/support/catalogue/machine.h"
#include "tests/support/catalogue/summary.h"

namespace gapferry::catalogue {
namespace {

struct Arguments {
  Options options;
  unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  bool json = false;
  std::string directory;
  std::string mirror;
  std::string content = "all";
  std::string profile;
};

void Print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<void> Info(const Catalogue& catalogue, const Arguments& arguments) {
  const Summary summary = Summarize(catalogue, arguments.threads);
  Print(arguments.json ? SummaryJson(catalogue, summary) : SummaryText(catalogue, summary));
  return {};
}

Result<void> Ids(const Catalogue& catalogue, const Arguments& arguments) {
  Print(arguments.json ? ListingJson(catalogue) : ListingText(catalogue));
  return {};
}

Result<void> Write(const Catalogue& catalogue, const Arguments& arguments) {
  return WriteCatalogue(catalogue, arguments.directory, arguments.threads);
}

Result<void> Facts(const Catalogue& catalogue, const Arguments& arguments) {
  if (arguments.profile.empty()) {
    for (const ProfileName& name : ProfileNames()) {
      Print(std::string(name.name) + ": " + std::string(name.description) + "\n");
    }
    return {};
  }
  TRY_ASSIGN(const Machine machine, MachineOf(catalogue, arguments.profile));
  Print(FactsYaml(machine));
  return {};
}

Result<void> ExpectProfile(const Catalogue& catalogue, const Arguments& arguments) {
  TRY_ASSIGN(const Machine machine, MachineOf(catalogue, arguments.profile));
  const Expectation expectation = Expect(catalogue, machine);
  Print(arguments.json ? ExpectationJson(catalogue, machine, expectation)
                       : ExpectationText(catalogue, expectation));
  return {};
}

Result<void> Fill(const Catalogue& catalogue, const Arguments& arguments) {
  TRY_ASSIGN(const FillReport report, FillMirror(catalogue, arguments.mirror,
                                                 {.with_content = arguments.content == "all",
                                                  .threads = arguments.threads}));
  Print(arguments.json ? FillReportJson(report) : FillReportText(report));
  return {};
}

using Command = Result<void> (*)(const Catalogue&, const Arguments&);

int Report(const Error& error) {
  std::string text = "gapferry-catalogue: " + error.message + "\n";
  if (!error.next.empty()) text += error.next + "\n";
  std::fwrite(text.data(), 1, text.size(), stderr);
  return static_cast<int>(cli::ExitCodeFor(error.code));
}

int Run(int argc, char** argv) {
  Arguments arguments;
  Command command = nullptr;
  CLI::App app{
      "Generated update catalogues: the same seed, size and step give the same bytes anywhere.\n"
      "Examples:\n"
      "  gapferry-catalogue info --size S\n"
      "  gapferry-catalogue fill --mirror upstream --size 10000 --content none\n"
      "  gapferry-catalogue facts --profile workstation-x64 > machine.yaml"};
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* summary, Command run) {
    CLI::App* sub = app.add_subcommand(name, summary);
    sub->add_option("--seed", arguments.options.seed, "any number (default 1)");
    sub->add_option("--size", arguments.options.size,
                    "S, M (33,000), L (400,000) or an exact number of revisions from 600; M and L "
                    "have documents as large as observed, 1.6 and 21 GB in all (default S)");
    sub->add_option("--step", arguments.options.step,
                    "publications after the first state: each adds a new update, a new revision "
                    "of an old one and an expired one (default 0)");
    sub->add_flag("--big", arguments.options.big, "one more update with a document of 47 MB");
    sub->add_flag("--real-tail", arguments.options.real_tail,
                  "component manifests as large as observed, also in other sizes");
    sub->add_option("--largest-manifest", arguments.options.largest_manifest,
                    "bytes: of the observed tail, leave out what is larger, such as 8388608");
    sub->add_option("--file-median", arguments.options.file_median,
                    "median size of content files in bytes (default 48 KiB for S, else 8 KiB)");
    sub->add_option("--huge-file", arguments.options.huge_file,
                    "one more update with a file of so many bytes");
    sub->add_option("--threads", arguments.threads, "default: one per processor");
    sub->add_flag("--json", arguments.json, "JSON on stdout");
    sub->callback([&command, run] { command = run; });
    return sub;
  };
  add("info", "counts, sizes and the digest over every byte", &Info);
  add("ids", "all revisions with their relations and files", &Ids);
  add("write", "documents, content files and a list, as files", &Write)
      ->add_option("--out", arguments.directory, "directory, created")
      ->required();
  CLI::App* fill = add("fill", "load everything into a mirror as one generation", &Fill);
  fill->add_option("--mirror", arguments.mirror, "directory of the mirror")->required();
  fill->add_option("--content", arguments.content, "all or none (default all)")
      ->check(CLI::IsMember({"all", "none"}));
  add("facts", "a simulated machine for 'gapferry client --as'", &Facts)
      ->add_option("--profile", arguments.profile, "which machine; without it the list");
  add("expect", "what a scan of that machine finds when everything is approved", &ExpectProfile)
      ->add_option("--profile", arguments.profile, "which machine")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(cli::ExitCode::kUsage);
  }
  const bool rules_only = command == &Facts || command == &ExpectProfile;
  const auto catalogue = Catalogue::Make(arguments.options, arguments.threads,
                                         rules_only ? FileDigests::kSkip : FileDigests::kCompute);
  if (!catalogue.has_value()) return Report(catalogue.error());
  const Result<void> result = command(*catalogue, arguments);
  return result.has_value() ? 0 : Report(result.error());
}

}  // namespace
}  // namespace gapferry::catalogue

int main(int argc, char** argv) { return gapferry::catalogue::Run(argc, argv); }
