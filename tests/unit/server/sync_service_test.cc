// Every row of the validation tables of MS-WSUSSS 3.1.4 without a network: envelopes in, replies
// out.
#include "server/sync_service.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <type_traits>

#include "base/text.h"
#include "mirror/content_store.h"
#include "mirror/job_lock.h"
#include "protocol/sync_codec.h"
#include "tests/support/cabinet_writer.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::server {
namespace {

using namespace std::chrono_literals;
using mirror::Mirror;
using mirror::TestDocument;
using mirror::TestGuid;
using protocol::FaultCode;
using protocol::SoapVersion;
using protocol::UpdateId;

const UpdateId kProduct{TestGuid(1, 1), 1};
const UpdateId kLeaf{TestGuid(2, 2), 200};
const UpdateId kCabinet{TestGuid(3, 3), 200};
const UpdateId kSecret{TestGuid(4, 4), 100};
const UpdateId kLarge{TestGuid(5, 5), 1};
const UpdateId kLarge2{TestGuid(6, 6), 1};
const UpdateId kHuge{TestGuid(7, 7), 1};
const Guid kDownstream = TestGuid(0xd, 0xd);
constexpr const char* kMuUrl = "http://download.example/leaf.exe";

class SyncServiceTest : public ::testing::Test {
 protected:
  SyncServiceTest() { Start(); }

  void Start() {
    mirror::Config config = mirror::TestConfig();
    options_.clock = &clock_;
    ASSERT_TRUE(Mirror::Init(path_, config, options_).has_value());
    admin_.emplace(std::move(*Mirror::Open(path_, options_)));
    Load(Documents());
    activity_ = std::move(*mirror::ActivityWriter::Start(path_ / "activity.db", clock_, {}));
    keeper_ = std::move(*IndexKeeper::Start(std::move(*Mirror::Open(path_, options_)), {}));
    const mirror::CookieKey key = *mirror::ReadCookieKey(path_);
    box_.emplace(key);
    shared_ = std::make_unique<ServiceShared>(ServiceShared{
        admin_->identity(), config, *box_, clock_.Now(), clock_, *keeper_, *activity_, 8530});
    service_ = std::make_unique<SyncService>(*shared_);
    SoapEndpoint::Settings settings;
    settings.cache_control = "private";
    settings.path = protocol::path::kServerSync;
    settings.description = &description::ServerSync();
    settings.budget = budget_ = AnswerBudget::Make(16 << 20);
    sync_ = std::make_unique<SoapEndpoint>(settings);
    service_->AddSyncOperations(*sync_);
    authorization_ = std::make_unique<SoapEndpoint>(settings);
    service_->AddAuthorizationOperations(*authorization_);
    worker_ = std::make_unique<ServiceWorker>(std::move(*Mirror::Open(path_, options_)),
                                              std::move(*mirror::DocumentStore::Open(path_)));
  }

  static std::vector<mirror::IncomingRevision> Documents() {
    std::vector<mirror::IncomingRevision> all;
    TestDocument product;
    product.id = kProduct;
    product.type = "Category";
    product.properties = "";
    product.category_type = "Product";
    all.push_back(product.Incoming());
    TestDocument leaf;
    leaf.id = kLeaf;
    leaf.title = "Leaf &amp; more";
    leaf.files = {{"leaf"}, {"leaf", "again.exe"}, {"second"}};
    all.push_back(leaf.Incoming());
    all.back().file_urls = {{Sha1("leaf"), kMuUrl}};
    TestDocument cabinet;
    cabinet.id = kCabinet;
    all.push_back(cabinet.Incoming());
    all.back().form = mirror::DocumentForm::kCabinet;
    all.back().bytes = testing::WriteMetadataCabinet(cabinet.Text());
    TestDocument secret;
    secret.id = kSecret;
    secret.property_children = "<upd:SecuredFragment>FileDecryption</upd:SecuredFragment>";
    secret.files = {{"locked"}, {"open"}};
    all.push_back(secret.Incoming());
    all.back().file_keys = {{Sha1("locked"), Bytes{1, 2, 3}}};
    return all;
  }
  static std::vector<mirror::IncomingRevision> LargeDocuments() {
    std::vector<mirror::IncomingRevision> all;
    for (const UpdateId& id : {kLarge, kLarge2, kHuge}) {
      TestDocument large;
      large.id = id;
      // What is escaped counts as it is sent: each of these takes eight bytes.
      for (int i = 0; i < (id == kHuge ? 480'000 : 160'000); ++i) large.padding += "&lt;";
      all.push_back(large.Incoming());
    }
    return all;
  }
  void LoadLarge() {
    Load(LargeDocuments());
    WaitForIndex();
  }
  void Load(const std::vector<mirror::IncomingRevision>& documents) {
    const auto lock = mirror::JobLock::Acquire(path_, "sync");
    auto load = mirror::CatalogLoad::Open(*admin_, *lock, "sync");
    for (const auto& document : documents) {
      const auto added = load->Add(document);
      ASSERT_TRUE(added.has_value()) << added.error().message;
    }
    ASSERT_TRUE(load->Prepare());
    ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  }
  void WaitForIndex() {
    const auto wanted = admin_->catalog().Published()->name.generation;
    for (int i = 0; i < 200; ++i) {
      if (keeper_->Current()->intent().state.name.generation == wanted) return;
      std::this_thread::sleep_for(20ms);
    }
    FAIL() << "the index does not follow";
  }

  // ---- Calls -----------------------------------------------------------------------------------

