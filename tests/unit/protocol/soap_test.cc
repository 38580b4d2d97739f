#include "protocol/soap.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/reporting_codec.h"
#include "protocol/sync_codec.h"
#include "protocol/wusp_codec.h"

namespace gapferry::protocol {
namespace {

std::string Envelope(std::string_view body) {
  return R"(<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>)" +
         std::string(body) + "</s:Body></s:Envelope>";
}

Result<SoapMessage> Parse(std::string text) {
  return SoapMessage::Parse(std::move(text), SoapLimits::Request());
}

TEST(SoapMessage, ResolvesNamespacesInsteadOfComparingPrefixes) {
  const auto message =
      Parse(R"(<?xml version="1.0"?><x:Envelope xmlns:x="http://www.w3.org/2003/05/soap-envelope">)"
            R"(<x:Header><a/></x:Header><x:Body><q:Ping xmlns:q="urn:q"/></x:Body></x:Envelope>)");
  ASSERT_TRUE(message.has_value()) << message.error().message;
  EXPECT_EQ(message->version(), SoapVersion::k12);
  EXPECT_EQ(message->name(), "Ping");
  EXPECT_EQ(message->name_space(), "urn:q");
}

TEST(SoapMessage, RefusesMalformedInput) {
  std::string deep;
  for (int i = 0; i < 70; ++i) deep += "<a>";
  for (int i = 0; i < 70; ++i) deep += "</a>";
  const struct {
    const char* name;
    std::string text;
    const char* message;
  } kCases[] = {
      {"empty", "", "soap message: no well-formed XML: No document element found at byte 0"},
      {"not xml", "hello", "soap message: no well-formed XML: No document element found at byte 4"},
      {"cut in a tag", "<s:Envelope xmlns:s='x", "soap message: ends inside a tag"},
      {"cut in an element", "<a><b></b>", "soap message: ends inside an element"},
      {"end tag first", "</a>", "soap message: end tag without start tag"},
      {"doctype", "<!DOCTYPE a []><a/>", "soap message: document types are not allowed"},
      {"entity", "<a><!ENTITY b 'c'></a>", "soap message: document types are not allowed"},
      {"not utf-8", "<a>\xff</a>", "soap message: not UTF-8"},
      {"control character", std::string("<a>\0</a>", 8),
       "soap message: contains a control character"},
      {"deep", Envelope(deep), "soap message: elements nested deeper than 64"},
      {"no envelope", "<a/>", "soap message: no SOAP envelope but 'a'"},
      {"foreign envelope", "<s:Envelope xmlns:s='urn:x'/>",
       "soap message: no SOAP envelope but 's:Envelope'"},
      {"no body",
       R"(<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"></s:Envelope>)",
       "soap message: envelope without body"},
      {"empty body", Envelope(""), "soap message: empty body"},
      {"two operations", Envelope("<a/><b/>"), "soap message: more than one element in the body"},
  };
  for (const auto& c : kCases) {
    const auto message = Parse(c.text);
    ASSERT_FALSE(message.has_value()) << c.name;
    EXPECT_EQ(message.error().code, ErrorCode::kCorrupt) << c.name;
    EXPECT_EQ(message.error().message, c.message) << c.name;
  }
}

TEST(SoapMessage, KeepsToItsLimits) {
  const SoapLimits small{200, 10};
  EXPECT_EQ(SoapMessage::Parse(std::string(201, ' '), small).error().message,
            "soap message: 201 bytes, at most 200 are allowed");
  EXPECT_EQ(SoapMessage::Parse("<a><b/><b/><b/><b/><b/></a>", small).error().message,
            "soap message: more than 10 nodes");
}

std::string ClientRequest(std::string_view operation, std::string_view children) {
  return Envelope("<" + std::string(operation) + " xmlns=\"" + std::string(ns::kClient) + "\">" +
                  std::string(children) + "</" + std::string(operation) + ">");
}

TEST(SoapDecode, SaysWhereAValueIsWrong) {
  const struct {
    const char* name;
    const char* children;
    const char* message;
  } kCases[] = {
      {"no parameters", "", "SyncUpdates: parameters: missing"},
      {"bad integer",
       "<parameters><OtherCachedUpdateIDs><int>1x</int></OtherCachedUpdateIDs></parameters>",
       "SyncUpdates: parameters/OtherCachedUpdateIDs/int: unexpected value '1x'"},
      {"integer out of range",
       "<parameters><OtherCachedUpdateIDs><int>4294967296</int></OtherCachedUpdateIDs></"
       "parameters>",
       "SyncUpdates: parameters/OtherCachedUpdateIDs/int: unexpected value '4294967296'"},
      {"bad boolean", "<parameters><SkipSoftwareSync>maybe</SkipSoftwareSync></parameters>",
       "SyncUpdates: parameters/SkipSoftwareSync: unexpected value 'maybe'"},
      {"bad guid",
       "<parameters><FilterCategoryIds><CategoryIdentifier><Id>1</Id></CategoryIdentifier>"
       "</FilterCategoryIds></parameters>",
       "SyncUpdates: parameters/FilterCategoryIds/CategoryIdentifier/Id: unexpected value '1'"},
      {"bad base64", "<cookie><EncryptedData>*</EncryptedData></cookie><parameters/>",
       "SyncUpdates: cookie/EncryptedData: unexpected value '*'"},
      {"bad time", "<cookie><Expiration>soon</Expiration></cookie><parameters/>",
       "SyncUpdates: cookie/Expiration: unexpected value 'soon'"},
      {"repeated", "<parameters/><parameters/>", "SyncUpdates: parameters: appears twice"},
  };
  for (const auto& c : kCases) {
    auto message = Parse(ClientRequest("SyncUpdates", c.children));
    ASSERT_TRUE(message.has_value()) << c.name;
    const auto decoded = Decode<SyncUpdatesRequest>(*message);
    ASSERT_FALSE(decoded.has_value()) << c.name;
    EXPECT_EQ(decoded.error().code, ErrorCode::kCorrupt) << c.name;
    EXPECT_EQ(decoded.error().message, c.message) << c.name;
  }
}

// Long runs are read outside the tree; whatever stands between them, the lists are the same.
TEST(SoapDecode, ReadsLongListsOfNumbersLikeShortOnes) {
  const auto list = [](int from, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "<int>" + std::to_string(from + i) + "</int>";
    return text;
  };
  const auto numbers = [](int from, int count) {
    std::vector<std::int32_t> all;
    for (int i = 0; i < count; ++i) all.push_back(from + i);
    return all;
  };
  const auto decode = [&list](const std::string& installed,
                              const std::string& other) -> Result<SyncUpdatesRequest> {
    TRY_ASSIGN(const SoapMessage message,
               Parse(Envelope(R"(<SyncUpdates xmlns=")" + std::string(ns::kClient) +
                              R"("><parameters><InstalledNonLeafUpdateIDs>)" + installed +
                              "</InstalledNonLeafUpdateIDs><Foo>" + list(5, 40) +
                              "</Foo><OtherCachedUpdateIDs>" + other +
                              "</OtherCachedUpdateIDs><SkipSoftwareSync>true</SkipSoftwareSync>"
                              "</parameters></SyncUpdates>")));
    return Decode<SyncUpdatesRequest>(message);
  };
  for (const int count : {0, 1, 7, 8, 9, 1000}) {
    const auto whole = decode(list(1, count), list(2'000'000, 100));
    ASSERT_TRUE(whole.has_value()) << whole.error().message;
    EXPECT_EQ(whole->parameters.installed_non_leaf_update_ids, numbers(1, count));
    EXPECT_EQ(whole->parameters.other_cached_update_ids, numbers(2'000'000, 100));
    EXPECT_TRUE(whole->parameters.skip_software_sync);
  }
  const auto broken =
      decode(list(1, 20) + " <!-- <int>4</int> --><int>21</int><a/><int> 22</int>" + list(23, 10),
             list(1, 8) + "<x:int xmlns:x='urn:x'>9</x:int><int>-10</int><other>11</other>");
  const auto without_space =
      decode(list(1, 20) + "<!-- <int>4</int> --><int>21</int><a/>" + list(22, 10),
             list(1, 8) + "<x:int xmlns:x='urn:x'>9</x:int><int>-10</int><other>11</other>");
  EXPECT_EQ(broken.has_value(), decode("<int> 22</int>", "").has_value());
  ASSERT_TRUE(without_space.has_value()) << without_space.error().message;
  EXPECT_EQ(without_space->parameters.installed_non_leaf_update_ids, numbers(1, 31));
  EXPECT_EQ(without_space->parameters.other_cached_update_ids,
            (std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, -10}));
  const auto large = decode(list(1, 20) + "<int>2147483648</int>" + list(1, 20), "");
  ASSERT_FALSE(large.has_value());
  EXPECT_NE(large.error().message.find("InstalledNonLeafUpdateIDs/int: unexpected value "
                                       "'2147483648'"),
            std::string::npos)
      << large.error().message;
  SoapLimits limits = SoapLimits::Request();
  limits.max_nodes = 1000;
  EXPECT_FALSE(SoapMessage::Parse(Envelope("<a>" + list(1, 500) + "</a>"), limits).has_value());
  for (const char* cut : {"<int>1", "<int>1</int", "<int>1</int>", "<int>1</int><in"}) {
    EXPECT_FALSE(Parse("<a>" + list(1, 30) + cut).has_value()) << cut;
  }
}

