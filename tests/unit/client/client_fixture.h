#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "client/download.h"
#include "client/install.h"
#include "client/report.h"
#include "client/scan.h"
#include "tests/support/fake_wsus.h"

namespace gapferry::client {

using gapferry::testing::FakeCore;
using gapferry::testing::FakeRevision;
using gapferry::testing::FakeWsus;
using protocol::DeploymentAction;
using protocol::FaultCode;
using protocol::UpdateId;

inline Guid GuidOf(int n) {
  Guid guid;
  guid.bytes[0] = 0xAB;  // so that upper case differs from lower case
  guid.bytes[15] = static_cast<std::uint8_t>(n);
  return guid;
}

inline constexpr char kTrue[] = "<IsInstalled><True /></IsInstalled>";
inline constexpr char kFalse[] = "<IsInstalled><False /></IsInstalled>";
inline constexpr char kNeverApplies[] =
    "<IsInstalled><False /></IsInstalled><IsInstallable><False /></IsInstallable>";

inline std::string Superseding(std::initializer_list<int> updates) {
  std::string text = "<SupersededUpdates>";
  for (const int n : updates)
    text += "<UpdateIdentity UpdateID=\"" + GuidOf(n).ToString() + "\" />";
  return text + "</SupersededUpdates>";
}

// One group per inner list, of revision 1 of each update.
inline std::string Bundling(std::initializer_list<std::initializer_list<int>> groups) {
  std::string text = "<BundledUpdates>";
  for (const auto& group : groups) {
    text += "<AtLeastOne>";
    for (const int n : group) {
      text += "<UpdateIdentity UpdateID=\"" + GuidOf(n).ToString() + "\" RevisionNumber=\"1\" />";
    }
    text += "</AtLeastOne>";
  }
  return text + "</BundledUpdates>";
}

class ClientTest : public ::testing::Test {
 protected:
  // A folder of its own: ctest runs the tests of one program side by side.
  ClientTest() {
    std::string pattern =
        (std::filesystem::path(::testing::TempDir()) / "gapferry-client-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    facts_ = *Facts::Parse("name: pc1.example\ntarget_group: Pilots\ndrivers:\n  PCI\\A: 1.0.0.0\n",
                           "facts");
    server_.cookie_expiration = clock_.Now() + std::chrono::hours(1);
    options_.retry.attempts = 2;
    options_.retry.first_wait = std::chrono::milliseconds(1);
    options_.retry.busy_waits[0] = std::chrono::milliseconds(1);
  }
  ~ClientTest() override { EXPECT_TRUE(RemoveTree(directory_).has_value()); }

  // A revision of update n with id 10 * n.
  FakeRevision& Add(int n, std::string_view type, std::string_view rules,
                    std::string_view relations = {},
                    DeploymentAction action = DeploymentAction::kEvaluate) {
    FakeRevision revision;
    revision.id = 10 * n;
    revision.update = {GuidOf(n), 1};
    revision.action = action;
    revision.is_driver = type == "Driver";
    revision.core = FakeCore(revision.update, type, relations, rules);
    revision.title = "Update " + std::to_string(n);
    server_.revisions.push_back(std::move(revision));
    return server_.revisions.back();
  }

  FakeRevision& AddApproved(int n, std::string_view rules, std::string_view relations = {}) {
    return Add(n, "Software", rules, relations, DeploymentAction::kInstall);
  }

  // Gives the revision a file; returns its bytes.
  std::string AddFile(FakeRevision& revision, const std::string& bytes) {
    revision.extended += "<Files><File Digest=\"" + Sha1(bytes).ToBase64() +
                         "\" DigestAlgorithm=\"SHA1\" FileName=\"setup.exe\" Size=\"" +
                         std::to_string(bytes.size()) +
                         "\"><AdditionalDigest Algorithm=\"SHA256\">" + Sha256(bytes).ToBase64() +
                         "</AdditionalDigest></File></Files>";
    revision.files[Sha1(bytes)] = bytes;
    return bytes;
  }

  // Opens the state as a new process would; `use` gets state and session.
  template <class Use>
  auto WithClient(Use use) {
    auto state = ClientState::Open(directory_, std::nullopt);
    EXPECT_TRUE(state.has_value()) << (state ? "" : state.error().message);
    auto session = WuspSession::Open(server_, "http://wsus.test:8530/", facts_, state->client_id(),
                                     state->cache(), clock_, options_, {});
    EXPECT_TRUE(session.has_value());
    return use(*state, *session);
  }

  Result<ScanResult> TryScan() {
    return WithClient([&](ClientState& state, WuspSession& session) {
      return client::Scan(session, state, facts_, clock_, NoProgress());
    });
  }
  ScanResult Scan() {
    auto result = TryScan();
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
    return result ? std::move(*result) : ScanResult();
  }
  Result<DownloadResult> Download() {
    return WithClient([&](ClientState& state, WuspSession& session) -> Result<DownloadResult> {
      auto updates = Judge(state, facts_).offered;
      TRY(Locate(session, state, facts_, updates));
      DownloadOptions options;
      options.retry = options_.retry;
      return client::Download(server_, state, updates, clock_, NoProgress(), {}, options);
    });
  }

  static std::vector<int> Numbers(const ScanResult& scan) {
    std::vector<int> numbers;
    for (const OfferedUpdate& update : scan.offered) numbers.push_back(update.id.guid.bytes[15]);
    return numbers;
  }
  static std::string ReasonOf(const ScanResult& scan, int n) {
    for (const NotOffered& other : scan.not_offered) {
      if (other.id.guid == GuidOf(n)) return other.reason;
    }
    return {};
  }

  std::filesystem::path directory_;
  FixedClock clock_{UtcTime::FromUnixSeconds(1'790'000'000)};
  FakeWsus server_;
  Facts facts_;
  WuspOptions options_;
};

// Bytes that are not all alike.
inline std::string Pattern(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; bytes.size() < size; ++i) bytes += std::to_string(i * 7919);
  bytes.resize(size);
  return bytes;
}

}  // namespace gapferry::client