  struct Answered {
    int status = 0;
    std::string content_type;
    std::string body;
    std::size_t largest_piece = 0;
    std::uint64_t held_bytes = 0;  // while it is being sent
  };
  Answered Handle(const SoapEndpoint& endpoint, std::string body, Request request) {
    CallContext call{request, *worker_, keeper_->Current(), clock_.Now()};
    Reply reply = endpoint.Handle(call, std::move(body));
    Answered out;
    out.status = reply.status;
    if (const auto* type = FindHeader(reply.headers, "Content-Type")) out.content_type = *type;
    if (auto* text = std::get_if<std::string>(&reply.body)) {
      out.body = std::move(*text);
      return out;
    }
    if (const auto* shared = std::get_if<SharedBody>(&reply.body)) {
      for (const SharedBody::Piece& piece : shared->pieces) out.body += piece.bytes;
      EXPECT_EQ(out.body.size(), shared->size_bytes);
      out.held_bytes = budget_->taken();
      return out;
    }
    out.held_bytes = budget_->taken();
    auto& stream = std::get<StreamBody>(reply.body);
    for (std::string piece;;) {
      const auto done = stream.stream->Next(*worker_, piece);
      EXPECT_TRUE(done.has_value()) << done.error().message;
      if (!done.has_value() || piece.empty()) break;
      out.largest_piece = std::max(out.largest_piece, piece.size());
      out.body += piece;
    }
    EXPECT_EQ(out.body.size(), stream.size_bytes.value_or(out.body.size()));
    return out;
  }
  static Request MakeRequest() {
    Request request;
    request.method = "POST";
    request.path = "/ServerSyncWebService/ServerSyncWebService.asmx";
    request.headers = {{"Host", "wsus.example:8530"}};
    return request;
  }
  Answered Send(const std::string& body) { return Handle(*sync_, body, MakeRequest()); }

  template <class Answer, class Ask>
  Result<Answer> Call(const SoapEndpoint& endpoint, const Ask& ask,
                      SoapVersion version = SoapVersion::k11) {
    last_ = Handle(endpoint, protocol::Encode(ask, version), MakeRequest());
    TRY_ASSIGN(const auto message, protocol::SoapMessage::Parse(std::string(last_.body),
                                                                protocol::SoapLimits::Answer()));
    EXPECT_EQ(message.version(), version);
    EXPECT_EQ(last_.content_type, protocol::SoapContentType(version));
    if (message.IsFault()) {
      EXPECT_EQ(last_.status, 500);
      fault_ = *protocol::DecodeFault(message);
      return std::unexpected(protocol::FaultError(fault_, "call"));
    }
    EXPECT_EQ(last_.status, 200);
    return protocol::Decode<Answer>(message);
  }
  template <class Answer, class Ask>
  Result<Answer> Sync(const Ask& ask, SoapVersion version = SoapVersion::k11) {
    return Call<Answer>(*sync_, ask, version);
  }

  Result<protocol::DssAuthorizationResponse> Authorize(const std::string& name,
                                                       const std::string& guid) {
    return Call<protocol::DssAuthorizationResponse>(*authorization_,
                                                    protocol::DssAuthorizationRequest{name, guid});
  }
  Result<protocol::DssGetCookieResponse> GetCookie(
      const std::string& version, std::vector<protocol::AuthorizationCookie> cookies) {
    protocol::DssGetCookieRequest ask;
    ask.auth_cookies = std::move(cookies);
    ask.protocol_version = version;
    return Sync<protocol::DssGetCookieResponse>(ask);
  }
  protocol::AuthorizationCookie Authorization() {
    return Authorize("dss.example", kDownstream.ToString())->cookie;
  }
  protocol::Cookie Cookie(const std::string& version = "1.20") {
    return GetCookie(version, {Authorization()})->cookie;
  }
  /// A cookie of ours that says something else.
  protocol::Cookie Forged(const std::function<void(ServerCookie&)>& change,
                          CookiePurpose purpose = CookiePurpose::kServer) {
    const protocol::Cookie cookie = Cookie();
    ServerCookie content =
        *DecodeServerCookie(*box_->Open(CookiePurpose::kServer, cookie.encrypted_data));
    change(content);
    return {cookie.expiration, *box_->Seal(purpose, EncodeCookie(content), clock_.Now())};
  }

  template <class T>
  void ExpectFault(const Result<T>& result, FaultCode code, const std::string& message = {}) {
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(protocol::FaultCodeOf(result.error()), code) << result.error().message;
    EXPECT_EQ(fault_.message, message);
    EXPECT_FALSE(fault_.id.IsZero());
    EXPECT_EQ(fault_.actor,
              "http://wsus.example:8530/ServerSyncWebService/ServerSyncWebService.asmx");
  }

  mirror::TemporaryDirectory dir_;
  const std::filesystem::path path_ = dir_.path() / "mirror";
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  mirror::MirrorOptions options_;
  std::optional<Mirror> admin_;
  std::unique_ptr<mirror::ActivityWriter> activity_;
  std::unique_ptr<IndexKeeper> keeper_;
  std::optional<CookieBox> box_;
  std::unique_ptr<ServiceShared> shared_;
  std::unique_ptr<SyncService> service_;
  std::shared_ptr<AnswerBudget> budget_;
  std::unique_ptr<SoapEndpoint> sync_;
  std::unique_ptr<SoapEndpoint> authorization_;
  std::unique_ptr<ServiceWorker> worker_;
  Answered last_;
  protocol::SoapFault fault_;
};

// ---- Authorization -----------------------------------------------------------------------------

TEST_F(SyncServiceTest, GetAuthConfigNamesTheOnePlugIn) {
  const auto answer = Sync<protocol::GetAuthConfigResponse>(protocol::GetAuthConfigRequest{});
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->auth_info,
            (std::vector<protocol::AuthPlugIn>{
                {"DssTargeting", "DssAuthWebService/DssAuthWebService.asmx", ""}}));
}

