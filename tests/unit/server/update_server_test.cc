#include "server/update_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "base/text.h"
#include "mirror/activity.h"
#include "mirror/catalog.h"
#include "mirror/config.h"
#include "mirror/content_store.h"
#include "mirror/fragment_store.h"
#include "mirror/intent.h"
#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"
#include "protocol/xpress.h"
#include "server/cookie_box.h"
#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/fill.h"

namespace gapferry::server {
namespace {

using namespace std::chrono_literals;
using mirror::Mirror;
using protocol::FaultCode;

struct HttpAnswer {
  int status = 0;
  std::string headers;
  std::string body;
  std::string Header(const std::string& name) const {
    for (const std::string_view line : Split(headers, '\n')) {
      const std::size_t colon = line.find(':');
      if (colon != std::string_view::npos && EqualsIgnoreCase(line.substr(0, colon), name)) {
        return std::string(TrimAscii(line.substr(colon + 1)));
      }
    }
    return {};
  }
};

/// One request on its own connection.
HttpAnswer Exchange(std::uint16_t port, const std::string& head, const std::string& body) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  HttpAnswer answer;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string text =
        head + "Host: 127.0.0.1:" + std::to_string(port) +
        "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
        body;
    std::string_view rest = text;
    while (!rest.empty()) {
      const auto sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    std::string received;
    char buffer[65536];
    for (ssize_t count; (count = ::recv(fd, buffer, sizeof(buffer), 0)) > 0;) {
      received.append(buffer, static_cast<std::size_t>(count));
    }
    const std::size_t end = received.find("\r\n\r\n");
    if (end != std::string::npos) {
      answer.status = std::atoi(received.c_str() + 9);
      answer.headers = received.substr(0, end);
      answer.body = received.substr(end + 4);
    }
  }
  ::close(fd);
  if (answer.Header("Transfer-Encoding") == "chunked") {
    std::string whole;
    for (std::size_t at = 0;;) {
      const std::size_t size = std::strtoull(answer.body.c_str() + at, nullptr, 16);
      at = answer.body.find("\r\n", at) + 2;
      if (size == 0) break;
      whole.append(answer.body, at, size);
      at += size + 2;
    }
    answer.body = std::move(whole);
  }
  return answer;
}

struct Scanned {
  std::map<std::int32_t, protocol::UpdateInfo> updates;
  std::vector<std::int32_t> installed;
  std::vector<std::int32_t> other;
  int rounds = 0;
};

class UpdateServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string pattern = (fs::temp_directory_path() / "gapferry-serve-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    path_ = root_ / "mirror";
    mirror::Config config;
    config.name = "served";
    const auto made = Mirror::Init(path_, config);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    catalogue::Options options;
    auto generated = catalogue::Catalogue::Make(options, 2);
    ASSERT_TRUE(generated.has_value()) << generated.error().message;
    const auto filled = catalogue::FillMirror(*generated, path_, {true, 2});
    ASSERT_TRUE(filled.has_value()) << filled.error().message;
  }
  static void TearDownTestSuite() { fs::remove_all(root_); }

  void SetUp() override {
    StartServer();
    auto opened = Mirror::Open(path_);
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    admin_.emplace(std::move(*opened));
  }
  void TearDown() override {
    if (kept_config_.empty()) return;
    server_.reset();
    std::ofstream(path_ / "gapferry.yaml") << kept_config_;
  }

  /// Starts again with another configuration, for this test only.
  void Restart(const std::function<void(mirror::Config&)>& change) {
    server_.reset();
    std::stringstream text;
    text << std::ifstream(path_ / "gapferry.yaml").rdbuf();
    kept_config_ = text.str();
    mirror::Config config = *mirror::LoadConfig(path_ / "gapferry.yaml");
    change(config);
    std::ofstream(path_ / "gapferry.yaml") << mirror::WriteConfig(config);
    StartServer();
  }

  void StartServer() {
    UpdateServerOptions options;
    options.http.listeners.push_back({"127.0.0.1", 0, false});
    options.http.worker_threads = 2;
    auto started = UpdateServer::Start(path_, {}, std::move(options));
    ASSERT_TRUE(started.has_value()) << started.error().message;
    server_ = std::move(*started);
    port_ = server_->listeners()[0].port;
  }

  HttpAnswer Post(const std::string& path, const std::string& body,
                  const std::string& more_headers = {}) {
    return Exchange(
        port_, "POST /" + path + " HTTP/1.1\r\nContent-Type: text/xml\r\n" + more_headers, body);
  }
  HttpAnswer Get(const std::string& path, const std::string& more_headers = {}) {
    return Exchange(port_, "GET " + path + " HTTP/1.1\r\n" + more_headers, "");
  }

  /// Calls one operation; a fault is an error whose reason is the ErrorCode.
  template <class Answer, class Ask>
  Result<Answer> Call(std::string_view path, const Ask& ask,
                      protocol::SoapVersion version = protocol::SoapVersion::k11,
                      bool xpress = false) {
    const HttpAnswer http = Post(std::string(path), protocol::Encode(ask, version),
                                 xpress ? "Accept-Encoding: xpress\r\n" : "");
    std::string body = http.body;
    if (http.Header("Content-Encoding") == "xpress") {
      TRY_ASSIGN(body, protocol::XpressDecode(AsBytes(http.body), 1 << 28));
    }
    TRY_ASSIGN(const auto message,
               protocol::SoapMessage::Parse(std::move(body), protocol::SoapLimits::Answer()));
    if (message.IsFault()) {
      EXPECT_EQ(http.status, 500);
      TRY_ASSIGN(const auto fault, protocol::DecodeFault(message));
      last_fault_message_ = fault.message;
      return std::unexpected(protocol::FaultError(fault, "call"));
    }
    EXPECT_EQ(http.status, 200);
    EXPECT_EQ(message.version(), version);
    return protocol::Decode<Answer>(message);
  }
  template <class Answer, class Ask>
  Result<Answer> Client(const Ask& ask) {
    return Call<Answer>(protocol::path::kClient, ask);
  }
  template <class Answer, class Ask>
  Result<Answer> Sync(const Ask& ask) {
    return Call<Answer>(protocol::path::kServerSync, ask);
  }