TEST(SoapDecode, IgnoresUnknownElementsOrderAndPrefixes) {
  auto message = Parse(Envelope(
      R"(<q:SyncUpdates xmlns:q=")" + std::string(ns::kClient) +
      R"("><q:parameters><q:New><q:x/></q:New><q:SkipSoftwareSync>1</q:SkipSoftwareSync>)"
      R"(<q:OtherCachedUpdateIDs><q:int> 7 </q:int><q:int a:nil="true" xmlns:a="urn:a"/>)"
      R"(<q:int><![CDATA[8]]></q:int></q:OtherCachedUpdateIDs></q:parameters>)"
      R"(<q:cookie><q:Expiration>2026-10-04T15:03:36Z</q:Expiration></q:cookie></q:SyncUpdates>)"));
  ASSERT_TRUE(message.has_value());
  const auto request = Decode<SyncUpdatesRequest>(*message);
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_TRUE(request->parameters.skip_software_sync);
  EXPECT_EQ(request->parameters.other_cached_update_ids, (std::vector<std::int32_t>{7, 8}));
  EXPECT_TRUE(request->parameters.installed_non_leaf_update_ids.empty());
}

TEST(SoapDecode, RefusesAnotherOperationAndAnotherNamespace) {
  auto message = Parse(ClientRequest("GetCookie", ""));
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(Decode<GetConfigRequest>(*message).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(Decode<DssGetCookieRequest>(*message).error().code, ErrorCode::kUnsupported);
  EXPECT_TRUE(Decode<GetCookieRequest>(*message).has_value());
}

TEST(SoapAction, IsReadQuotedOrNot) {
  const struct {
    const char* header;
    const char* name_space;
    const char* operation;
  } kCases[] = {
      {"\"http://a/b/GetConfig\"", "http://a/b", "GetConfig"},
      {"http://a/b/GetConfig", "http://a/b", "GetConfig"},
      {" \"x/y\" ", "x", "y"},
  };
  for (const auto& c : kCases) {
    const auto action = ParseSoapAction(c.header);
    ASSERT_TRUE(action.has_value()) << c.header;
    EXPECT_EQ(action->name_space, c.name_space);
    EXPECT_EQ(action->operation, c.operation);
  }
  EXPECT_FALSE(ParseSoapAction("").has_value());
  EXPECT_EQ(SoapActionHeader(ns::kDssAuth, "GetAuthorizationCookie"),
            "\"http://www.microsoft.com/SoftwareDistribution/Server/DssAuthWebService/"
            "GetAuthorizationCookie\"");
}

TEST(SoapFault, HasTheShapeOfTheClientService) {
  SoapFault fault;
  fault.code = FaultCode::kInvalidParameters;
  fault.message = "parameters.InstalledNonLeafUpdateIDs";
  fault.id = *Guid::Parse("81418b4e-82c1-48d0-9504-da01db6148ae");
  fault.method = SoapActionHeader(ns::kClient, "SyncUpdates");
  fault.actor = "http://not/written";
  EXPECT_EQ(
      EncodeFault(fault, SoapStyle::kClient, SoapVersion::k11),
      R"(<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>)"
      R"(<faultcode>s:Client</faultcode><faultstring>Fault occurred</faultstring><detail>)"
      R"(<ErrorCode>InvalidParameters</ErrorCode><Message>parameters.InstalledNonLeafUpdateIDs)"
      R"(</Message><ID>81418b4e-82c1-48d0-9504-da01db6148ae</ID><Method>"http://www.microsoft.com/)"
      R"(SoftwareDistribution/Server/ClientWebService/SyncUpdates"</Method></detail></s:Fault>)"
      R"(</s:Body></s:Envelope>)");
}