TEST_F(SyncServiceTest, AuthorizationWantsANameAndAGuid) {
  const std::string guid = kDownstream.ToString();
  for (const char* name : {"", "no name", "a/b", "b\xc3\xbc"}) {
    ExpectFault(Authorize(name, guid), FaultCode::kInvalidParameters, "machineName");
    EXPECT_EQ(fault_.method,
              "\"http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService/"
              "GetAuthorizationCookie\"");
  }
  ExpectFault(Authorize(std::string(256, 'a'), guid), FaultCode::kInvalidParameters, "machineName");
  for (const std::string& bad : {std::string(), std::string("no-guid"), guid + "0",
                                 std::string("00000000-0000-0000-0000-000000000000")}) {
    ExpectFault(Authorize("dss.example", bad), FaultCode::kInvalidParameters, "accountGuid");
  }
  EXPECT_TRUE(Authorize("dss_1.example", guid).has_value());
  EXPECT_TRUE(Authorize("DSS", ToUpperAscii(guid)).has_value());
}

TEST_F(SyncServiceTest, GetCookieWantsOneReadableAuthorizationAndAVersion) {
  ExpectFault(GetCookie("1.20", {}), FaultCode::kInvalidParameters, "authCookies");
  const protocol::AuthorizationCookie good = Authorization();
  ExpectFault(GetCookie("1.20", {good, good}), FaultCode::kInvalidParameters, "authCookies");
  protocol::AuthorizationCookie broken = good;
  broken.cookie_data.back() ^= 1;
  ExpectFault(GetCookie("1.20", {broken}), FaultCode::kInvalidAuthorizationCookie);
  broken.cookie_data.clear();
  ExpectFault(GetCookie("1.20", {broken}), FaultCode::kInvalidAuthorizationCookie);
  for (const char* version : {"", "1", "1.x", "x.1", "1.2.3", "-1.2", "1.99999999999"}) {
    ExpectFault(GetCookie(version, {good}), FaultCode::kInvalidParameters, "protocolVersion");
  }
  for (const char* version : {"2.0", "0.9", "20.1"}) {
    ExpectFault(GetCookie(version, {good}), FaultCode::kIncompatibleProtocolVersion);
  }
  for (const char* version : {"1.0", "1.8", "1.20", "1.21"}) {
    EXPECT_TRUE(GetCookie(version, {good}).has_value()) << version;
  }
}

TEST_F(SyncServiceTest, CookiesEndWithTheirAuthorization) {
  const protocol::AuthorizationCookie authorization = Authorization();
  const UtcTime began = clock_.Now();
  EXPECT_EQ(GetCookie("1.20", {authorization})->cookie.expiration, began + 240min);
  clock_.Set(began + 100min);
  const protocol::Cookie later = GetCookie("1.20", {authorization})->cookie;
  EXPECT_EQ(later.expiration, began + 240min) << "the lower of both ends";
  protocol::GetConfigDataRequest ask;
  ask.cookie = later;
  EXPECT_TRUE(Sync<protocol::GetConfigDataResponse>(ask).has_value());
  clock_.Set(began + 240min);
  ExpectFault(Sync<protocol::GetConfigDataResponse>(ask), FaultCode::kInvalidCookie);
  ExpectFault(GetCookie("1.20", {authorization}), FaultCode::kInvalidAuthorizationCookie);
  ask.cookie->expiration = kEndOfTime;  // what the caller says of it does not count
  ExpectFault(Sync<protocol::GetConfigDataResponse>(ask), FaultCode::kInvalidCookie);
}