  /// Handshake and registration.
  protocol::Cookie Register(const std::string& id,
                            std::optional<std::string> target_group = std::nullopt) {
    protocol::SimpleAuthorizationRequest authorize;
    authorize.client_id = id;
    authorize.target_group_name = std::move(target_group);
    authorize.dns_name = "pc.example";
    const auto authorized =
        Call<protocol::SimpleAuthorizationResponse>(protocol::path::kSimpleAuth, authorize);
    EXPECT_TRUE(authorized.has_value()) << authorized.error().message;
    const auto config = Client<protocol::GetConfigResponse>(protocol::GetConfigRequest{"2.90"});
    protocol::GetCookieRequest get;
    get.auth_cookies = {authorized->cookie};
    get.last_change = config->last_change;
    get.current_time = SystemClock().Now();
    get.protocol_version = "2.90";
    const auto cookie = Client<protocol::GetCookieResponse>(get);
    EXPECT_TRUE(cookie.has_value()) << cookie.error().message;
    protocol::RegisterComputerRequest registration;
    registration.cookie = cookie->cookie;
    registration.computer.dns_name = "pc.example";
    registration.computer.os_build_number = 26100;
    const auto registered = Client<protocol::RegisterComputerResponse>(registration);
    EXPECT_TRUE(registered.has_value()) << registered.error().message;
    return cookie->cookie;
  }

  /// A whole software scan by an agent on which every non-leaf is installed.
  Scanned Scan(protocol::Cookie& cookie, Scanned known = {}) {
    while (true) {
      ++known.rounds;
      protocol::SyncUpdatesRequest ask;
      ask.cookie = cookie;
      ask.parameters.installed_non_leaf_update_ids = known.installed;
      ask.parameters.other_cached_update_ids = known.other;
      const auto answer = Client<protocol::SyncUpdatesResponse>(ask);
      EXPECT_TRUE(answer.has_value()) << answer.error().message;
      if (!answer.has_value()) return known;
      const protocol::SyncInfo& info = answer->result;
      cookie = *info.new_cookie;
      EXPECT_FALSE(info.truncated && info.new_updates.empty());
      bool more = info.truncated;
      for (const auto& update : info.new_updates) {
        EXPECT_TRUE(update.xml && update.deployment);
        EXPECT_TRUE(known.updates.emplace(update.id, update).second) << "sent twice";
        (update.is_leaf ? known.other : known.installed).push_back(update.id);
        more = more || !update.is_leaf;
      }
      for (const auto& update : info.changed_updates) {
        EXPECT_FALSE(update.xml.has_value());
        known.updates[update.id] = update;
      }
      for (const std::int32_t id : info.out_of_scope_revision_ids) {
        known.updates.erase(id);
        std::erase(known.installed, id);
        std::erase(known.other, id);
      }
      if (!more) return known;
    }
  }

  /// Some deployable update that is held completely and needs no licence.
  mirror::RevisionRelations Approvable() {
    std::optional<mirror::RevisionRelations> found;
    const auto done = admin_->catalog().ForEachRelations(0, [&](auto& relations) -> Result<void> {
      const auto& row = relations.row;
      if (!found && row.type == mirror::UpdateType::kSoftware && row.is_latest &&
          row.is_explicitly_deployable && !row.is_expired && !row.eula_id &&
          !relations.files.empty()) {
        found = relations;
      }
      return {};
    });
    EXPECT_TRUE(done.has_value() && found.has_value());
    return *found;
  }
  void Approve(const mirror::RevisionRelations& relations, const Guid& group) {
    mirror::Intent::Approval approval;
    approval.update = relations.row.update;
    approval.group = group;
    const auto approved = admin_->intent().Approve({approval}, "test");
    ASSERT_TRUE(approved.has_value()) << approved.error().message;
    std::this_thread::sleep_for(600ms);  // the server looks four times a second
  }

  protocol::Cookie AuthorizeServer(const std::string& guid) {
    const auto authorized = Call<protocol::DssAuthorizationResponse>(
        protocol::path::kDssAuth, protocol::DssAuthorizationRequest{"dss.example", guid});
    EXPECT_TRUE(authorized.has_value()) << authorized.error().message;
    protocol::DssGetCookieRequest get;
    get.auth_cookies = {authorized->cookie};
    get.protocol_version = "1.20";
    const auto cookie = Sync<protocol::DssGetCookieResponse>(get);
    EXPECT_TRUE(cookie.has_value()) << cookie.error().message;
    return cookie->cookie;
  }

  template <class T>
  void ExpectFault(const Result<T>& result, FaultCode code, const std::string& message = {}) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(protocol::FaultCodeOf(result.error()), code) << result.error().message;
    EXPECT_EQ(last_fault_message_, message);
  }

  static inline fs::path root_;
  static inline fs::path path_;
  std::unique_ptr<UpdateServer> server_;
  std::uint16_t port_ = 0;
  std::optional<Mirror> admin_;
  std::string kept_config_;
  std::string last_fault_message_;
};

TEST_F(UpdateServerTest, ScansApprovalsAndTheirEnd) {
  protocol::Cookie cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701494");
  Scanned scanned = Scan(cookie);
  EXPECT_GT(scanned.updates.size(), 100U);
  EXPECT_LT(scanned.rounds, 30);
  const mirror::RevisionRelations relations = Approvable();
  ASSERT_TRUE(scanned.updates.contains(relations.row.id));
  EXPECT_EQ(scanned.updates.at(relations.row.id).deployment->action,
            protocol::DeploymentAction::kPreDeploymentCheck);

  Approve(relations, mirror::kAllComputers);
  Scanned again = Scan(cookie, scanned);
  EXPECT_EQ(again.rounds, scanned.rounds + 1) << "nothing new, one changed";
  EXPECT_EQ(again.updates.at(relations.row.id).deployment->action,
            protocol::DeploymentAction::kInstall);

  ASSERT_TRUE(admin_->intent().Unapprove({relations.row.update.guid}, std::nullopt, "test"));
  std::this_thread::sleep_for(600ms);
  again = Scan(cookie, again);
  EXPECT_EQ(again.updates.at(relations.row.id).deployment->action,
            protocol::DeploymentAction::kPreDeploymentCheck);

  // The scan was recorded with the generation that it saw.
  std::this_thread::sleep_for(300ms);
  auto activity = admin_->activity();
  ASSERT_TRUE(activity.has_value());
  const auto computer = (*activity)->Find("e1da06a3-5601-43c9-bac3-52d5db701494");
  ASSERT_TRUE(computer.has_value() && computer->has_value());
  EXPECT_EQ((*computer)->scanned_generation, admin_->catalog().Published()->name.generation);
}

