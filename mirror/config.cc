#include "mirror/config.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

namespace gapferry::mirror {

// ---- Words -------------------------------------------------------------------------------------

std::string ListenAddress::ToString() const {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

Result<ListenAddress> ListenAddress::Parse(std::string_view text) {
  const auto colon = text.rfind(':');
  std::string_view host = text.substr(0, colon);
  std::array<std::uint8_t, 16> binary{};
  bool is_address = false;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    is_address = ::inet_pton(AF_INET6, std::string(host).c_str(), binary.data()) == 1;
  } else {
    is_address = ::inet_pton(AF_INET, std::string(host).c_str(), binary.data()) == 1;
  }
  const auto port = colon == std::string_view::npos
                        ? std::nullopt
                        : ParseInt<std::uint16_t>(text.substr(colon + 1));
  if (!is_address || !port) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no ADDRESS:PORT such as 0.0.0.0:8530 or [::]:8530",
                            EscapeForDisplay(text)));
  }
  return ListenAddress{std::string(host), *port};
}

std::string_view ReturnLevelName(ReturnLevel level) {
  switch (level) {
    case ReturnLevel::kReceipt:
      return "receipt";
    case ReturnLevel::kSummary:
      return "summary";
    case ReturnLevel::kDetailed:
      return "detailed";
  }
  return "receipt";
}