/// Each operation that takes a cookie, with that cookie and otherwise right.
TEST_F(SyncServiceTest, EveryCallChecksItsCookie) {
  using Caller = std::function<Result<void>(std::optional<protocol::Cookie>)>;
  const auto call = [this]<class Answer>(auto ask, std::type_identity<Answer>) -> Caller {
    return [this, ask](std::optional<protocol::Cookie> cookie) mutable -> Result<void> {
      ask.cookie = std::move(cookie);
      TRY(Sync<Answer>(ask));
      return {};
    };
  };
  protocol::GetDeploymentsRequest deployments;
  deployments.sync_anchor = Sync<protocol::GetRevisionIdListResponse>([&] {
                              protocol::GetRevisionIdListRequest list;
                              list.cookie = Cookie();
                              return list;
                            }())
                                ->anchor;
  protocol::DownloadFilesRequest download;
  const Sha1Digest leaf = Sha1("leaf");
  download.file_digests = {Bytes(leaf.bytes.begin(), leaf.bytes.end())};
  const Caller callers[] = {
      call(protocol::GetConfigDataRequest{}, std::type_identity<protocol::GetConfigDataResponse>()),
      call(protocol::GetRevisionIdListRequest{},
           std::type_identity<protocol::GetRevisionIdListResponse>()),
      call(protocol::GetUpdateDataRequest{}, std::type_identity<protocol::GetUpdateDataResponse>()),
      call(protocol::GetUpdateDecryptionDataRequest{},
           std::type_identity<protocol::GetUpdateDecryptionDataResponse>()),
      call(deployments, std::type_identity<protocol::GetDeploymentsResponse>()),
      call(download, std::type_identity<protocol::DownloadFilesResponse>()),
      call(protocol::GetDriverIdListRequest{},
           std::type_identity<protocol::GetDriverIdListResponse>()),
      call(protocol::GetDriverSetDataRequest{},
           std::type_identity<protocol::GetDriverSetDataResponse>())};
  for (const Caller& caller : callers) {
    EXPECT_TRUE(caller(Cookie()).has_value());
    ExpectFault(caller(std::nullopt), FaultCode::kInvalidCookie);
    ExpectFault(caller(protocol::Cookie{kEndOfTime, {}}), FaultCode::kInvalidCookie);
    ExpectFault(caller(protocol::Cookie{kEndOfTime, Bytes(300, 7)}), FaultCode::kInvalidCookie);
    ExpectFault(caller(protocol::Cookie{kEndOfTime, Authorization().cookie_data}),
                FaultCode::kInvalidCookie);
    ExpectFault(caller(Forged([](ServerCookie&) {}, CookiePurpose::kClient)),
                FaultCode::kInvalidCookie);
    ExpectFault(caller(Forged([](ServerCookie& c) { c.expires = UtcTime::FromUnixSeconds(1); })),
                FaultCode::kInvalidCookie);
    ExpectFault(caller(Forged([](ServerCookie& c) { c.mirror = Guid::Random(); })),
                FaultCode::kInvalidCookie);
    EXPECT_TRUE(caller(Forged([](ServerCookie& c) { c.epoch = Guid::Random(); })).has_value())
        << "after a restore anchors tell what changed, once";
    ExpectFault(caller(Forged([](ServerCookie& c) { c.protocol_version = 0; })),
                FaultCode::kInvalidParameters, "protocolVersion");
    ExpectFault(caller(Forged([](ServerCookie& c) { c.protocol_version = 2U << 16; })),
                FaultCode::kIncompatibleProtocolVersion);
  }
}

TEST_F(SyncServiceTest, BytesThatAreNoCookieAreAnInvalidCookie) {
  const auto envelope = [](const std::string& body) {
    return "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>" + body +
           "</s:Body></s:Envelope>";
  };
  const std::string space = " xmlns=\"http://www.microsoft.com/SoftwareDistribution\"";
  const auto fault_of = [&](const std::string& body) {
    const Answered answered = Send(envelope(body));
    EXPECT_EQ(answered.status, 500) << answered.body;
    const auto message =
        protocol::SoapMessage::Parse(answered.body, protocol::SoapLimits::Answer());
    return *protocol::DecodeFault(*message);
  };
  const std::string config =
      "<GetConfigData" + space + "><cookie><Expiration>2026-01-01T00:00:00Z</Expiration>";
  EXPECT_EQ(fault_of(config + "<EncryptedData>%%%</EncryptedData></cookie></GetConfigData>").code,
            FaultCode::kInvalidCookie);
  EXPECT_EQ(fault_of("<GetConfigData" + space +
                     "><cookie><Expiration>soon</Expiration></cookie></GetConfigData>")
                .code,
            FaultCode::kInvalidCookie);
  EXPECT_EQ(fault_of("<GetCookie" + space +
                     "><authCookies><AuthorizationCookie><CookieData>%</CookieData>"
                     "</AuthorizationCookie></authCookies></GetCookie>")
                .code,
            FaultCode::kInvalidAuthorizationCookie);
  const auto parameter =
      fault_of("<GetUpdateData" + space +
               "><updateIds><UpdateIdentity><UpdateID>x</UpdateID></UpdateIdentity></updateIds>"
               "</GetUpdateData>");
  EXPECT_EQ(parameter.code, FaultCode::kInvalidParameters);
  EXPECT_NE(parameter.message.find("updateIds"), std::string::npos) << parameter.message;
  const auto unknown = fault_of("<" + std::string(5000, 'N') + space + "/>");
  EXPECT_EQ(unknown.code, FaultCode::kInvalidParameters);
  EXPECT_LT(unknown.method.size(), 400u) << "a peer's name is not sent back at length";
}

TEST_F(SyncServiceTest, FaultsHaveTheShapeOfTheirSoapVersion) {
  protocol::GetRevisionIdListRequest ask;
  ask.filter.anchor = "garbage";
  ask.cookie = Cookie();
  const auto mask = [this](std::string text) {
    const std::string id = fault_.id.ToString();
    for (std::size_t at; (at = text.find(id)) != std::string::npos;) text.replace(at, 36, "ID");
    return text;
  };
  const std::string detail =
      "<ErrorCode>InvalidParameters</ErrorCode><Message>filter</Message><ID>ID</ID><Method>"
      "\"http://www.microsoft.com/SoftwareDistribution/GetRevisionIdList\"</Method>";
  const std::string actor =
      "http://wsus.example:8530/ServerSyncWebService/ServerSyncWebService.asmx";
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(ask), FaultCode::kInvalidParameters,
              "filter");
  EXPECT_NE(mask(last_.body)
                .find("<soap:Fault><faultcode>soap:Client</faultcode>"
                      "<faultstring>Fault occurred</faultstring><faultactor>" +
                      actor + "</faultactor><detail>" + detail + "</detail></soap:Fault>"),
            std::string::npos)
      << last_.body;
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(ask, SoapVersion::k12),
              FaultCode::kInvalidParameters, "filter");
  EXPECT_NE(
      mask(last_.body)
          .find("<soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code>"
                "<soap:Reason><soap:Text xml:lang=\"en\">Fault occurred</soap:Text></soap:Reason>"
                "<soap:Node>" +
                actor + "</soap:Node><soap:Detail>" + detail + "</soap:Detail><Detail>" + detail +
                "</Detail></soap:Fault>"),
      std::string::npos)
      << last_.body;
  protocol::GetUpdateDataRequest unknown;
  unknown.cookie = ask.cookie;
  unknown.update_ids = {{Guid::Random(), 1}};
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(unknown), FaultCode::kInternalServerError);
  EXPECT_NE(last_.body.find("<faultcode>soap:Server</faultcode>"), std::string::npos);
}