TEST_F(UpdateServerTest, GroupsSeeTheirOwnApprovals) {
  const auto group = admin_->intent().AddGroup("Pilot", mirror::kAllComputers, "test");
  ASSERT_TRUE(group.has_value()) << group.error().message;
  const std::string pilot = "aaaaaaaa-0000-0000-0000-000000000001";
  protocol::Cookie pilot_cookie = Register(pilot);
  protocol::Cookie other_cookie = Register("aaaaaaaa-0000-0000-0000-000000000002");
  ASSERT_TRUE(admin_->intent().AssignComputer(pilot, {group->id}, "test"));
  const mirror::RevisionRelations relations = Approvable();
  Approve(relations, group->id);
  EXPECT_EQ(Scan(pilot_cookie).updates.at(relations.row.id).deployment->action,
            protocol::DeploymentAction::kInstall);
  EXPECT_EQ(Scan(other_cookie).updates.at(relations.row.id).deployment->action,
            protocol::DeploymentAction::kPreDeploymentCheck);
  ASSERT_TRUE(admin_->intent().Unapprove({relations.row.update.guid}, std::nullopt, "test"));
}

TEST_F(UpdateServerTest, TellsDetailsAndServesTheFiles) {
  protocol::Cookie cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701495");
  const mirror::RevisionRelations relations = Approvable();
  protocol::GetExtendedUpdateInfoRequest ask;
  ask.cookie = cookie;
  ask.revision_ids = {relations.row.id, 2'000'000'000};
  ask.info_types = {protocol::FragmentType::kExtended,
                    protocol::FragmentType::kLocalizedProperties};
  ask.locales = {"en-US", "en"};
  const auto answer = Client<protocol::GetExtendedUpdateInfoResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->updates.size(), 2U);
  EXPECT_EQ(answer->out_of_scope_revision_ids, (std::vector<std::int32_t>{2'000'000'000}));
  ASSERT_FALSE(answer->file_locations.empty());
  for (const protocol::FileLocation& location : answer->file_locations) {
    const std::string prefix = "http://127.0.0.1:" + std::to_string(port_);
    ASSERT_TRUE(location.url.starts_with(prefix + "/Content/")) << location.url;
    const HttpAnswer file = Get(location.url.substr(prefix.size()));
    EXPECT_EQ(file.status, 200);
    EXPECT_EQ(Sha1(std::string_view(file.body)), location.file_digest);
    EXPECT_EQ(file.Header("ETag"), "\"" + location.file_digest.ToHex() + "\"");
    const HttpAnswer part =
        Get(ToLowerAscii(location.url.substr(prefix.size())), "Range: bytes=1-3\r\n");
    EXPECT_EQ(part.status, 206);
    EXPECT_EQ(part.body, file.body.substr(1, 3));
  }
  protocol::GetFileLocationsRequest locate;
  locate.cookie = cookie;
  const Sha1Digest& sha1 = answer->file_locations[0].file_digest;
  locate.file_digests = {Bytes(sha1.bytes.begin(), sha1.bytes.end()), Bytes(20, 9)};
  const auto located = Client<protocol::GetFileLocationsResponse>(locate);
  ASSERT_TRUE(located.has_value()) << located.error().message;
  EXPECT_EQ(located->file_locations.size(), 1U);
  EXPECT_TRUE(located->new_cookie.has_value());
}

TEST_F(UpdateServerTest, StartsWithTheConfigurationItWasGivenWhateverIsInTheFileByNow) {
  server_.reset();
  const fs::path file = path_ / "gapferry.yaml";
  std::stringstream kept;
  kept << std::ifstream(file).rdbuf();
  kept_config_ = kept.str();
  UpdateServerOptions options;
  options.config = *mirror::LoadConfig(file);
  options.http.listeners.push_back({"127.0.0.1", 0, false});
  std::ofstream(file) << "name: \"ser";  // an editor in the middle of its writing
  auto started = UpdateServer::Start(path_, {}, std::move(options));
  ASSERT_TRUE(started.has_value()) << started.error().message;
  server_ = std::move(*started);
  port_ = server_->listeners()[0].port;
  Register("e1da06a3-5601-43c9-bac3-52d5db70149b");
}

TEST_F(UpdateServerTest, ARepeatedKindOfDetailIsAnsweredOnce) {
  protocol::GetExtendedUpdateInfoRequest ask;
  ask.cookie = Register("e1da06a3-5601-43c9-bac3-52d5db70149a");
  ask.revision_ids = {Approvable().row.id};
  ask.info_types.assign(1000, protocol::FragmentType::kExtended);  // or memory would be the asker's
  const auto answer = Client<protocol::GetExtendedUpdateInfoResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->updates.size(), 1U);
}

TEST_F(UpdateServerTest, AnswersAreTheSameWithXpressAndInSoap12) {
  protocol::Cookie cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701496");
  protocol::SyncUpdatesRequest ask;
  ask.cookie = cookie;
  const auto plain = Client<protocol::SyncUpdatesResponse>(ask);
  const auto packed = Call<protocol::SyncUpdatesResponse>(
      protocol::path::kClient, ask, protocol::SoapVersion::k11, /*xpress=*/true);
  const auto modern =
      Call<protocol::SyncUpdatesResponse>(protocol::path::kClient, ask, protocol::SoapVersion::k12);
  ASSERT_TRUE(plain.has_value() && packed.has_value() && modern.has_value());
  ASSERT_FALSE(plain->result.new_updates.empty());
  EXPECT_EQ(packed->result.new_updates.size(), plain->result.new_updates.size());
  EXPECT_EQ(modern->result.new_updates.size(), plain->result.new_updates.size());
}

TEST_F(UpdateServerTest, FaultsTellClientsWhatToDo) {
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701497";
  protocol::Cookie cookie = Register(id);
  protocol::SyncUpdatesRequest ask;
  ask.cookie = cookie;
  ask.cookie.encrypted_data.back() ^= 1;
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kInvalidCookie);
  ask.cookie.encrypted_data.clear();
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kInvalidCookie);
  ask.cookie = cookie;
  ask.parameters.system_spec = {protocol::Device{{"pci\\x"}, {}, std::nullopt}};
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kInvalidParameters,
              "parameters.SystemSpec");
  ask.parameters.system_spec.clear();
  ask.parameters.installed_non_leaf_update_ids.assign(200'001, 1);
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kInvalidParameters,
              "parameters.InstalledNonLeafUpdateIDs");
  ask.parameters.installed_non_leaf_update_ids.clear();
  ask.parameters.computer_spec.emplace(257);
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kInvalidParameters,
              "parameters.ComputerSpec");
  ExpectFault(Client<protocol::GetConfigResponse>(protocol::GetConfigRequest{"new"}),
              FaultCode::kInvalidParameters, "protocolVersion");

  const CookieBox box(*mirror::ReadCookieKey(path_));
  const auto forge = [&](auto change) {
    ClientCookie content =
        *DecodeClientCookie(*box.Open(CookiePurpose::kClient, cookie.encrypted_data));
    change(content);
    protocol::SyncUpdatesRequest forged;
    forged.cookie.expiration = cookie.expiration;
    forged.cookie.encrypted_data =
        *box.Seal(CookiePurpose::kClient, EncodeCookie(content), SystemClock().Now());
    return Client<protocol::SyncUpdatesResponse>(forged);
  };
  ExpectFault(forge([](ClientCookie& c) { c.expires = UtcTime::FromUnixSeconds(1); }),
              FaultCode::kCookieExpired);
  ExpectFault(forge([](ClientCookie& c) { c.state.epoch = Guid::Random(); }),
              FaultCode::kServerChanged);
  ExpectFault(forge([](ClientCookie& c) { c.state.chain.bytes[3] ^= 1; }),
              FaultCode::kServerChanged);
  ExpectFault(forge([](ClientCookie& c) { c.state.generation += 1000; }),
              FaultCode::kServerChanged);
  ExpectFault(forge([](ClientCookie& c) { c.config_last_change.ticks -= 1'000'000; }),
              FaultCode::kConfigChanged);
  ExpectFault(forge([](ClientCookie& c) { c.client_id = "never-registered"; }),
              FaultCode::kRegistrationRequired);
  EXPECT_TRUE(forge([](ClientCookie&) {}).has_value());
}