Result<ReturnLevel> ParseReturnLevel(std::string_view text) {
  for (const auto level : {ReturnLevel::kReceipt, ReturnLevel::kSummary, ReturnLevel::kDetailed}) {
    if (text == ReturnLevelName(level)) return level;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is none of receipt, summary, detailed", EscapeForDisplay(text)));
}

std::string_view RollupDetailName(RollupDetail detail) {
  return detail == RollupDetail::kDetailed ? "detailed" : "summary";
}

std::string_view TargetingName(Targeting targeting) {
  return targeting == Targeting::kClient ? "client" : "server";
}

namespace {

Result<RollupDetail> ParseRollupDetail(std::string_view text) {
  for (const auto detail : {RollupDetail::kDetailed, RollupDetail::kSummary}) {
    if (text == RollupDetailName(detail)) return detail;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is none of detailed, summary", EscapeForDisplay(text)));
}

Result<Targeting> ParseTargeting(std::string_view text) {
  for (const auto targeting : {Targeting::kServer, Targeting::kClient}) {
    if (text == TargetingName(targeting)) return targeting;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is none of server, client", EscapeForDisplay(text)));
}

std::string_view PolicyName(ContentPolicy policy) {
  switch (policy) {
    case ContentPolicy::kApproved:
      return "approved";
    case ContentPolicy::kAll:
      return "all";
    case ContentPolicy::kNone:
      return "none";
  }
  return "approved";
}

Result<ContentPolicy> ParsePolicy(std::string_view text) {
  for (const auto policy : {ContentPolicy::kApproved, ContentPolicy::kAll, ContentPolicy::kNone}) {
    if (text == PolicyName(policy)) return policy;
  }
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is none of approved, all, none", EscapeForDisplay(text)));
}

std::string_view SourceName(ContentSource source) {
  switch (source) {
    case ContentSource::kUpstream:
      return "upstream";
    case ContentSource::kVendor:
      return "vendor";
    case ContentSource::kUpstreamThenVendor:
      return "upstream-then-vendor";
  }
  return "upstream";
}

Result<ContentSource> ParseSource(std::string_view text) {
  for (const auto source :
       {ContentSource::kUpstream, ContentSource::kVendor, ContentSource::kUpstreamThenVendor}) {
    if (text == SourceName(source)) return source;
  }
  return Fail(ErrorCode::kUsage, fmt::format("'{}' is none of upstream, vendor, "
                                             "upstream-then-vendor",
                                             EscapeForDisplay(text)));
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 4> kByteUnits{
    {{"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}, {"TiB", 1ULL << 40}}};
constexpr std::array<Unit, 4> kTimeUnits{{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};

/// "12" or "12UNIT", at most `most` units of one.
Result<std::uint64_t> ParseWithUnit(std::string_view text, std::span<const Unit> units,
                                    bool unit_required, std::uint64_t most) {
  std::uint64_t factor = unit_required ? 0 : 1;
  std::string_view number = text;
  for (const Unit& unit : units) {
    if (text.ends_with(unit.name)) {
      factor = unit.factor;
      number = text.substr(0, text.size() - unit.name.size());
      break;
    }
  }
  const auto value = ParseInt<std::uint64_t>(number);
  if (!value || factor == 0 || *value > most / factor) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no number with a unit of {} to {}, or out of range",
                            EscapeForDisplay(text), units.front().name, units.back().name));
  }
  return *value * factor;
}

std::string WriteWithUnit(std::uint64_t value, std::span<const Unit> units) {
  for (auto unit = units.rbegin(); unit != units.rend(); ++unit) {
    if (value >= unit->factor && value % unit->factor == 0) {
      return fmt::format("{}{}", value / unit->factor, unit->name);
    }
  }
  return fmt::format("{}{}", value, units.front().factor == 1 ? units.front().name : "");
}

bool IsHttpUrl(std::string_view text) {
  const std::string lower = ToLowerAscii(text);
  const std::size_t scheme = lower.starts_with("http://")    ? 7
                             : lower.starts_with("https://") ? 8
                                                             : 0;
  const bool printable = text.find_first_of(" \t\r\n\"<>\\") == std::string_view::npos;
  return scheme != 0 && text.size() > scheme && text[scheme] != '/' && printable;
}

// The value is not shown: it may carry a password.
Result<std::string> ParseProxy(std::string_view text) {
  if (!text.empty() && !IsHttpUrl(text)) {
    return Fail(ErrorCode::kUsage, "the value is no URL such as http://proxy.example:3128");
  }
  return std::string(text);
}

Result<std::optional<TimeWindow>> ParseWindow(std::string_view text) {
  if (text.empty()) return std::optional<TimeWindow>();
  TRY_ASSIGN(const TimeWindow window, TimeWindow::Parse(text));
  return std::optional<TimeWindow>(window);
}

Result<bool> ParseBool(std::string_view text) {
  if (text == "true") return true;
  if (text == "false") return false;
  return Fail(ErrorCode::kUsage,
              fmt::format("'{}' is neither true nor false", EscapeForDisplay(text)));
}

Result<std::string> ParseHttpUrl(std::string_view text) {
  if (!IsHttpUrl(text)) {
    return Fail(ErrorCode::kUsage, fmt::format("'{}' is no URL such as http://wsus.example:8530",
                                               EscapeForDisplay(text)));
  }
  return std::string(text);
}

Result<std::string> ParseName(std::string_view text) {
  constexpr std::size_t kMaxName = 64;
  const bool control = text.find_first_of("\t\r\n") != std::string_view::npos;
  if (text.empty() || text.size() > kMaxName || control || !IsValidUtf8(text)) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no name of 1 to {} bytes", EscapeForDisplay(text), kMaxName));
  }
  return std::string(text);
}

// ---- Reading -----------------------------------------------------------------------------------

/// One mapping of the file: each key is taken once; what nobody took is unknown. The first error is
/// kept. yaml-cpp exceptions end in ParseConfig.
class Section {
 public:
  Section(const YAML::Node& node, std::string path, std::string_view file,
          std::optional<Error>& error)
      : node_(node), path_(std::move(path)), file_(file), error_(error) {
    if (node_.IsNull()) return;  // "serve:" with nothing below it
    if (!node_.IsMap()) {
      Complain(node_, fmt::format("'{}' must hold keys and values", path_));
      return;
    }
    std::set<std::string> seen;
    for (const auto& entry : node_) {
      if (!entry.first.IsScalar()) {
        Complain(entry.first, "a key must be a word");
      } else if (!seen.insert(entry.first.Scalar()).second) {
        Complain(entry.first, fmt::format("key '{}' is repeated", Full(entry.first.Scalar())));
      }
    }
  }

  bool Has(const char* key) {
    if (!node_.IsMap() || error_) return false;
    known_.insert(key);
    return static_cast<bool>(node_[key]);
  }

  Section Sub(const char* key) {
    const bool there = Has(key);
    return Section(there ? node_[key] : YAML::Node(YAML::NodeType::Map), Full(key), file_, error_);
  }

  /// Parses the scalar under `key`, when it is there, into `out`.
  template <class T, class Parser>
  void Take(const char* key, T& out, Parser parse) {
    if (!Has(key)) return;
    const YAML::Node value = node_[key];
    if (!value.IsScalar()) {
      Complain(value, fmt::format("'{}' must be one value", Full(key)));
      return;
    }
    auto parsed = parse(std::string_view(value.Scalar()));
    if (!parsed) {
      Complain(value, fmt::format("'{}': {}", Full(key), parsed.error().message));
      return;
    }
    out = static_cast<T>(*std::move(parsed));
  }

  /// Parses each item of the list under `key` (a single value counts as a list of one).
  template <class Each>
  void TakeList(const char* key, Each each) {
    if (!Has(key)) return;
    const YAML::Node list = node_[key];
    if (list.IsNull()) return;
    const auto take = [&](const YAML::Node& item) {
      if (error_) return;
      if (!item.IsScalar()) return Complain(item, fmt::format("'{}' must be a list", Full(key)));
      const Result<void> taken = each(std::string_view(item.Scalar()));
      if (!taken) Complain(item, fmt::format("'{}': {}", Full(key), taken.error().message));
    };
    if (!list.IsSequence()) return take(list);
    for (const auto& item : list) take(item);
  }

  template <class T>
  void TakeNumber(const char* key, T& out, std::uint64_t least, std::uint64_t most) {
    Take(key, out, [&](std::string_view text) -> Result<std::uint64_t> {
      const auto value = ParseInt<std::uint64_t>(text);
      if (!value || *value < least || *value > most) {
        return Fail(ErrorCode::kUsage, fmt::format("'{}' is no number from {} to {}",
                                                   EscapeForDisplay(text), least, most));
      }
      return *value;
    });
  }

  void TakeBytes(const char* key, std::uint64_t& out) {
    Take(key, out, [](std::string_view text) {
      return ParseWithUnit(text, kByteUnits, /*unit_required=*/false, 1ULL << 50);
    });
  }

  template <class Duration>
  void TakeDuration(const char* key, Duration& out) {
    Take(key, out, [](std::string_view text) -> Result<Duration> {
      TRY_ASSIGN(const auto seconds,
                 ParseWithUnit(text, kTimeUnits, /*unit_required=*/true, 100ULL * 366 * 86400));
      const auto exact = std::chrono::seconds(static_cast<std::int64_t>(seconds));
      const auto value = std::chrono::duration_cast<Duration>(exact);
      if (value != exact) {
        return Fail(ErrorCode::kUsage, fmt::format("'{}' is finer than what is kept", text));
      }
      return value;
    });
  }

  void Finish() {
    if (!node_.IsMap() || error_) return;
    for (const auto& entry : node_) {
      if (!known_.contains(entry.first.Scalar())) {
        Complain(entry.first, fmt::format("unknown key '{}'", Full(entry.first.Scalar())));
      }
    }
  }

  void Complain(const YAML::Node& where, const std::string& what) {
    if (error_) return;
    const YAML::Mark mark = where.Mark();
    error_ = Error{ErrorCode::kUsage,
                   fmt::format("{}:{}:{}: {}", file_, mark.line + 1, mark.column + 1, what),
                   "bad-configuration", ""};
  }
  const YAML::Node& node() const { return node_; }

 private:
  std::string Full(const std::string& key) const {
    return path_.empty() ? EscapeForDisplay(key) : path_ + "." + EscapeForDisplay(key);
  }
  YAML::Node node_;
  std::string path_;
  std::string_view file_;
  std::optional<Error>& error_;
  std::set<std::string> known_;
};

Result<std::string> AnyText(std::string_view text) { return std::string(text); }

void ReadServe(Section section, Config::Serve& serve) {
  Section http = section.Sub("http");
  http.Take("listen", serve.http, ListenAddress::Parse);
  http.Finish();
  if (section.Has("https")) {
    Section https = section.Sub("https");
    serve.https.emplace();
    https.Take("listen", serve.https->listen, ListenAddress::Parse);
    https.Take("certificate", serve.https->certificate, AnyText);
    https.Take("key", serve.https->key, AnyText);
    if (serve.https->certificate.empty() || serve.https->key.empty()) {
      https.Complain(https.node(), "'serve.https' needs certificate and key");
    }
    https.Finish();
  }
  section.TakeBytes("max_request_bytes", serve.max_request_bytes);
  section.TakeNumber("max_ids_per_request", serve.max_ids_per_request, 100, 10'000'000);
  section.TakeNumber("max_connections", serve.max_connections, 1, 1'000'000);
  section.TakeNumber("max_connections_per_address", serve.max_connections_per_address, 1,
                     1'000'000);
  section.TakeBytes("max_header_bytes", serve.max_header_bytes);
  if (serve.max_header_bytes < 4096 || serve.max_header_bytes > (1 << 20)) {
    section.Complain(section.node(), "'serve.max_header_bytes' is not from 4KiB to 1MiB");
  }
  section.TakeNumber("page_updates", serve.page_updates, 1, 1000);
  section.TakeBytes("page_bytes", serve.page_bytes);
  section.TakeBytes("page_cache_bytes", serve.page_cache_bytes);
  section.Take("targeting", serve.targeting, ParseTargeting);
  section.Take("self_update", serve.self_update, AnyText);
  section.TakeDuration("idle_timeout", serve.idle_timeout);
  if (serve.idle_timeout < std::chrono::seconds(1)) {
    section.Complain(section.node(), "'serve.idle_timeout' is less than a second");
  }
  section.Take("evaluate_unapproved", serve.evaluate_unapproved, ParseBool);
  section.TakeDuration("client_timeout", serve.client_timeout);
  section.TakeDuration("cookie_lifetime", serve.cookie_lifetime);
  section.TakeDuration("downstream_cookie_lifetime", serve.downstream_cookie_lifetime);
  if (serve.downstream_cookie_lifetime < std::chrono::seconds(1)) {
    section.Complain(section.node(), "'serve.downstream_cookie_lifetime' is less than a second");
  }
  section.TakeNumber("threads", serve.threads, 0, 1024);
  section.Take("content_url", serve.content_url, ParseHttpUrl);
  section.Take("rollup", serve.rollup, ParseRollupDetail);
  section.Finish();
}

void ReadUpstream(Section section, Config::Upstream& upstream) {
  section.Take("wsus", upstream.wsus, ParseHttpUrl);
  section.Take("gap", upstream.gap, ParseBool);
  section.Take("content_url", upstream.content_url, ParseHttpUrl);
  section.Take("proxy", upstream.proxy, ParseProxy);
  section.Take("ca_file", upstream.ca_file, AnyText);
  section.Take("client_certificate", upstream.client_certificate, AnyText);
  section.Take("client_key", upstream.client_key, AnyText);
  if (!upstream.client_key.empty() && upstream.client_certificate.empty()) {
    section.Complain(section.node(), "'upstream.client_key' needs 'upstream.client_certificate'");
  }
  if (upstream.gap && !upstream.wsus.empty()) {
    section.Complain(section.node(), "'upstream' has either wsus or gap, not both");
  }
  section.Finish();
}

void ReadJobSchedule(Section& section, JobSchedule& schedule) {
  section.TakeList("times", [&](std::string_view text) -> Result<void> {
    TRY_ASSIGN(const auto time, ParseTimeOfDay(text));
    schedule.times.push_back(time);
    return {};
  });
  std::ranges::sort(schedule.times);
  const auto repeated = std::ranges::unique(schedule.times);
  schedule.times.erase(repeated.begin(), repeated.end());
  std::uint8_t days = 0;
  section.TakeList("days", [&](std::string_view text) -> Result<void> {
    TRY_ASSIGN(const std::uint8_t some, ParseDays(text));
    days = static_cast<std::uint8_t>(days | some);
    return {};
  });
  if (days != 0) schedule.days = days;
  section.TakeDuration("randomise", schedule.randomise);
  if (schedule.randomise > JobSchedule::kMostSpread) {
    section.Complain(section.node()["randomise"], "a start is put off by 12h at most");
  }
}

void ReadSchedule(Section section, Schedule& schedule) {
  Section sync = section.Sub("sync");
  ReadJobSchedule(sync, schedule.sync);
  sync.Finish();
  Section rollup = section.Sub("rollup");
  rollup.Take("after_sync", schedule.rollup_after_sync, ParseBool);
  ReadJobSchedule(rollup, schedule.rollup);
  rollup.Finish();
  section.Finish();
}

void ReadScanner(Section& parent, Config::Scanner& scanner) {
  if (!parent.Has("scanner")) return;
  Section section = parent.Sub("scanner");
  section.TakeList("command", [&](std::string_view text) -> Result<void> {
    TRY_ASSIGN(auto word, ParseConfigWord(text));
    scanner.command.push_back(std::move(word));
    return {};
  });
  if (scanner.command.empty() || !scanner.command.front().starts_with('/')) {
    section.Complain(section.node(),
                     "'import.scanner' needs a command that begins with the path of a program");
  }
  section.TakeDuration("timeout", scanner.timeout);
  if (scanner.timeout < std::chrono::seconds(1)) {
    section.Complain(section.node(), "'import.scanner.timeout' is less than a second");
  }
  section.TakeNumber("batch", scanner.batch, 1, 1000);
  section.Take("on_reject", scanner.on_reject, ParseOnReject);
  section.Finish();
}

void ReadMedia(Section section, Config::Media& media) {
  section.TakeList("allowed", [&](std::string_view text) -> Result<void> {
    TRY_ASSIGN(auto word, ParseConfigWord(text));
    media.allowed.push_back(std::move(word));
    return {};
  });
  section.Finish();
}

Result<bool> ParseReview(std::string_view text) {
  if (text == "required") return true;
  if (text == "none") return false;
  return Fail(ErrorCode::kUsage,
              "'" + EscapeForDisplay(text, 40) + "' is neither none nor required");
}

void ReadRest(Section& root, Config& config) {
  Section keys = root.Sub("keys");
  keys.Take("signing", config.keys_signing, AnyText);
  keys.Finish();
  ReadSchedule(root.Sub("schedule"), config.schedule);
  Section returns = root.Sub("return");
  returns.Take("level", config.return_level, ParseReturnLevel);
  returns.Take("review", config.return_review, ParseReview);

  returns.Finish();
  Section content = root.Sub("content");
  content.Take("download", config.content.download, ParsePolicy);
  content.Take("express", config.content.express, ParseBool);
  content.Take("source", config.content.source, ParseSource);
  content.Take("ask_upstream", config.content.ask_upstream, ParseBool);
  content.Take("bandwidth", config.content.bandwidth, ParseBandwidth);
  content.Take("window", config.content.window, ParseWindow);
  content.Finish();
  Section exporting = root.Sub("export");
  exporting.Take("encrypt", config.exporting.encrypt, ParseBool);
  exporting.TakeNumber("parity", config.exporting.parity, 0, 100);
  exporting.Finish();
  Section import = root.Sub("import");
  import.TakeDuration("deadline_floor", config.import.deadline_floor);
  import.TakeBytes("max_document_bytes", config.import.max_document_bytes);
  import.TakeBytes("max_file_bytes", config.import.max_file_bytes);
  import.TakeNumber("warn_after_days", config.import.warn_after_days, 0, 3650);
  ReadScanner(import, config.import.scanner);
  import.Finish();
  ReadMedia(root.Sub("media"), config.media);
  Section sync = root.Sub("sync");
  sync.TakeNumber("parallel_requests", config.sync.parallel_requests, 1, 16);
  sync.TakeNumber("parallel_downloads", config.sync.parallel_downloads, 1, 64);
  sync.TakeNumber("full_list_days", config.sync.full_list_days, 1, 3650);
  sync.Finish();
  Section limits = root.Sub("limits");
  limits.TakeNumber("withdraw_percent", config.limits.withdraw_percent, 0, 100);
  limits.TakeNumber("events_kept_days", config.limits.events_kept_days, 1, 3650);
  limits.Finish();
}

}  // namespace

Result<std::uint64_t> ParseBandwidth(std::string_view text) {
  constexpr std::uint64_t kLeast = 1024;
  std::string spelled(text);
  if (!spelled.empty() && std::string_view("kmgKMG").find(spelled.back()) != std::string::npos) {
    spelled.back() = static_cast<char>(spelled.back() & ~0x20);  // upper case
    spelled += "iB";
  }
  const auto value = ParseWithUnit(spelled, kByteUnits, /*unit_required=*/false, 1ULL << 40);
  if (!value || (*value > 0 && *value < kLeast)) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no number of bytes per second such as 500K or 2M, at least 1K "
                            "(0: no limit)",
                            EscapeForDisplay(text)));
  }
  return *value;
}

Result<std::chrono::seconds> ParseDuration(std::string_view text) {
  const auto seconds =
      ParseWithUnit(text, kTimeUnits, /*unit_required=*/true, 100ULL * 366 * 86400);
  if (!seconds) {
    return Fail(ErrorCode::kUsage,
                fmt::format("'{}' is no time such as 90s, 15m, 2h or 1d", EscapeForDisplay(text)));
  }
  return std::chrono::seconds(static_cast<std::int64_t>(*seconds));
}

Result<Config> ParseConfig(std::string_view text, std::string_view file_name) {
  std::optional<Error> error;
  Config config;
  try {
    const YAML::Node node = YAML::Load(std::string(text));
    Section root(node, "", file_name, error);
    root.Take("name", config.name, ParseName);
    if (config.name.empty()) root.Complain(node, "'name' is missing");
    ReadServe(root.Sub("serve"), config.serve);
    ReadUpstream(root.Sub("upstream"), config.upstream);
    root.Take("replica", config.replica, ParseBool);
    ReadRest(root, config);
    root.Finish();
  } catch (const YAML::Exception& exception) {
    return Fail(ErrorCode::kUsage, "bad-configuration",
                fmt::format("{}:{}:{}: {}", file_name, exception.mark.line + 1,
                            exception.mark.column + 1, exception.msg));
  }
  if (error) return std::unexpected(*std::move(error));
  if (config.replica && !config.upstream.has_any()) {
    return Fail(ErrorCode::kUsage, "bad-configuration",
                fmt::format("{}: 'replica' is true, but there is no upstream", file_name));
  }
  return config;
}

Result<Config> LoadConfig(const std::filesystem::path& path) {
  constexpr std::uint64_t kMaxBytes = 1 << 20;
  TRY_ASSIGN(const std::string text, ReadTextFile(path, kMaxBytes));
  return ParseConfig(text, path.string());
}

// ---- Writing -----------------------------------------------------------------------------------

namespace {

/// A YAML double-quoted scalar.
std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string Seconds(std::chrono::seconds value) {
  return WriteWithUnit(static_cast<std::uint64_t>(value.count()), kTimeUnits);
}
std::string ByteCount(std::uint64_t value) {
  const std::string text = WriteWithUnit(value, kByteUnits);
  return text;
}

/// "key: value", or the same as a comment when the value is not set.
std::string Optional(std::string_view key, const std::string& value, std::string_view example) {
  return value.empty() ? fmt::format("# {}: {}", key, example)
                       : fmt::format("{}: {}", key, Quoted(value));
}

std::string HttpsPart(const Config& config) {
  if (!config.serve.https) {
    return "  # https:                     # absent: no HTTPS\n"
           "  #   listen: 0.0.0.0:8531\n"
           "  #   certificate: keys/server.pem   # PEM, relative to this directory\n"
           "  #   key: keys/server.key\n";
  }
  const auto& https = *config.serve.https;
  return fmt::format(
      "  https:\n    listen: \"{}\"\n    certificate: {}    # PEM, relative to this directory\n"
      "    key: {}\n",
      https.listen.ToString(), Quoted(https.certificate.string()), Quoted(https.key.string()));
}

}  // namespace

std::string WriteDuration(std::chrono::seconds value) { return Seconds(value); }

std::string WriteConfig(const Config& c) {
  std::string out = fmt::format(
      "# Configuration of this gapferry mirror. Unknown keys are errors.\n\n"
      "# Shown to peers and in cards.\nname: {}\n\n",
      Quoted(c.name));
  out += fmt::format(
      "# What `gapferry serve` offers to clients and to update servers below.\n"
      "serve:\n"
      "  http:\n    listen: \"{}\"        # ADDRESS:PORT\n{}"
      "  max_request_bytes: {}        # larger requests are refused\n"
      "  max_ids_per_request: {}     # each revision that a client was given counts\n"
      "  max_connections: {}\n"
      "  max_connections_per_address: {}  # many clients may come by one address\n"
      "  max_header_bytes: {}         # of one request\n"
      "  page_updates: {}              # new updates in one answer to a scan\n"
      "  page_bytes: {}               # and bytes of their metadata; one update may be larger\n"
      "  page_cache_bytes: {}       # memory for answers' parts that are ready to be sent\n"
      "  targeting: {}             # server: you put computers into groups; client: their policy\n"
      "                               # names the groups (a name without group counts for "
      "nothing)\n"
      "  {}   # folder served as /SelfUpdate, for clients before\n"
      "                               # Windows 10: copied from a WSUS; absent: none\n"
      "  evaluate_unapproved: {}    # clients count what they need before it is approved\n"
      "  client_timeout: {}             # a client that sends or takes nothing for so long is "
      "left\n"
      "  idle_timeout: {}               # of a connection between requests; clients keep theirs "
      "for "
      "2 minutes\n"
      "  cookie_lifetime: {}            # clients renew by themselves\n"
      "  downstream_cookie_lifetime: {} # so do update servers below\n"
      "  threads: {}                     # 0: as many as processors\n"
      "  {}   # absent: the address a client came by\n"
      "  rollup: {}             # what servers below report: detailed (computers) or summary\n\n",
      c.serve.http.ToString(), HttpsPart(c), ByteCount(c.serve.max_request_bytes),
      c.serve.max_ids_per_request, c.serve.max_connections, c.serve.max_connections_per_address,
      ByteCount(c.serve.max_header_bytes), c.serve.page_updates, ByteCount(c.serve.page_bytes),
      ByteCount(c.serve.page_cache_bytes), TargetingName(c.serve.targeting),
      Optional("self_update", c.serve.self_update.string(), "self-update"),
      c.serve.evaluate_unapproved, Seconds(c.serve.client_timeout), Seconds(c.serve.idle_timeout),
      Seconds(c.serve.cookie_lifetime), Seconds(c.serve.downstream_cookie_lifetime),
      c.serve.threads, Optional("content_url", c.serve.content_url, "http://updates.example:8530"),
      RollupDetailName(c.serve.rollup));
  out += fmt::format(
      "# Where updates come from: an update server (wsus) or bundles carried over a gap.\n"
      "upstream:\n"
      "  {}\n"
      "  gap: {}\n"
      "  {}   # absent: the same host, by the protocol's rule\n"
      "  {}   # may hold USER:PASSWORD@; absent: direct. The environment "
      "counts for nothing\n"
      "  {}   # PEM, relative to this directory; absent: the system's authorities\n"
      "  {}   # PEM, for upstreams that ask for one\n"
      "  {}   # PEM; absent: in the file of the certificate\n\n"
      "# true: groups, approvals and declines come from above and are not changed here.\n"
      "replica: {}\n\n",
      Optional("wsus", c.upstream.wsus, "http://wsus.example:8530"), c.upstream.gap,
      Optional("content_url", c.upstream.content_url, "http://wsus.example:8530"),
      Optional("proxy", c.upstream.proxy, "http://proxy.example:3128"),
      Optional("ca_file", c.upstream.ca_file.string(), "keys/upstream-ca.pem"),
      Optional("client_certificate", c.upstream.client_certificate.string(), "keys/client.pem"),
      Optional("client_key", c.upstream.client_key.string(), "keys/client.key"), c.replica);
  out += fmt::format(
      "# The private key that signs cards, bundles and returns: a file, or a key on a PKCS#11 "
      "token\n"
      "# (pkcs11:token=LABEL;object=LABEL?module-path=FILE). Absent: keys/signing.pem.\n"
      "keys:\n  {}\n\n",
      Optional("signing", c.keys_signing, "pkcs11:token=gapferry;object=signing"));
  out += fmt::format(
      "# What leaves this side in returns: receipt, summary (counts) or detailed (computers).\n"
      "# review: none, or required: a second person reads each return and signs it (export "
      "--return\n"
      "# --review); receipt codes, which nobody can sign, are not shown then.\n"
      "return:\n  level: {}\n  review: {}\n\n"
      "content:\n"
      "  download: {}           # approved, all or none\n"
      "  express: {}               # also express (.psf) files\n"
      "  source: {}           # upstream, vendor (the addresses the upstream passes on) or\n"
      "                             # upstream-then-vendor\n"
      "  ask_upstream: {}           # to fetch for us what it has not stored itself\n"
      "  bandwidth: {}                 # bytes per second of all downloads, such as 500K or 2M; 0: "
      "no limit\n"
      "  {}   # local time of day for downloads; absent: at any time\n\n"
      "# true: bundles are encrypted for their recipients, so that a lost medium tells nothing. "
      "Every\n"
      "# recipient opens them by itself; tools like tar, and scanners on the way, cannot look "
      "inside.\n"
      "# The options --encrypt and --no-encrypt of export decide for one bundle.\n"
      "export:\n"
      "  encrypt: {}\n"
      "  parity: {}                    # percent of repair data beside each volume; 5 mends a "
      "scratch over\n"
      "                               # 4 % of a medium; 0: none; --parity decides for one "
      "bundle\n\n"
      "import:\n"
      "  deadline_floor: {}           # no deadline arrives earlier than this after the import\n"
      "  max_document_bytes: {}   # of one update's metadata, decoded\n"
      "  max_file_bytes: {}\n"
      "  warn_after_days: {}            # without a new bundle, status warns; 0: never\n",
      ReturnLevelName(c.return_level), c.return_review ? "required" : "none",
      PolicyName(c.content.download), c.content.express, SourceName(c.content.source),
      c.content.ask_upstream, ByteCount(c.content.bandwidth),
      Optional("window", c.content.window ? c.content.window->ToString() : "", "22:00-05:00"),
      c.exporting.encrypt, c.exporting.parity, Seconds(c.import.deadline_floor),
      ByteCount(c.import.max_document_bytes), ByteCount(c.import.max_file_bytes),
      c.import.warn_after_days);
  out += WriteScannerSection(c.import.scanner) + "\n" + WriteMediaSection(c.media);
  out += WriteScheduleSection(c.schedule) + "\n";
  out += fmt::format(
      "sync:\n"
      "  parallel_requests: {}\n"
      "  parallel_downloads: {}\n"
      "  full_list_days: {}           # compare with the upstream's whole list at least so "
      "often\n\n"
      "limits:\n"
      "  withdraw_percent: {}          # more live updates than this vanish only when accepted\n"
      "  events_kept_days: {}\n",
      c.sync.parallel_requests, c.sync.parallel_downloads, c.sync.full_list_days,
      c.limits.withdraw_percent, c.limits.events_kept_days);
  return out;
}

}  // namespace gapferry::mirror
