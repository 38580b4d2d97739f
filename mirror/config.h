#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "mirror/schedule.h"
#include "mirror/time_window.h"

namespace gapferry::mirror {

/// An address to listen on: "0.0.0.0:8530", "[::1]:8530".
struct ListenAddress {
  std::string host;  ///< a literal IPv4 or IPv6 address, without brackets
  std::uint16_t port = 0;
  std::string ToString() const;
  static Result<ListenAddress> Parse(std::string_view text);
};

enum class ReturnLevel { kReceipt, kSummary, kDetailed };
std::string_view ReturnLevelName(ReturnLevel level);
Result<ReturnLevel> ParseReturnLevel(std::string_view text);

/// What update servers below report of their computers.
enum class RollupDetail {
  kDetailed,  ///< each computer with its status
  kSummary,   ///< counts only
};
std::string_view RollupDetailName(RollupDetail detail);

/// What `sync` downloads.
enum class ContentPolicy {
  kApproved,  ///< files of updates approved for installation, and of what they bundle
  kAll,       ///< files of every update of the subscription
  kNone,      ///< metadata only
};

/// Where content comes from.
enum class ContentSource {
  kUpstream,            ///< the upstream's content folder
  kVendor,              ///< the vendor's network, by the addresses the upstream passes on
  kUpstreamThenVendor,  ///< the vendor's network for what the upstream does not deliver
};

struct HttpsConfig {
  ListenAddress listen{"0.0.0.0", 8531};
  std::filesystem::path certificate;  ///< PEM, relative to the mirror
  std::filesystem::path key;          ///< PEM, relative to the mirror
};

/// Who says in which groups a computer is.
enum class Targeting {
  kServer,  ///< the administrator of this mirror
  kClient,  ///< the computer, by the names its policy gives it
};
std::string_view TargetingName(Targeting targeting);

/// What becomes of a bundle when the scanner rejects one of its files.
enum class OnReject { kRefuse, kWithhold };
std::string_view OnRejectName(OnReject choice);
Result<OnReject> ParseOnReject(std::string_view text);

/// gapferry.yaml. Every key is explained by comments in the file that `init` writes.
struct Config {
  std::string name;  ///< of this mirror, shown to peers; 1 to 64 bytes of UTF-8

  struct Serve {
    ListenAddress http{"0.0.0.0", 8530};
    std::optional<HttpsConfig> https;  ///< absent: no HTTPS
    std::uint64_t max_request_bytes = 16ULL << 20;
    /// A client names every revision it was ever given: as many as the catalogue has for it.
    std::uint32_t max_ids_per_request = 200'000;
    std::uint32_t max_connections = 4'000;
    std::uint32_t max_connections_per_address = 1'024;
    std::uint64_t max_header_bytes = 32 * 1024;
    std::uint32_t page_updates = 200;       ///< new updates in one SyncUpdates answer
    std::uint64_t page_bytes = 2ULL << 20;  ///< of their decoded fragments; one may be larger
    /// Memory for what answers to scans are made of, ready to be sent; 0: everything is made anew.
    std::uint64_t page_cache_bytes = 128ULL << 20;
    Targeting targeting = Targeting::kServer;
    std::filesystem::path self_update;  ///< served as /SelfUpdate, relative to the mirror; or empty
    /// Clients are given what nobody approved to evaluate, so that "needed" is known before.
    bool evaluate_unapproved = true;
    std::chrono::seconds client_timeout{60};
    std::chrono::seconds idle_timeout{180};  ///< between requests on one connection
    std::chrono::minutes cookie_lifetime{60};
    std::chrono::seconds downstream_cookie_lifetime{std::chrono::hours(4)};
    std::uint32_t threads = 0;  ///< 0: as many as processors
    std::string content_url;    ///< what clients are told; empty: the address they came by
    RollupDetail rollup = RollupDetail::kDetailed;
  } serve;

  struct Upstream {
    std::string wsus;  ///< URL of an update server; empty when fed by a gap or by nothing
    bool gap = false;
    bool has_any() const { return gap || !wsus.empty(); }
    std::string content_url;        ///< empty: derived from wsus by the protocol's rule
    std::string proxy;              ///< URL, may carry credentials: never shown; empty: direct
    std::filesystem::path ca_file;  ///< PEM, relative to the mirror; empty: the system's
    std::filesystem::path client_certificate;  ///< PEM, relative to the mirror
    std::filesystem::path client_key;          ///< PEM; empty: in the file of the certificate
  } upstream;