TEST_F(UpdateServerTest, DropsTheCacheOfOtherFragments) {
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701601";
  protocol::Cookie cookie = Register(id);
  Scanned scanned = Scan(cookie);
  const CookieBox box(*mirror::ReadCookieKey(path_));
  const auto with_derivation = [&](std::int32_t derivation) {
    ClientCookie content =
        *DecodeClientCookie(*box.Open(CookiePurpose::kClient, cookie.encrypted_data));
    EXPECT_EQ(content.derivation, protocol::kFragmentDerivation);
    content.derivation = derivation;
    return protocol::Cookie{
        cookie.expiration,
        *box.Seal(CookiePurpose::kClient, EncodeCookie(content), SystemClock().Now())};
  };
  protocol::SyncUpdatesRequest ask;
  ask.cookie = with_derivation(protocol::kFragmentDerivation + 1);
  ask.parameters.other_cached_update_ids = scanned.other;
  ask.parameters.installed_non_leaf_update_ids = scanned.installed;
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kServerChanged);
  // The client asks what of its cache is known here: nothing, so it drops it all.
  protocol::RefreshCacheRequest refresh;
  refresh.cookie = ask.cookie;
  refresh.global_ids = {Approvable().row.update};
  auto refreshed = Client<protocol::RefreshCacheResponse>(refresh);
  ASSERT_TRUE(refreshed.has_value()) << refreshed.error().message;
  EXPECT_TRUE(refreshed->results.empty());
  // Then it scans from the beginning, and what it caches counts again.
  cookie = ask.cookie;
  const Scanned again = Scan(cookie);
  EXPECT_EQ(again.updates.size(), scanned.updates.size());
  refresh.cookie = cookie;
  refreshed = Client<protocol::RefreshCacheResponse>(refresh);
  ASSERT_TRUE(refreshed.has_value()) << refreshed.error().message;
  EXPECT_EQ(refreshed->results.size(), 1U);

  // Without the old cookie the time of the last scan tells.
  const auto set_since = [&](UtcTime since) {
    const auto fragments = admin_->fragments();
    ASSERT_TRUE((*fragments)->SetDerivation(protocol::kFragmentDerivation, since).has_value());
  };
  set_since(SystemClock().Now() + 24h);
  ask.cookie = with_derivation(0);
  ExpectFault(Client<protocol::SyncUpdatesResponse>(ask), FaultCode::kServerChanged);
  set_since(SystemClock().Now() - 24h);
  EXPECT_TRUE(Client<protocol::SyncUpdatesResponse>(ask).has_value());
}

