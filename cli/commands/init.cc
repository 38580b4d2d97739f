// gapferry init: a new mirror.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/text.h"
#include "cli/admin_support.h"
#include "cli/command.h"
#include "cli/context.h"

namespace gapferry::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxName = 64;  // bytes, as mirror::Config allows

Result<fs::path> DirectoryOf(const Context& context) {
  const std::string text = *context.args().Text("DIR");
  if (text.empty()) {
    return FailNext(ErrorCode::kUsage, "usage", "the directory's name is empty",
                    "gapferry init DIR");
  }
  std::error_code error;
  fs::path path = fs::absolute(text, error).lexically_normal();
  if (error) return Fail(ErrorCode::kInternal, text + ": " + error.message());
  return path.has_filename() ? path : path.parent_path();  // "DIR/" is DIR
}

Result<std::string> NameOf(const Context& context, const fs::path& directory) {
  std::string name = context.args().TextOr("name", directory.filename().string());
  if (!context.args().Has("name") && name.size() > kMaxName) name.resize(kMaxName);
  const bool control = name.find_first_of("\t\r\n") != std::string::npos;
  if (name.empty() || name.size() > kMaxName || control || !IsValidUtf8(name)) {
    return FailNext(
        ErrorCode::kUsage, "bad-name",
        fmt::format("'{}' is no name of 1 to {} bytes", EscapeForDisplay(name), kMaxName),
        fmt::format("gapferry init {} --name plant", ShellWord(directory.string())));
  }
  return name;
}

Result<mirror::Config::Upstream> UpstreamOf(const Context& context, const fs::path& directory) {
  mirror::Config::Upstream upstream;
  upstream.gap = context.args().Has("gap");
  upstream.wsus = context.args().TextOr("upstream", "");
  const std::string again = "gapferry init " + ShellWord(directory.string());
  if (context.args().Has("upstream")) {
    const std::string lower = ToLowerAscii(upstream.wsus);
    if (!lower.starts_with("http://") && !lower.starts_with("https://")) {
      const std::string example =
          upstream.wsus.empty() ? "http://wsus.example:8530" : "http://" + upstream.wsus;
      return FailNext(ErrorCode::kUsage, "bad-url",
                      fmt::format("upstream '{}' is no URL: it begins with neither http:// nor "
                                  "https://",
                                  EscapeForDisplay(upstream.wsus)),
                      again + " --upstream " + ShellWord(example));
    }
    if (upstream.wsus.find_first_of(" \t\r\n\"<>\\") != std::string::npos) {
      return FailNext(ErrorCode::kUsage, "bad-url",
                      fmt::format("upstream '{}' is no URL such as http://wsus.example:8530",
                                  EscapeForDisplay(upstream.wsus)),
                      again + " --upstream http://wsus.example:8530");
    }
    if (upstream.gap) {
      return FailNext(ErrorCode::kUsage, "usage",
                      "a mirror is fed by an update server (--upstream) or by bundles (--gap), "
                      "not by both",
                      again + " --gap");
    }
  }
  if (context.args().Has("replica") && !upstream.has_any()) {
    return FailNext(ErrorCode::kUsage, "usage",
                    "--replica says that approvals come from above, but there is no upstream",
                    again + " --upstream URL --replica");
  }
  return upstream;
}

void SayWhatNext(Context& context, const fs::path& path, const mirror::Config& config) {
  const std::string mirror = " --mirror " + ShellWord(path.string());
  context.Print(fmt::format("mirror '{}' made in {}", EscapeForDisplay(config.name),
                            EscapeForDisplay(path.string())));
  context.Print("configuration, every key explained: " + (path / "gapferry.yaml").string());
  if (config.upstream.gap) {
    context.Print("next: gapferry identity show" + mirror + " > " +
                  ShellWord(config.name + ".card") +
                  ", carry the card to the connected side, and bring theirs: gapferry trust add "
                  "CARD" +
                  mirror);
  } else if (!config.upstream.wsus.empty()) {
    context.Print("next: gapferry sync --metadata-only" + mirror);
  } else {
    context.Print(
        "it has no upstream: set upstream.wsus or upstream.gap in gapferry.yaml to feed "
        "it");
  }
}

Result<ExitCode> RunInit(Context& context) {
  TRY_ASSIGN(const fs::path path, DirectoryOf(context));
  mirror::Config config;
  TRY_ASSIGN(config.name, NameOf(context, path));
  TRY_ASSIGN(config.upstream, UpstreamOf(context, path));
  config.replica = context.args().Has("replica") || config.upstream.gap;
  if (auto made = mirror::Mirror::Init(path, config); !made) {
    Error error = std::move(made).error();
    if (error.reason == "mirror-exists") {
      return WithNext(std::move(error), "gapferry status --mirror " + ShellWord(path.string()));
    }
    if (error.reason == "not-empty") {
      return WithNext(std::move(error), "gapferry init " + ShellWord((path / "mirror").string()));
    }
    return WithNext(std::move(error), "gapferry init --help");
  }
  TRY_ASSIGN(const auto mirror, mirror::Mirror::Open(path));
  SayWhatNext(context, path, config);
  context.Emit({{"mirror", path.string()},
                {"name", config.name},
                {"guid", mirror.identity().guid.ToString()},
                {"epoch", mirror.identity().epoch.ToString()},
                {"replica", config.replica}});
  return ExitCode::kDone;
}

}  // namespace

std::vector<Command> InitCommands() {
  return {
      {.path = {"init"},
       .summary = "make a new mirror in an empty directory",
       .description =
           "Makes the directory with databases, keys and a gapferry.yaml that explains every "
           "key.\nA mirror is fed by an update server (--upstream), by bundles (--gap) or, for "
           "now, by nothing.\nWith --gap, and with --replica, approvals and groups come from "
           "above; 'replica: false' in\ngapferry.yaml lets this mirror decide for itself.",
       .examples =
           {{"gapferry init /srv/gapferry --name harbour --upstream http://wsus.example:8530",
             "the connected side"},
            {"gapferry init /srv/gapferry --name plant --gap", "the disconnected side"},
            {"gapferry init /srv/gapferry --upstream http://wsus.example:8530 --replica",
             "a branch office that follows the approvals of its upstream"}},
       .options = {{"DIR", Takes::kText, {}, "absent or empty; the mirror's directory", true},
                   {"--name", Takes::kText, "NAME",
                    "shown to peers and in cards; default: the directory's name"},
                   {"--upstream", Takes::kText, "URL",
                    "the WSUS or gapferry to sync with, such as http://wsus.example:8530"},
                   {"--replica", Takes::kNothing, {}, "approvals and groups come from upstream"},
                   {"--gap", Takes::kNothing, {}, "updates come in bundles carried over a gap"}},
       .exits = {ExitCode::kNoSpace},
       .run = RunInit}};
}

}  // namespace gapferry::cli
