#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cli/app.h"
#include "cli/context.h"
#include "cli/exit_code.h"
#include "cli/help.h"
#include "cli/parse.h"

namespace gapferry::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Command> Commands() {
  std::vector<Command> commands;
  commands.push_back({.path = {"sync"},
                      .summary = "fetches",
                      .examples = {{"gapferry sync", "fetches all"}},
                      .options = {{.name = "--dry-run", .help = "shows only"},
                                  {.name = "--limit", .takes = Takes::kNumber, .value = "N"}},
                      .run = [](Context&) -> Result<ExitCode> { return ExitCode::kDone; }});
  commands.push_back(
      {.path = {"update", "approve"},
       .summary = "approves",
       .examples = {},
       .options = {{.name = "ID", .takes = Takes::kList, .help = "updates", .required = true},
                   {.name = "--group", .takes = Takes::kList, .value = "NAME", .required = true},
                   {.name = "--action",
                    .takes = Takes::kText,
                    .value = "ACTION",
                    .choices = {"install", "uninstall"}}},
       .asks = true,
       .exits = {ExitCode::kNotFound},
       .run = [](Context&) -> Result<ExitCode> {
         return std::unexpected(Error{ErrorCode::kNotFound, "update 'x' is not here", "no-such",
                                      "gapferry update list"});
       }});
  commands.push_back({.path = {"update", "list"}, .summary = "lists", .examples = {}});
  commands.push_back({.path = {"receipt", "enter"},
                      .summary = "enters",
                      .examples = {},
                      .options = {{.name = "SITE", .takes = Takes::kText, .required = true},
                                  {.name = "CODE", .takes = Takes::kList, .required = true}}});
  return commands;
}

Result<Invocation> Parse(std::vector<std::string> words) {
  static const std::vector<Command> commands = Commands();
  return ParseCommandLine(words, commands);
}