TEST_F(UpdateServerTest, AnOldCookieKeepsWhatItsClientWasTold) {
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701605";
  protocol::Cookie cookie = Register(id);
  const Scanned scanned = Scan(cookie);
  const CookieBox box(*mirror::ReadCookieKey(path_));
  // The number of cached updates told anew after a handshake with this old cookie.
  const auto told_after = [&](const std::function<void(ClientCookie&)>& change) {
    ClientCookie content =
        *DecodeClientCookie(*box.Open(CookiePurpose::kClient, cookie.encrypted_data));
    change(content);
    protocol::SimpleAuthorizationRequest authorize;
    authorize.client_id = id;
    protocol::GetCookieRequest get;
    get.auth_cookies = {
        Call<protocol::SimpleAuthorizationResponse>(protocol::path::kSimpleAuth, authorize)
            ->cookie};
    get.last_change =
        Client<protocol::GetConfigResponse>(protocol::GetConfigRequest{"2.90"})->last_change;
    get.protocol_version = "2.90";
    get.old_cookie = protocol::Cookie{
        cookie.expiration,
        *box.Seal(CookiePurpose::kClient, EncodeCookie(content), SystemClock().Now())};
    protocol::SyncUpdatesRequest ask;
    ask.cookie = Client<protocol::GetCookieResponse>(get)->cookie;
    ask.parameters.installed_non_leaf_update_ids = scanned.installed;
    ask.parameters.other_cached_update_ids = scanned.other;
    const auto answer = Client<protocol::SyncUpdatesResponse>(ask);
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_TRUE(answer->result.new_updates.empty());
    return answer->result.changed_updates.size();
  };
  EXPECT_EQ(told_after([](ClientCookie&) {}), 0U);
  EXPECT_EQ(told_after([](ClientCookie& c) { c.expires = UtcTime::FromUnixSeconds(1); }), 0U)
      << "an old cookie has mostly expired";
  const std::size_t all = scanned.updates.size();
  EXPECT_EQ(told_after([](ClientCookie& c) { c.state.epoch = Guid::Random(); }), all)
      << "the mirror was put back";
  EXPECT_EQ(told_after([](ClientCookie& c) { c.state.chain.bytes[0] ^= 1; }), all);
  EXPECT_EQ(told_after([](ClientCookie& c) { c.client_id = "somebody-else"; }), all);
}

TEST_F(UpdateServerTest, TellsKeysOfEncryptedFiles) {
  const mirror::RevisionRelations relations = Approvable();
  const Sha1Digest sha1 = relations.files[0].sha1;
  const std::string key = "0123456789abcdef";
  ASSERT_TRUE(admin_->db().Run(
      "INSERT INTO file_key SELECT ?, max(id), ? FROM change WHERE generation IS NOT NULL", sha1,
      AsBytes(key)));
  protocol::GetExtendedUpdateInfo2Request ask;
  ask.cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701606");
  ask.update_ids = {relations.row.update, relations.row.update};
  ask.info_types = {protocol::FragmentType::kFileDecryption};
  const auto answer = Client<protocol::GetExtendedUpdateInfo2Response>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  ASSERT_EQ(answer->file_decryption_data.size(), 1U);
  const protocol::FileDecryption& told = answer->file_decryption_data[0];
  EXPECT_EQ(told.file_digest, sha1);
  EXPECT_EQ(told.decryption_key, Bytes(key.begin(), key.end()));
  EXPECT_EQ(told.security_data, (std::vector<Bytes>{Bytes(key.begin(), key.end())}));
  ask.info_types = {protocol::FragmentType::kFileUrl};
  EXPECT_TRUE(Client<protocol::GetExtendedUpdateInfo2Response>(ask)->file_decryption_data.empty())
      << "only to who asks for them";
  ASSERT_TRUE(admin_->db().Run("DELETE FROM file_key"));
}

TEST_F(UpdateServerTest, ClientsNameTheirGroupsWhereTheyMay) {
  const auto pilots = admin_->intent().AddGroup("Pilots", mirror::kAllComputers, "test");
  ASSERT_TRUE(pilots.has_value()) << pilots.error().message;
  const mirror::RevisionRelations relations = Approvable();
  Approve(relations, pilots->id);
  const auto action = [&](protocol::Cookie cookie) {
    return Scan(cookie).updates.at(relations.row.id).deployment->action;
  };
  using Action = protocol::DeploymentAction;
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701602";
  EXPECT_EQ(action(Register(id, "Pilots")), Action::kPreDeploymentCheck)
      << "the administrator decides";
  Restart([](mirror::Config& config) { config.serve.targeting = mirror::Targeting::kClient; });
  EXPECT_EQ(action(Register(id, "Nobody; pilots ;")), Action::kInstall);
  EXPECT_EQ(admin_->intent().AssignedGroups(id).value(), (std::vector<Guid>{pilots->id}))
      << "kept for people who look at computers";
  EXPECT_EQ(action(Register(id, "Nobody")), Action::kPreDeploymentCheck);
  EXPECT_TRUE(admin_->intent().AssignedGroups(id)->empty());
  EXPECT_EQ(action(Register(id)), Action::kPreDeploymentCheck);
  ASSERT_TRUE(admin_->intent().RemoveGroup(pilots->id, "test").has_value());
}

TEST_F(UpdateServerTest, PagesEndByCountAndByBytes) {
  const auto first_page = [&](const std::string& id) {
    protocol::SyncUpdatesRequest ask;
    ask.cookie = Register(id);
    const auto answer = Client<protocol::SyncUpdatesResponse>(ask);
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    std::size_t bytes = 0;
    for (const auto& update : answer->result.new_updates) {
      bytes += std::get<protocol::PlainText>(*update.xml).text.size();
    }
    return std::tuple(answer->result.new_updates.size(), bytes, answer->result.truncated);
  };
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701603";
  const auto [all, all_bytes, truncated] = first_page(id);
  ASSERT_GT(all, 5U);
  Restart([](mirror::Config& config) { config.serve.page_updates = 5; });
  EXPECT_EQ(std::get<0>(first_page(id)), 5U);
  EXPECT_TRUE(std::get<2>(first_page(id)));
  TearDown();
  Restart([&](mirror::Config& config) { config.serve.page_bytes = all_bytes / 2; });
  const auto [half, half_bytes, more] = first_page(id);
  EXPECT_LT(half, all);
  EXPECT_LE(half_bytes, all_bytes / 2);
  EXPECT_TRUE(more);
  TearDown();
  Restart([](mirror::Config& config) { config.serve.page_bytes = 1; });
  EXPECT_EQ(std::get<0>(first_page(id)), 1U) << "one that is larger than a page goes alone";
}