// ---- Configuration and lists -------------------------------------------------------------------

TEST_F(SyncServiceTest, ConfigurationTellsLimitsAndLanguages) {
  protocol::GetConfigDataRequest ask;
  ask.cookie = Cookie();
  const auto answer = Sync<protocol::GetConfigDataResponse>(ask);
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->catalog_only_sync);
  EXPECT_TRUE(answer->lazy_sync);
  EXPECT_FALSE(answer->server_hosts_psf_files);
  EXPECT_EQ(answer->max_updates_per_request, 100);
  EXPECT_EQ(answer->max_updates_per_decryption_request, 100);
  EXPECT_EQ(answer->max_computer_ids_per_request, 0);
  EXPECT_EQ(answer->max_driver_sets_per_request, 0);
  EXPECT_EQ(answer->max_pnp_hardware_ids_per_request, 0);
  EXPECT_EQ(answer->protocol_version, "1.20");
  ASSERT_FALSE(answer->languages.empty());
  EXPECT_EQ(answer->languages[0].short_language, "all");
  ask.config_anchor = answer->new_config_anchor;
  EXPECT_TRUE(Sync<protocol::GetConfigDataResponse>(ask)->languages.empty());
  ask.config_anchor = "";
  EXPECT_FALSE(Sync<protocol::GetConfigDataResponse>(ask)->languages.empty());
  ask.config_anchor = "garbage";
  ExpectFault(Sync<protocol::GetConfigDataResponse>(ask), FaultCode::kInvalidParameters,
              "configAnchor");
  ask.config_anchor = answer->new_config_anchor;
  ASSERT_TRUE(admin_->intent().AddGroup("Later", mirror::kAllComputers, "test").has_value());
  WaitForIndex();
  EXPECT_FALSE(Sync<protocol::GetConfigDataResponse>(ask)->languages.empty())
      << "an older anchor may have missed a change of languages";
}