TEST(CommandLine, FindsTheCommandAndItsArguments) {
  const auto parsed = Parse({"update", "approve", "a", "b", "--group", "G 1", "--group=G2",
                             "--action", "install", "--mirror", "/m", "--json", "--yes"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->path, ElementsAre("update", "approve"));
  EXPECT_THAT(parsed->arguments.List("ID"), ElementsAre("a", "b"));
  EXPECT_THAT(parsed->arguments.List("group"), ElementsAre("G 1", "G2"));
  EXPECT_EQ(parsed->arguments.Text("action"), "install");
  EXPECT_EQ(parsed->global.mirror, "/m");
  EXPECT_TRUE(parsed->global.json);
  EXPECT_TRUE(parsed->global.yes);
}

TEST(CommandLine, TakesGlobalOptionsBeforeTheCommandAndArgumentsAfterOptions) {
  const auto parsed =
      Parse({"--mirror", "update", "-vv", "update", "approve", "--group", "G", "a", "b"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->global.mirror, "update");
  EXPECT_EQ(parsed->global.verbose, 2);
  EXPECT_THAT(parsed->arguments.List("ID"), ElementsAre("a", "b"));
  EXPECT_THAT(parsed->arguments.List("group"), ElementsAre("G"));
  const auto after_text = Parse({"update", "approve", "--group", "G", "--action", "install", "a"});
  ASSERT_TRUE(after_text) << after_text.error().message;
  EXPECT_THAT(after_text->arguments.List("ID"), ElementsAre("a"));
}

TEST(CommandLine, ASingleArgumentLeavesTheRestToAList) {
  const auto parsed = Parse({"receipt", "enter", "plant", "4K7Q", "0M2X"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->arguments.Text("SITE"), "plant");
  EXPECT_THAT(parsed->arguments.List("CODE"), ElementsAre("4K7Q", "0M2X"));
}

TEST(CommandLine, KeepsWordsBehindTwoDashes) {
  const auto parsed = Parse({"update", "approve", "--group", "G", "--", "--json"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_THAT(parsed->arguments.List("ID"), ElementsAre("--json"));
  EXPECT_FALSE(parsed->global.json);
}

TEST(CommandLine, TellsFlagsAndNumbers) {
  const auto parsed = Parse({"sync", "--dry-run", "--limit", "12"});
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(parsed->arguments.Has("dry-run"));
  EXPECT_EQ(parsed->arguments.Number("limit"), 12u);
  EXPECT_FALSE(Parse({"sync"})->arguments.Has("dry-run"));
  EXPECT_EQ(Parse({"sync"})->arguments.Number("limit"), std::nullopt);
}

struct Refusal {
  const char* name;
  std::vector<std::string> words;
  std::string message;
  std::string next;
};

TEST(CommandLine, RefusesWrongUsage) {
  const Refusal cases[] = {
      {"unknown command", {"snyc"}, "there is no command 'snyc'", "gapferry sync"},
      {"unknown verb",
       {"update", "aprove"},
       "there is no command 'update aprove'",
       "gapferry update approve"},
      {"unlike anything", {"frobnicate"}, "there is no command 'frobnicate'", "gapferry --help"},
      {"unknown verb of a known noun",
       {"update", "frobnicate"},
       "there is no command 'update frobnicate'",
       "gapferry update --help"},
      {"a verb of a known noun that is nearer to another command",
       {"update", "sync"},
       "there is no command 'update sync'",
       "gapferry update --help"},
      {"unknown option with a value",
       {"update", "approve", "a", "--group", "G", "--acton", "install"},
       "update approve: there is no option '--acton'",
       "gapferry update approve --help"},
      {"unknown option with its value behind '='",
       {"sync", "--limt=3"},
       "sync: there is no option '--limt'",
       "gapferry sync --help"},
      {"noun alone", {"update"}, "'update' needs a verb", "gapferry update --help"},
      {"unknown option alone", {"--frob"}, "there is no command '--frob'", "gapferry --help"},
      {"missing argument",
       {"update", "approve", "--group", "G"},
       "update approve: ID is required",
       "gapferry update approve --help"},
      {"missing option",
       {"update", "approve", "a"},
       "update approve: --group is required",
       "gapferry update approve --help"},
      {"no number",
       {"sync", "--limit", "1e3"},
       "sync: --limit: '1e3' is no whole number from 0 to 2^63-1",
       "gapferry sync --help"},
      {"foreign word",
       {"update", "approve", "a", "--group", "G", "--action", "sell"},
       "update approve: --action: 'sell' is none of install, uninstall",
       "gapferry update approve --help"},
  };
  for (const Refusal& c : cases) {
    const auto parsed = Parse(c.words);
    ASSERT_FALSE(parsed) << c.name;
    EXPECT_EQ(parsed.error().code, ErrorCode::kUsage) << c.name;
    EXPECT_EQ(parsed.error().message, c.message) << c.name;
    EXPECT_EQ(parsed.error().next, c.next) << c.name;
  }
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"sync", "--frob"},
                                             {"sync", "extra"},
                                             {"sync", "--limit"},
                                             {"sync", "--limit", "1", "--limit", "2"}}) {
    const auto parsed = Parse(words);
    ASSERT_FALSE(parsed) << words.back();
    EXPECT_EQ(parsed.error().code, ErrorCode::kUsage);
    EXPECT_EQ(parsed.error().next, "gapferry sync --help");
  }
}

TEST(CommandLine, OpensHelpWithExamplesAndEndsWithExitStatus) {
  const std::vector<Command> commands = Commands();
  const std::string help = CommandHelp(commands[0]);
  EXPECT_LT(help.find("EXAMPLES"), help.find("USAGE"));
  EXPECT_LT(help.find("OPTIONS"), help.find("EXIT STATUS"));
  EXPECT_THAT(CommandHelp(commands[1]), HasSubstr("10"));
  EXPECT_TRUE(Parse({"help", "update", "approve"})->help);
  EXPECT_TRUE(Parse({"update", "approve", "--help"})->help);
  EXPECT_THAT(Parse({"update", "--help"})->path, ElementsAre("update"));
  EXPECT_TRUE(Parse({})->help);
  EXPECT_TRUE(Parse({"--version"})->version);
  const std::string list = CommandList(commands, std::vector<std::string>{"update"});
  EXPECT_THAT(list, HasSubstr("update list"));
  EXPECT_EQ(list.find("sync"), list.npos);
}

TEST(CommandLine, ReportsAFailureOnceWithItsNextStep) {
  const std::vector<Command> commands = Commands();
  const std::vector<std::string> words = {"update", "approve", "x", "--group", "G", "--json"};
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  const ExitCode code = RunCommandLine(words, commands, {});
  const std::string out = ::testing::internal::GetCapturedStdout();
  const std::string err = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(code, ExitCode::kNotFound);
  EXPECT_EQ(out,
            "{\"code\":10,\"error\":\"not-found\",\"message\":\"update 'x' is not here\","
            "\"message_type\":\"exit_error\",\"next\":\"gapferry update list\","
            "\"reason\":\"no-such\"}\n");
  EXPECT_EQ(err, out);
}

TEST(ExitCode, IsTheTableOfTheOperationsManual) {
  std::ifstream file(GAPFERRY_SOURCE_DIR "/docs/operations.md");
  std::stringstream manual;
  manual << file.rdbuf();
  ASSERT_FALSE(manual.str().empty());
  for (int number : {0, 1, 2, 3, 10, 11, 20, 21, 22, 30, 130}) {
    const std::string row = "| " + std::to_string(number) + " | " +
                            std::string(ExitCodeText(static_cast<ExitCode>(number))) + " |";
    EXPECT_THAT(manual.str(), HasSubstr(row));
  }
}

TEST(FormatTable, AlignsByCodePoints) {
  EXPECT_EQ(FormatTable({{"NAME", "N"}, {"Büro", "1"}, {"x", ""}}), "NAME  N\nBüro  1\nx\n");
}

}  // namespace
}  // namespace gapferry::cli