// Parts of pages are kept and shared; what computers are given is as if nothing was.
TEST_F(UpdateServerTest, PagesAreTheSameWhateverIsKeptOfThem) {
  using protocol::SyncUpdatesResponse;
  const auto read = [](const protocol::SyncInfo& info) {
    std::vector<std::tuple<std::int32_t, std::int32_t, protocol::DeploymentAction, std::string>>
        updates;
    for (const auto& update : info.new_updates) {
      updates.emplace_back(update.id, update.deployment->id, update.deployment->action,
                           std::get<protocol::PlainText>(*update.xml).text);
    }
    return updates;
  };
  const auto page = [&](const protocol::SyncUpdatesRequest& ask, bool xpress) {
    const auto answer =
        Call<SyncUpdatesResponse>(protocol::path::kClient, ask, protocol::SoapVersion::k11, xpress);
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    return read(answer->result);
  };
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701605";
  protocol::Cookie cookie = Register(id);
  const Scanned all = Scan(cookie);
  protocol::SyncUpdatesRequest ask;
  ask.cookie = Register(id);
  ask.parameters.installed_non_leaf_update_ids = all.installed;
  // Computers that know other parts of the catalogue.
  std::vector<decltype(page(ask, true))> pages;
  const auto every_page = [&] {
    pages.clear();
    for (const std::size_t step : {2U, 3U, 7U, 1000U}) {
      ask.parameters.other_cached_update_ids.clear();
      for (std::size_t i = 0; i < all.other.size(); i += step) {
        ask.parameters.other_cached_update_ids.push_back(all.other[i]);
      }
      for (int again = 0; again < 2; ++again) {
        pages.push_back(page(ask, true));
        EXPECT_EQ(pages.back(), page(ask, false)) << step;
        EXPECT_FALSE(pages.back().empty());
      }
    }
    return pages;
  };
  const auto kept = every_page();
  Restart([](mirror::Config& config) { config.serve.page_cache_bytes = 0; });
  ask.cookie = Register(id);
  EXPECT_EQ(every_page(), kept);
  TearDown();
  Restart([](mirror::Config& config) { config.serve.page_cache_bytes = 100'000; });
  ask.cookie = Register(id);
  EXPECT_EQ(every_page(), kept) << "little is kept at a time";

  // An approval shows at once in what was kept before.
  const auto relations = Approvable();
  const auto action = [&](bool xpress) {
    for (const auto& [update, deployment, shown, xml] : page(ask, xpress)) {
      if (update == relations.row.id) return shown;
    }
    return protocol::DeploymentAction::kBundle;
  };
  ask.parameters.other_cached_update_ids = all.other;
  std::erase(ask.parameters.other_cached_update_ids, relations.row.id);
  const auto before = action(true);
  const auto ended = admin_->intent().Unapprove(std::vector<Guid>{relations.row.update.guid},
                                                std::nullopt, "test");
  ASSERT_TRUE(ended.has_value()) << ended.error().message;
  Approve(relations, mirror::kAllComputers);
  EXPECT_EQ(action(true), protocol::DeploymentAction::kInstall);
  EXPECT_EQ(action(false), protocol::DeploymentAction::kInstall);
  EXPECT_EQ(action(true), protocol::DeploymentAction::kInstall) << static_cast<int>(before);
  const auto undone = admin_->intent().Unapprove(std::vector<Guid>{relations.row.update.guid},
                                                 std::nullopt, "test");
  EXPECT_TRUE(undone.has_value()) << undone.error().message;
}

TEST_F(UpdateServerTest, ThePrinterCatalogueIsCheckedAsAScanIs) {
  protocol::SyncPrinterCatalogRequest ask;
  ask.cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701604");
  ask.printer_update_ids = {4711};
  const auto answer = Client<protocol::SyncPrinterCatalogResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->result.out_of_scope_revision_ids, (std::vector<std::int32_t>{4711}));
  EXPECT_TRUE(answer->result.new_cookie.has_value());
  ask.printer_update_ids.assign(200'001, 1);
  ExpectFault(Client<protocol::SyncPrinterCatalogResponse>(ask), FaultCode::kInvalidParameters,
              "printerUpdateIDs");
  ask.cookie.encrypted_data.clear();
  ExpectFault(Client<protocol::SyncPrinterCatalogResponse>(ask), FaultCode::kInvalidCookie);
}

TEST_F(UpdateServerTest, SelfUpdateFilesAndProbes) {
  EXPECT_EQ(Get("/SelfUpdate/wuident.cab").status, 404);
  EXPECT_EQ(Get("/ClientWebService/SusServerVersion.xml").status, 200);
  EXPECT_EQ(Get("/ClientWebService/SusServerVersion.xml").Header("Content-Type"), "text/xml");
  fs::create_directories(path_ / "self-update" / "WSUS3");
  std::ofstream(path_ / "self-update" / "WSUS3" / "Setup.CAB") << "0123456789";
  Restart([](mirror::Config& config) { config.serve.self_update = "self-update"; });
  EXPECT_EQ(Get("/selfupdate/wsus3/setup.cab").body, "0123456789");
  const HttpAnswer part = Get("/SelfUpdate/WSUS3/Setup.CAB", "Range: bytes=3-5\r\n");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "345");
  for (const char* path : {"/SelfUpdate/../gapferry.yaml", "/SelfUpdate/%2e%2e/gapferry.yaml",
                           "/SelfUpdate/..%2fgapferry.yaml", "/SelfUpdate/", "/SelfUpdate"}) {
    EXPECT_EQ(Get(path).status, 404) << path;
  }
  server_.reset();
  fs::remove_all(path_ / "self-update");
}

TEST_F(UpdateServerTest, CategoryScansKnowWhatTheCatalogueHas) {
  const Guid windows11 = catalogue::WellKnown::Windows11();
  const Guid unknown = Guid::Random();
  protocol::StartCategoryScanRequest ask;
  ask.requested_categories = {
      {0, windows11}, {1, unknown}, {2, windows11}, {2, catalogue::WellKnown::SecurityUpdates()}};
  const auto answer = Client<protocol::StartCategoryScanResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->preferred_category_ids, (std::vector<Guid>{windows11, windows11}));
  EXPECT_EQ(answer->requested_category_ids_in_error, (std::vector<Guid>{unknown}));
  ask.requested_categories.assign(200, {0, windows11});
  ExpectFault(Client<protocol::StartCategoryScanResponse>(ask), FaultCode::kInvalidParameters,
              "requestedCategories");
}