TEST_F(SyncServiceTest, AnchorsOfAnotherHistoryMeanServerChanged) {
  protocol::GetRevisionIdListRequest ask;
  ask.cookie = Cookie();
  const auto first = Sync<protocol::GetRevisionIdListResponse>(ask);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->new_revisions.size(), 3u);
  const SyncAnchor anchor = *SyncAnchor::Parse(first->anchor);
  for (const std::string& foreign :
       {SyncAnchor{anchor.generation + 1, anchor.committed_at + 1h}.ToString(),
        SyncAnchor{anchor.generation, UtcTime{anchor.committed_at.ticks + 10'000}}.ToString(),
        SyncAnchor{anchor.generation + 1, anchor.committed_at}.ToString(),
        std::string("9438,2126-10-04 16:33:26.668"),  // a future one would lose updates silently
        std::string("2026-10-05 17:27:44.393")}) {    // of the vendor's service
    ask.filter.anchor = foreign;
    ExpectFault(Sync<protocol::GetRevisionIdListResponse>(ask), FaultCode::kServerChanged);
  }
  for (const std::string& garbage :
       {std::string("garbage"), std::string(","), std::string("-1,2026-10-04 16:33:26.668"),
        std::string("1,2026-10-04 16:33:26.668 "), std::string(100'000, '9')}) {
    ask.filter.anchor = garbage;
    ExpectFault(Sync<protocol::GetRevisionIdListResponse>(ask), FaultCode::kInvalidParameters,
                "filter");
  }
  for (const auto& everything : {std::optional<std::string>(), std::optional<std::string>("")}) {
    ask.filter.anchor = everything;
    EXPECT_EQ(Sync<protocol::GetRevisionIdListResponse>(ask)->new_revisions.size(), 3u);
  }
  ask.filter.anchor = first->anchor;
  EXPECT_TRUE(Sync<protocol::GetRevisionIdListResponse>(ask)->new_revisions.empty());
}

TEST_F(SyncServiceTest, ServerChangedIsOverOnceTheAnchorsAreDropped) {
  protocol::GetRevisionIdListRequest ask;
  ask.cookie = Forged([](ServerCookie& c) { c.epoch = Guid::Random(); });  // before a restore
  ask.filter.anchor = "9438,2126-10-04 16:33:26.668";
  ExpectFault(Sync<protocol::GetRevisionIdListResponse>(ask), FaultCode::kServerChanged);
  ask.filter.anchor.reset();  // and the protocol goes on, with the same cookie
  const auto everything = Sync<protocol::GetRevisionIdListResponse>(ask);
  ASSERT_TRUE(everything.has_value());
  ask.filter.anchor = everything->anchor;
  EXPECT_TRUE(Sync<protocol::GetRevisionIdListResponse>(ask)->new_revisions.empty());
}

TEST_F(SyncServiceTest, AnApprovalIsNoReasonToListAnUpdate) {
  protocol::GetRevisionIdListRequest ask;
  ask.cookie = Cookie();
  ask.filter.anchor = Sync<protocol::GetRevisionIdListResponse>(ask)->anchor;
  mirror::Intent::Approval approval;
  approval.update = kLeaf;
  approval.group = mirror::kAllComputers;
  ASSERT_TRUE(admin_->intent().Approve({approval}, "test").has_value());
  WaitForIndex();
  const auto after = Sync<protocol::GetRevisionIdListResponse>(ask);
  EXPECT_TRUE(after->new_revisions.empty());
  EXPECT_NE(after->anchor, *ask.filter.anchor);
}

// ---- Documents ---------------------------------------------------------------------------------

TEST_F(SyncServiceTest, DocumentsComeAsTheyCame) {
  protocol::GetUpdateDataRequest ask;
  ask.cookie = Cookie();
  ask.update_ids = {kLeaf, kCabinet, kProduct, kLeaf};
  for (const SoapVersion version : {SoapVersion::k11, SoapVersion::k12}) {
    const auto answer = Sync<protocol::GetUpdateDataResponse>(ask, version);
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    ASSERT_EQ(answer->updates.size(), 4u) << "asked twice, given twice";
    const auto documents = Documents();
    EXPECT_EQ(answer->updates[0].id, kLeaf);
    EXPECT_EQ(std::get<protocol::PlainText>(*answer->updates[0].blob).text,
              AsText(documents[1].bytes));
    EXPECT_EQ(answer->updates[0].compressed_blob, nullptr);
    EXPECT_EQ(answer->updates[0].file_digests,
              (std::vector<Sha1Digest>{Sha1("leaf"), Sha1("second")}))
        << "each file once";
    EXPECT_FALSE(answer->updates[1].blob.has_value());
    auto source = answer->updates[1].compressed_blob->Open();
    MemorySink cabinet(1 << 20);
    ASSERT_TRUE(Copy(**source, cabinet, 1 << 20).has_value());
    EXPECT_EQ(Bytes(cabinet.bytes().begin(), cabinet.bytes().end()), documents[2].bytes);
    EXPECT_TRUE(answer->updates[2].file_digests.empty());
    ASSERT_EQ(answer->file_urls.size(), 2u);
    EXPECT_EQ(answer->file_urls[0].mu_url, kMuUrl);
    EXPECT_FALSE(answer->file_urls[1].mu_url.has_value());
    EXPECT_EQ(answer->file_urls[1].file_digest, Sha1("second"));
  }
  EXPECT_NE(last_.body.find("<UssUrl />"), std::string::npos);
  EXPECT_EQ(last_.body.find("DecryptionKey"), std::string::npos) << "real servers leave it out";
}

TEST_F(SyncServiceTest, AnswersEndAtTwoMegabytesOfWhatIsSent) {
  LoadLarge();
  protocol::GetUpdateDataRequest ask;
  ask.cookie = Cookie();
  // 640,000 bytes each as kept, 1.3 million as sent: two do not fit.
  ask.update_ids = {kLarge, kLarge2, kLeaf};
  auto answer = Sync<protocol::GetUpdateDataResponse>(ask);
  ASSERT_TRUE(answer.has_value());
  ASSERT_EQ(answer->updates.size(), 1u);
  EXPECT_GT(last_.body.size(), 1'200'000u);
  EXPECT_LT(last_.body.size(), 2'000'000u);
  ask.update_ids = {kLarge, kLeaf, kCabinet};
  EXPECT_EQ(Sync<protocol::GetUpdateDataResponse>(ask)->updates.size(), 3u);
}

TEST_F(SyncServiceTest, AnUpdateLargerThanTheAnswerComesAloneAndInPieces) {
  LoadLarge();
  protocol::GetUpdateDataRequest ask;
  ask.cookie = Cookie();
  ask.update_ids = {kHuge, kLeaf};
  const auto answer = Sync<protocol::GetUpdateDataResponse>(ask);
  ASSERT_TRUE(answer.has_value());
  ASSERT_EQ(answer->updates.size(), 1u);
  EXPECT_GT(last_.body.size(), 3'000'000u);
  EXPECT_LE(last_.largest_piece, 256u * 1024);
  EXPECT_LT(last_.held_bytes, 10'000u) << "the document is read while it is sent";
  EXPECT_EQ(std::get<protocol::PlainText>(*answer->updates[0].blob).text,
            AsText(LargeDocuments().back().bytes));
  ask.update_ids = {kLeaf, kHuge};
  EXPECT_EQ(Sync<protocol::GetUpdateDataResponse>(ask)->updates.size(), 1u);
}

TEST_F(SyncServiceTest, UpdateIdsAreCheckedBeforeAnythingIsRead) {
  protocol::GetUpdateDataRequest ask;
  ask.cookie = Cookie();
  ask.has_update_ids = false;
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(ask), FaultCode::kInvalidParameters,
              "updateIds");
  ask.has_update_ids = true;
  EXPECT_TRUE(Sync<protocol::GetUpdateDataResponse>(ask)->updates.empty());
  ask.update_ids.assign(100, kProduct);
  EXPECT_EQ(Sync<protocol::GetUpdateDataResponse>(ask)->updates.size(), 100u);
  for (const std::size_t count : {101u, 50'000u}) {
    ask.update_ids.assign(count, kProduct);
    ExpectFault(Sync<protocol::GetUpdateDataResponse>(ask), FaultCode::kInvalidParameters,
                "updateIds");
  }
  for (const UpdateId& wrong : {UpdateId{kLeaf.guid, 201}, UpdateId{kLeaf.guid, -200},
                                UpdateId{Guid::Random(), 200}, UpdateId{Guid(), 0}}) {
    ask.update_ids = {kProduct, wrong};
    ExpectFault(Sync<protocol::GetUpdateDataResponse>(ask), FaultCode::kInternalServerError);
  }
}

TEST_F(SyncServiceTest, KeysAreToldOfUpdatesThatNeedThem) {
  protocol::GetUpdateDecryptionDataRequest ask;
  ask.cookie = Cookie();
  ask.update_ids = {kLeaf, kSecret};
  const auto answer = Sync<protocol::GetUpdateDecryptionDataResponse>(ask);
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  ASSERT_EQ(answer->updates.size(), 1u);
  EXPECT_EQ(answer->updates[0].update_id, kSecret);
  ASSERT_EQ(answer->updates[0].files.size(), 2u);
  EXPECT_EQ(answer->updates[0].files[0].file_digest, Sha1("locked"));
  EXPECT_EQ(answer->updates[0].files[0].decryption_key, (Bytes{1, 2, 3}));
  EXPECT_FALSE(answer->updates[0].files[1].decryption_key.has_value());
  ask.update_ids.assign(101, kSecret);
  ExpectFault(Sync<protocol::GetUpdateDecryptionDataResponse>(ask), FaultCode::kInvalidParameters,
              "updateIds");
  ask.update_ids.clear();
  EXPECT_TRUE(Sync<protocol::GetUpdateDecryptionDataResponse>(ask)->updates.empty());
  ask.has_update_ids = false;
  ExpectFault(Sync<protocol::GetUpdateDecryptionDataResponse>(ask), FaultCode::kInvalidParameters,
              "updateIds");
  ask.has_update_ids = true;
  ask.update_ids = {{Guid::Random(), 1}};
  ExpectFault(Sync<protocol::GetUpdateDecryptionDataResponse>(ask),
              FaultCode::kInternalServerError);
}

TEST_F(SyncServiceTest, AnswersBeingSentHaveABound) {
  protocol::GetUpdateDataRequest ask;
  ask.cookie = Cookie();
  ask.update_ids.assign(100, kProduct);
  const auto held = budget_->Take(16 << 20);
  ASSERT_NE(held, nullptr);
  ExpectFault(Sync<protocol::GetUpdateDataResponse>(ask), FaultCode::kServerBusy);
}

TEST(AnswerBudget, GivesBackWhatIsDone) {
  const auto budget = AnswerBudget::Make(100);
  {
    const auto large = budget->Take(1000);
    EXPECT_NE(large, nullptr) << "one answer is always possible";
    EXPECT_EQ(budget->Take(1), nullptr);
  }
  EXPECT_EQ(budget->taken(), 0u);
  const auto first = budget->Take(60);
  EXPECT_EQ(budget->Take(60), nullptr);
  EXPECT_NE(budget->Take(40), nullptr);
  EXPECT_EQ(budget->taken(), 60u);
}

// ---- Content, approvals and the rest -----------------------------------------------------------

TEST_F(SyncServiceTest, MissingDigestsAreNamedEachOnce) {
  protocol::DownloadFilesRequest ask;
  ask.cookie = Cookie();
  const auto digest = [](std::string_view text) {
    const Sha1Digest sha1 = Sha1(text);
    return Bytes(sha1.bytes.begin(), sha1.bytes.end());
  };
  ExpectFault(Sync<protocol::DownloadFilesResponse>(ask), FaultCode::kInvalidParameters,
              "fileDigestList");
  ask.file_digests.assign(101, digest("leaf"));
  ExpectFault(Sync<protocol::DownloadFilesResponse>(ask), FaultCode::kInvalidParameters,
              "fileDigestList");
  ask.file_digests = {Bytes(19, 1)};
  ExpectFault(Sync<protocol::DownloadFilesResponse>(ask), FaultCode::kInvalidParameters,
              "fileDigestList");
  ask.file_digests = {digest("a"), digest("leaf"), digest("b"), digest("a")};
  const auto refused = Sync<protocol::DownloadFilesResponse>(ask);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(fault_.code, FaultCode::kFileDigestsMissing);
  const std::string a = Sha1("a").ToBase64();
  const std::string b = Sha1("b").ToBase64();
  EXPECT_TRUE(fault_.message == a + "|" + b || fault_.message == b + "|" + a) << fault_.message;
  EXPECT_TRUE(admin_->content().Wanted()->empty()) << "all or none";
  ask.file_digests.assign(100, digest("leaf"));
  EXPECT_TRUE(Sync<protocol::DownloadFilesResponse>(ask).has_value());
  EXPECT_EQ(*admin_->content().Wanted(), std::vector<Sha1Digest>{Sha1("leaf")});
}

TEST_F(SyncServiceTest, DeploymentAnchorsAreChecked) {
  protocol::GetRevisionIdListRequest list;
  list.cookie = Cookie();
  const std::string before = Sync<protocol::GetRevisionIdListResponse>(list)->anchor;
  ASSERT_TRUE(admin_->intent().Decline({kCabinet.guid}, "test").has_value());
  WaitForIndex();
  const std::string now = Sync<protocol::GetRevisionIdListResponse>(list)->anchor;
  protocol::GetDeploymentsRequest ask;
  ask.cookie = list.cookie;
  for (const auto& bad : {std::optional<std::string>(), std::optional<std::string>(""),
                          std::optional<std::string>("garbage")}) {
    ask.sync_anchor = bad;
    ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kInvalidParameters,
                "syncAnchor");
  }
  ask.sync_anchor = "9,2126-01-01 00:00:00.000";
  ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kServerChanged);
  ask.sync_anchor = before;
  ask.deployment_anchor = now;
  ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kInvalidParameters,
              "deploymentAnchor");
  ask.deployment_anchor = "garbage";
  ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kInvalidParameters,
              "deploymentAnchor");
  ask.deployment_anchor = "9,2126-01-01 00:00:00.000";
  ExpectFault(Sync<protocol::GetDeploymentsResponse>(ask), FaultCode::kServerChanged);
  ask.deployment_anchor = "";
  const auto answer = Sync<protocol::GetDeploymentsResponse>(ask);
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->anchor, before) << "not later than what was asked for";
  EXPECT_EQ(answer->hidden_updates, std::vector<Guid>{kCabinet.guid});
  ASSERT_EQ(answer->groups.size(), 2u);
  EXPECT_TRUE(answer->groups[0].parent_id.IsZero());
  EXPECT_TRUE(answer->groups[0].is_builtin);
}