TEST(SoapFault, EveryCodeSurvivesBothVersionsAndBothShapes) {
  for (int i = 1; i <= static_cast<int>(FaultCode::kTooManyIds); ++i) {
    for (const SoapStyle style : {SoapStyle::kClient, SoapStyle::kClassic}) {
      for (const SoapVersion version : {SoapVersion::k11, SoapVersion::k12}) {
        SoapFault fault;
        fault.code = static_cast<FaultCode>(i);
        fault.message = "a|b";
        fault.method = "\"m\"";
        auto message = Parse(EncodeFault(fault, style, version));
        ASSERT_TRUE(message.has_value());
        ASSERT_TRUE(message->IsFault());
        EXPECT_EQ(message->version(), version);
        const auto decoded = DecodeFault(*message);
        ASSERT_TRUE(decoded.has_value());
        EXPECT_EQ(decoded->code, fault.code);
        EXPECT_EQ(decoded->message, "a|b");
        EXPECT_EQ(decoded->text, "Fault occurred");
        const Error error = FaultError(*decoded, "Op");
        EXPECT_EQ(FaultCodeOf(error), fault.code);
      }
    }
  }
}

TEST(SoapFault, WithoutErrorCodeIsUnknown) {
  auto message =
      Parse(Envelope("<s:Fault><faultcode>s:Server</faultcode>"
                     "<faultstring>out of cheese</faultstring></s:Fault>"));
  ASSERT_TRUE(message.has_value());
  const auto fault = DecodeFault(*message);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->code, FaultCode::kUnknown);
  EXPECT_EQ(FaultError(*fault, "GetUpdateData").message,
            "GetUpdateData: server answered UnknownFault: out of cheese");
}