TEST_F(UpdateServerTest, RefreshCacheNamesOurIds) {
  protocol::Cookie cookie = Register("e1da06a3-5601-43c9-bac3-52d5db701498");
  const mirror::RevisionRelations relations = Approvable();
  protocol::RefreshCacheRequest ask;
  ask.cookie = cookie;
  ask.global_ids = {relations.row.update, {Guid::Random(), 1}};
  const auto answer = Client<protocol::RefreshCacheResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  ASSERT_EQ(answer->results.size(), 1U);
  EXPECT_EQ(answer->results[0].revision_id, relations.row.id);
  EXPECT_TRUE(answer->results[0].deployment.has_value());
}

TEST_F(UpdateServerTest, ReportsAreKeptAndOnlyForTheSender) {
  const std::string id = "e1da06a3-5601-43c9-bac3-52d5db701499";
  protocol::Cookie cookie = Register(id);
  const mirror::RevisionRelations relations = Approvable();
  protocol::ReportEventBatchRequest ask;
  ask.cookie = cookie;
  ask.client_time = SystemClock().Now();
  protocol::ReportingEvent event;
  event.target_sid = id;
  event.time_at_target = ask.client_time;
  event.event_instance_id = Guid::Random();
  event.event_id = 156;
  event.source_id = 104;
  event.misc_data = {"V=" + ToUpperAscii(relations.row.update.guid.ToString())};
  ask.events = {event};
  const auto answer =
      Call<protocol::ReportEventBatchResponse>(protocol::path::kReportingAlias, ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_TRUE(answer->result);
  const auto status = (*admin_->activity())->StatusOf(id);
  ASSERT_TRUE(status.has_value() && status->size() == 1);
  EXPECT_EQ((*status)[0].update, relations.row.update.guid);
  EXPECT_EQ((*status)[0].state, mirror::UpdateState::kInstalled);

  ask.events[0].target_sid = "somebody-else";
  ask.events[0].event_instance_id = Guid::Random();
  ExpectFault(Call<protocol::ReportEventBatchResponse>(protocol::path::kReporting, ask),
              FaultCode::kInvalidParameters, "eventBatch");
  protocol::ReportEventBatch2Request forged;
  forged.computer_id = id;
  forged.client_time = ask.client_time;
  EXPECT_FALSE(
      Call<protocol::ReportEventBatch2Response>(protocol::path::kReporting, forged).has_value());
}

TEST_F(UpdateServerTest, DownstreamServersReadTheCatalogue) {
  const protocol::Cookie cookie = AuthorizeServer("f0000000-0000-0000-0000-000000000001");
  protocol::GetRevisionIdListRequest categories;
  categories.cookie = cookie;
  categories.filter.get_config = true;
  const auto configuration = Sync<protocol::GetRevisionIdListResponse>(categories);
  ASSERT_TRUE(configuration.has_value()) << configuration.error().message;
  EXPECT_FALSE(configuration->new_revisions.empty());
  protocol::GetRevisionIdListRequest everything;
  everything.cookie = cookie;
  const auto updates = Sync<protocol::GetRevisionIdListResponse>(everything);
  ASSERT_TRUE(updates.has_value()) << updates.error().message;
  EXPECT_GT(updates->new_revisions.size(), 100U);
  everything.filter.anchor = updates->anchor;
  EXPECT_TRUE(Sync<protocol::GetRevisionIdListResponse>(everything)->new_revisions.empty());

  // All documents, re-asking for what did not fit.
  std::vector<protocol::UpdateId> wanted = configuration->new_revisions;
  wanted.insert(wanted.end(), updates->new_revisions.begin(), updates->new_revisions.end());
  const std::size_t all = wanted.size();
  std::set<protocol::UpdateId> got;
  while (!wanted.empty()) {
    protocol::GetUpdateDataRequest ask;
    ask.cookie = cookie;
    const std::size_t count = std::min<std::size_t>(100, wanted.size());
    ask.update_ids.assign(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(count));
    const auto data = Call<protocol::GetUpdateDataResponse>(
        protocol::path::kServerSync, ask, protocol::SoapVersion::k11, /*xpress=*/got.empty());
    ASSERT_TRUE(data.has_value()) << data.error().message;
    ASSERT_FALSE(data->updates.empty());
    for (const protocol::UpdateData& update : data->updates) {
      EXPECT_NE(update.blob.has_value(), update.compressed_blob != nullptr);
      got.insert(update.id);
    }
    std::erase_if(wanted, [&](const auto& id) { return got.contains(id); });
  }
  EXPECT_EQ(got.size(), all);
}

TEST_F(UpdateServerTest, DownstreamFaults) {
  const protocol::Cookie cookie = AuthorizeServer("f0000000-0000-0000-0000-000000000002");
  protocol::GetRevisionIdListRequest list;
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(list), FaultCode::kInvalidCookie);
  list.cookie = cookie;
  list.filter.anchor = "garbage";
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(list), FaultCode::kInvalidParameters,
              "filter");
  list.filter.anchor = "3,2020-01-01 00:00:00.000";
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(list), FaultCode::kServerChanged);
  protocol::GetUpdateDataRequest data;
  data.cookie = cookie;
  data.has_update_ids = false;
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(data), FaultCode::kInvalidParameters,
              "updateIds");
  data.has_update_ids = true;
  EXPECT_TRUE(Sync<protocol::GetUpdateDataResponse>(data).has_value()) << "none is not too many";
  data.update_ids = {{Guid::Random(), 1}};
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(data), FaultCode::kInternalServerError);
  data.update_ids.assign(101, {Guid::Random(), 1});
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(data), FaultCode::kInvalidParameters,
              "updateIds");
  for (const char* guid : {"", "no-guid"}) {
    ExpectFault(Call<protocol::DssAuthorizationResponse>(
                    protocol::path::kDssAuth, protocol::DssAuthorizationRequest{"dss", guid}),
                FaultCode::kInvalidParameters, "accountGuid");
  }
  ExpectFault(Call<protocol::DssAuthorizationResponse>(
                  protocol::path::kDssAuth,
                  protocol::DssAuthorizationRequest{"no name", Guid::Random().ToString()}),
              FaultCode::kInvalidParameters, "machineName");
}