TEST_F(SyncServiceTest, DriverCallsAreAnsweredEmpty) {
  protocol::GetDriverIdListRequest list;
  list.cookie = Cookie();
  const auto ids = Sync<protocol::GetDriverIdListResponse>(list);
  ASSERT_TRUE(ids.has_value());
  EXPECT_TRUE(SyncAnchor::Parse(ids->anchor).has_value());
  EXPECT_TRUE(ids->new_revisions.empty() && ids->new_driver_sets.empty());
  list.filter.anchor = "garbage";
  ExpectFault(Sync<protocol::GetDriverIdListResponse>(list), FaultCode::kInvalidParameters,
              "filter");
  protocol::GetDriverSetDataRequest sets;
  sets.cookie = list.cookie;
  sets.driver_sets = {Guid::Random()};
  EXPECT_TRUE(Sync<protocol::GetDriverSetDataResponse>(sets)->driver_sets.empty());
  sets.driver_sets.clear();
  EXPECT_TRUE(Sync<protocol::GetDriverSetDataResponse>(sets)->driver_sets.empty());
  sets.has_driver_sets = false;
  ExpectFault(Sync<protocol::GetDriverSetDataResponse>(sets), FaultCode::kInvalidParameters,
              "driverSets");
}

TEST_F(SyncServiceTest, UnusedCallsAreAnswered) {
  const auto related =
      Sync<protocol::GetRelatedRevisionsResponse>(protocol::GetRelatedRevisionsRequest{});
  ASSERT_TRUE(related.has_value());
  EXPECT_TRUE(related->revisions.empty());
  for (const SoapEndpoint* endpoint : {sync_.get(), authorization_.get()}) {
    const auto ping = Call<protocol::PingResponse>(*endpoint, protocol::PingRequest{1});
    ASSERT_TRUE(ping.has_value());
    EXPECT_TRUE(ping->success);
    EXPECT_EQ(ping->services_time, clock_.Now());
  }
}