template <class Message>
Message Again(const Message& message) {
  auto parsed = Parse(*Flatten(EncodeBody(message), 1 << 24));
  EXPECT_TRUE(parsed.has_value()) << parsed.error().message;
  auto decoded = Decode<Message>(*parsed);
  EXPECT_TRUE(decoded.has_value()) << decoded.error().message;
  return std::move(*decoded);
}

TEST(ReportingCodec, ScalarsOfComputersAreAttributes) {
  RollupComputersRequest request;
  request.cookie = RollupCookie();
  request.client_time = *UtcTime::ParseXml("2026-11-22T08:00:00Z");
  auto& computer = request.computers.emplace_back();
  computer.computer_id = "e1da06a3-5601-43c9-bac3-52d5db701494";
  computer.last_reported_reboot_time = kNever;
  computer.details.emplace();
  computer.details->full_domain_name = "a<b>\"c\"";
  computer.details->requested_target_group_names = {"Ring 0"};
  const std::string text = Encode(request);
  EXPECT_NE(text.find("<cookie><Expiration>9999-12-31T23:59:59.9999999Z</Expiration><EncryptedData "
                      "/></cookie>"),
            std::string::npos);
  EXPECT_NE(text.find(R"(FullDomainName="a&lt;b&gt;&quot;c&quot;")"), std::string::npos);
  EXPECT_NE(text.find(R"(LastReportedRebootTime="1753-01-01T00:00:00Z")"), std::string::npos);
  const auto again = Again(request);
  ASSERT_TRUE(again.computers.at(0).details.has_value());
  EXPECT_EQ(again.computers[0].details->full_domain_name, "a<b>\"c\"");
  EXPECT_EQ(again.computers[0].details->requested_target_group_names.at(0), "Ring 0");
}

TEST(ReportingCodec, StatusAndEventsRoundTrip) {
  RollupComputerStatusRequest status;
  status.computers.push_back({Guid::Random(), "c", kNever, 3, true, {{Guid::Random(), 4, kNever}}});
  const auto again = Again(status);
  EXPECT_EQ(again.computers.at(0).update_status.at(0).state, 4);
  EXPECT_EQ(again.computers[0].rollup_number, 3);

  ReportEventBatchRequest batch;
  auto& event = batch.events.emplace_back();
  event.event_instance_id = Guid::Random();
  event.event_id = 156;
  event.win32_hresult = -2145124329;
  event.misc_data = {"U=A;B", "c=1", "C=2"};
  const auto events = Again(batch);
  EXPECT_EQ(events.events.at(0).misc_data, event.misc_data);
  EXPECT_EQ(events.events[0].win32_hresult, -2145124329);
  EXPECT_EQ(Again(RollupComputersResponse{{{"x", ComputerChange::kDeleted}}}).changes.at(0).change,
            ComputerChange::kDeleted);
}

TEST(SyncCodec, DeploymentsRoundTrip) {
  GetDeploymentsResponse answer;
  answer.anchor = "7,2026-10-04 16:33:26.668";
  answer.groups.push_back({Guid::Random(), {}, "Ring 0", false});
  SyncDeployment deployment;
  deployment.update = {Guid::Random(), 200};
  deployment.deadline = kEndOfTime;
  answer.deployments.push_back(deployment);
  answer.hidden_updates = {Guid::Random()};
  const auto again = Again(answer);
  EXPECT_EQ(again.deployments.at(0).update, deployment.update);
  EXPECT_EQ(again.deployments[0].deadline, kEndOfTime);
  EXPECT_EQ(again.hidden_updates, answer.hidden_updates);
  EXPECT_EQ(again.groups.at(0).name, "Ring 0");
}

}  // namespace
}  // namespace gapferry::protocol