TEST_F(UpdateServerTest, FilesThatAreNotHeldAreWanted) {
  const protocol::Cookie cookie = AuthorizeServer("f0000000-0000-0000-0000-000000000003");
  const mirror::RevisionRelations relations = Approvable();
  const Sha1Digest held = relations.files[0].sha1;
  protocol::DownloadFilesRequest ask;
  ask.cookie = cookie;
  ask.file_digests = {Bytes(held.bytes.begin(), held.bytes.end())};
  EXPECT_TRUE(Sync<protocol::DownloadFilesResponse>(ask).has_value());
  const Sha1Digest unknown = Sha1(std::string_view("unknown"));
  ask.file_digests.push_back(Bytes(unknown.bytes.begin(), unknown.bytes.end()));
  ExpectFault(Sync<protocol::DownloadFilesResponse>(ask), FaultCode::kFileDigestsMissing,
              unknown.ToBase64());
  ASSERT_TRUE(admin_->content().Drop(held).has_value());
  ASSERT_TRUE(admin_->content().ForgetWanted({held}).has_value());
  std::this_thread::sleep_for(600ms);
  ask.file_digests.pop_back();
  EXPECT_TRUE(Sync<protocol::DownloadFilesResponse>(ask).has_value());
  EXPECT_EQ(*admin_->content().Wanted(), std::vector<Sha1Digest>{held});
  EXPECT_EQ(Get("/Content/" + mirror::ContentPath(held, "cab")).status, 404);
}

TEST_F(UpdateServerTest, ReplicasGetApprovals) {
  const protocol::Cookie cookie = AuthorizeServer("f0000000-0000-0000-0000-000000000004");
  const mirror::RevisionRelations relations = Approvable();
  protocol::GetRevisionIdListRequest list;
  list.cookie = cookie;
  const std::string before = Sync<protocol::GetRevisionIdListResponse>(list)->anchor;
  Approve(relations, mirror::kAllComputers);
  const std::string after = Sync<protocol::GetRevisionIdListResponse>(list)->anchor;
  protocol::GetDeploymentsRequest ask;
  ask.cookie = cookie;
  ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kInvalidParameters,
              "syncAnchor");
  ask.sync_anchor = after;
  ask.deployment_anchor = before;
  auto answer = Sync<protocol::GetDeploymentsResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->anchor, after);
  EXPECT_GE(answer->groups.size(), 2U);
  ASSERT_EQ(answer->deployments.size(), 1U);
  EXPECT_EQ(answer->deployments[0].update, relations.row.update);
  EXPECT_EQ(answer->deployments[0].action, 0);
  const Guid deployment = answer->deployments[0].deployment_guid;

  ASSERT_TRUE(admin_->intent().Unapprove({relations.row.update.guid}, std::nullopt, "test"));
  std::this_thread::sleep_for(600ms);
  ask.deployment_anchor = after;
  ask.sync_anchor = Sync<protocol::GetRevisionIdListResponse>(list)->anchor;
  answer = Sync<protocol::GetDeploymentsResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_TRUE(answer->deployments.empty());
  EXPECT_EQ(answer->dead_deployments, std::vector<Guid>{deployment});
}

TEST_F(UpdateServerTest, TakesRollups) {
  const Guid downstream = *Guid::Parse("f0000000-0000-0000-0000-000000000005");
  AuthorizeServer(downstream.ToString());
  const auto configuration = Call<protocol::GetRollupConfigurationResponse>(
      protocol::path::kReporting,
      protocol::GetRollupConfigurationRequest{protocol::RollupCookie()});
  ASSERT_TRUE(configuration.has_value()) << configuration.error().message;
  EXPECT_EQ(configuration->server_id, server_->identity().guid);
  protocol::RollupComputersRequest computers;
  computers.cookie = protocol::RollupCookie();
  computers.client_time = SystemClock().Now();
  protocol::ComputerRollup computer;
  computer.computer_id = "bbbbbbbb-0000-0000-0000-000000000001";
  computer.parent_server_id = downstream;
  computer.last_sync_time = computers.client_time;
  computer.last_reported_reboot_time = computer.last_reported_status_time =
      computer.last_inventory_time = kNever;
  computers.computers = {computer};
  const auto changes =
      Call<protocol::RollupComputersResponse>(protocol::path::kReporting, computers);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  ASSERT_EQ(changes->changes.size(), 1U);
  EXPECT_EQ(changes->changes[0].change, protocol::ComputerChange::kNewParent);
  computers.computers[0].parent_server_id = Guid::Random();
  EXPECT_FALSE(
      Call<protocol::RollupComputersResponse>(protocol::path::kReporting, computers).has_value());
}

TEST_F(UpdateServerTest, RoutesWithoutCaseAndRefusesTheRest) {
  const std::string ask = protocol::Encode(protocol::GetConfigRequest{"2.90"});
  EXPECT_EQ(Post("CLIENTWEBSERVICE/Client.ASMX", ask).status, 200);
  EXPECT_EQ(Get("/ClientWebService/client.asmx").status, 405);
  EXPECT_EQ(Post("ServerSyncWebService/ServerSyncProxy.asmx", ask).status, 404);
  EXPECT_EQ(Get("/SelfUpdate/wuident.cab").status, 404);
  EXPECT_EQ(Get("/").status, 200);
  EXPECT_EQ(Get("/Content/../gapferry.yaml").status, 404);
  EXPECT_EQ(Get("/Content/%2e%2e/gapferry.yaml").status, 404);
  for (const std::string& body :
       {std::string("<a"), std::string("no xml"),
        std::string("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"), std::string(100'000, '<'),
        std::string("<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"/>")}) {
    EXPECT_EQ(Post(std::string(protocol::path::kClient), body).status, 400) << body.substr(0, 60);
  }
  const HttpAnswer unknown = Post(std::string(protocol::path::kSimpleAuth), ask);
  EXPECT_EQ(unknown.status, 500);
  EXPECT_NE(unknown.body.find("<ErrorCode>InvalidParameters</ErrorCode>"), std::string::npos);
  EXPECT_EQ(Post(std::string(protocol::path::kClient), ask, "Content-Encoding: gzip\r\n").status,
            415);
}

}  // namespace
}  // namespace gapferry::server