TEST_F(SyncServiceTest, HostileEnvelopesAreRefused) {
  const std::string head =
      "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>";
  std::string deep = head;
  for (int i = 0; i < 100'000; ++i) deep += "<a>";
  EXPECT_EQ(Send(deep).status, 400);
  std::string wide = head + "<GetUpdateData>";
  for (int i = 0; i < 600'000; ++i) wide += "<a/>";
  EXPECT_EQ(Send(wide + "</GetUpdateData></s:Body></s:Envelope>").status, 400);
  EXPECT_EQ(Send("<!DOCTYPE x [<!ENTITY a \"b\">]>" + head).status, 400);
  EXPECT_EQ(Send(head + "<a xmlns='u'/><b/></s:Body></s:Envelope>").status, 400);
  EXPECT_EQ(Send("<e:Envelope xmlns:e=\"http://other\"><e:Body><a/></e:Body></e:Envelope>").status,
            400);
}

TEST_F(SyncServiceTest, TheDescriptionNamesWhatIsAnswered) {
  Request get = MakeRequest();
  get.method = "GET";
  get.query = "WSDL";
  const Answered wsdl = Handle(*sync_, "", get);
  EXPECT_EQ(wsdl.status, 200);
  EXPECT_EQ(wsdl.content_type, "text/xml; charset=utf-8");
  EXPECT_NE(wsdl.body.find("location=\"http://wsus.example:8530/ServerSyncWebService/"
                           "ServerSyncWebService.asmx\""),
            std::string::npos);
  get.headers = {{"Host", "evil\"><script>"}};
  get.local_address = "192.0.2.7";
  get.local_port = 8530;
  const Answered safe = Handle(*sync_, "", get);
  EXPECT_EQ(safe.body.find("evil"), std::string::npos);
  EXPECT_NE(safe.body.find("location=\"http://192.0.2.7:8530/"), std::string::npos);
  get.query = "";
  EXPECT_EQ(Handle(*sync_, "", get).status, 405);
  get.method = "PUT";
  EXPECT_EQ(Handle(*sync_, "", get).status, 405);

  std::vector<std::string> described;
  for (const DescribedCall& call : description::ServerSync().calls()) {
    described.push_back(call.name);
  }
  std::ranges::sort(described);
  EXPECT_EQ(described, sync_->operations());
}

}  // namespace
}  // namespace gapferry::server