  /// Groups, approvals and declines come from above and are not changed here.
  bool replica = false;
  /// The private key that signs for this mirror: a file, relative to the mirror, or the URI of a
  /// key on a PKCS#11 token; empty: keys/signing.pem.
  std::string keys_signing;
  ReturnLevel return_level = ReturnLevel::kReceipt;
  bool return_review = false;  ///< a reviewer signs what leaves: returns need --review

  struct Content {
    ContentPolicy download = ContentPolicy::kApproved;
    bool express = false;  ///< also express (.psf) payloads
    ContentSource source = ContentSource::kUpstream;
    bool ask_upstream = true;          ///< to fetch what it has not stored (DownloadFiles)
    std::uint64_t bandwidth = 0;       ///< bytes per second of all downloads together; 0: no limit
    std::optional<TimeWindow> window;  ///< of the day for downloads; absent: at any time
  } content;

  /// A command that sees every staged file of a bundle before our own parsers do.
  struct Scanner {
    std::vector<std::string> command;  ///< empty: none; "{}" stands for the paths, else they follow
    std::chrono::seconds timeout{600};  ///< of one call
    std::uint32_t batch = 16;           ///< paths in one call
    OnReject on_reject = OnReject::kRefuse;
    bool operator==(const Scanner&) const = default;
  };
  /// By serial number of the device or UUID of the file system; empty: any.
  struct Media {
    std::vector<std::string> allowed;
  } media;

  struct Exporting {
    bool encrypt = false;      ///< for the recipients, unless a command says otherwise
    std::uint32_t parity = 0;  ///< percent of repair blocks beside each volume
  } exporting;

  struct Import {
    std::chrono::hours deadline_floor{7 * 24};
    std::uint64_t max_document_bytes = 256ULL << 20;  ///< decoded
    std::uint64_t max_file_bytes = 64ULL << 30;
    std::uint32_t warn_after_days = 35;  ///< without a bundle, `status` warns; 0: never
    Scanner scanner;
  } import;

  struct Sync {
    std::uint32_t parallel_requests = 2;
    std::uint32_t parallel_downloads = 4;
    std::uint32_t full_list_days = 30;  ///< a list without anchor at least this often
  } sync;

  /// Jobs that `serve` starts by itself.
  Schedule schedule;

  struct Limits {
    std::uint32_t withdraw_percent = 2;  ///< more than this needs --accept-removals
    std::uint64_t events_kept_days = 90;
  } limits;
};

/// Bytes per second as `content.bandwidth` and `sync --bandwidth` take them: "500K", "2M", "1MiB"
/// (K and M are KiB and MiB); 0, or at least 1K. Fails with kUsage.
Result<std::uint64_t> ParseBandwidth(std::string_view text);
/// "90s", "15m", "2h", "1d"; "0s" is allowed. Fails with kUsage.
Result<std::chrono::seconds> ParseDuration(std::string_view text);

/// The reverse of ParseDuration: "10m".
std::string WriteDuration(std::chrono::seconds value);
/// A word of a command or list: 1 to 4,096 bytes without controls. Fails with kUsage.
Result<std::string> ParseConfigWord(std::string_view text);

/// Reads gapferry.yaml. Unknown keys, repeated keys, wrong types and values out of range fail with
/// kUsage and "FILE:LINE:COLUMN: ...".
Result<Config> LoadConfig(const std::filesystem::path& path);
Result<Config> ParseConfig(std::string_view text, std::string_view file_name);

/// Fails with kUsage, reason "no-upstream", when jobs are scheduled that talk to an upstream and
/// this mirror has none: fed by bundles it never connects anywhere.
Result<void> CheckSchedule(const Config& config);

/// Parts of WriteConfig.
std::string WriteScannerSection(const Config::Scanner& scanner);
std::string WriteMediaSection(const Config::Media& media);
/// The `schedule` part of WriteConfig.
std::string WriteScheduleSection(const Schedule& schedule);

/// `text` (a gapferry.yaml) with another schedule; everything else, comments included, stays byte
/// for byte. `file_name` is for messages. Fails as ParseConfig, and with kUsage and reason
/// "edit-by-hand" where the text is laid out so that only a person can change it.
Result<std::string> ReplaceSchedule(std::string_view text, std::string_view file_name,
                                    const Schedule& schedule);

/// The commented file that `init` writes for `config`: every key, with its meaning and default.
/// ParseConfig of it gives `config` again.
std::string WriteConfig(const Config& config);

}  // namespace gapferry::mirror
