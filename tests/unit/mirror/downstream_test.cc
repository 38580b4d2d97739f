#include "mirror/downstream.h"

#include <gtest/gtest.h>

#include "mirror/mirror.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::mirror {
namespace {

Guid Number(std::uint8_t number) {
  Guid guid;
  guid.bytes[15] = number;
  return guid;
}

DownstreamServer Server(std::uint8_t number, std::uint8_t parent) {
  DownstreamServer server;
  server.id = Number(number);
  server.parent = Number(parent);
  server.name = "server" + std::to_string(number);
  return server;
}

std::vector<Guid> Ids(const std::vector<DownstreamServer>& servers) {
  std::vector<Guid> ids;
  for (const auto& server : servers) ids.push_back(server.id);
  return ids;
}

/// 1 over 2 and 3, 3 over 4; 5 apart; 6 and 7 name each other; 8 below nobody that is known.
const std::vector<DownstreamServer> kServers = {Server(4, 3), Server(3, 1), Server(1, 0),
                                                Server(2, 1), Server(5, 0), Server(6, 7),
                                                Server(7, 6), Server(8, 99)};

TEST(DownstreamTree, AServerAndThoseBelow) {
  EXPECT_EQ(Ids(WithThoseBelow(kServers, Number(1))),
            (std::vector<Guid>{Number(1), Number(3), Number(2), Number(4)}));
  EXPECT_EQ(Ids(WithThoseBelow(kServers, Number(5))), std::vector<Guid>{Number(5)});
  EXPECT_EQ(Ids(WithThoseBelow(kServers, Number(6))), (std::vector<Guid>{Number(6), Number(7)}));
  EXPECT_TRUE(WithThoseBelow(kServers, Number(50)).empty());
}

TEST(DownstreamTree, TheWayFromHere) {
  EXPECT_EQ(Ids(ChainTo(kServers, Number(4))),
            (std::vector<Guid>{Number(1), Number(3), Number(4)}));
  EXPECT_EQ(Ids(ChainTo(kServers, Number(8))), std::vector<Guid>{Number(8)});
  EXPECT_EQ(ChainTo(kServers, Number(6)).size(), 2U);
  EXPECT_TRUE(ChainTo(kServers, Number(50)).empty());
}

class DownstreamTest : public testing::Test {
 protected:
  DownstreamTest() {
    Config config;
    config.name = "m";
    EXPECT_TRUE(Mirror::Init(path_, config).has_value());
    mirror_.emplace(Mirror::Open(path_).value());
    activity_ = mirror_->activity().value();
    for (const auto& server : kServers) EXPECT_TRUE(activity_->PutServer(server).has_value());
  }
  void AddComputers(std::uint8_t server, int count) {
    for (int i = 0; i < count; ++i) {
      Computer computer;
      computer.id = "pc" + std::to_string(server) + "-" + std::to_string(i);
      computer.parent_server = Number(server);
      computer.has_status = true;
      ASSERT_TRUE(activity_->PutComputer(computer).has_value());
      ASSERT_TRUE(activity_
                      ->PutStatus(computer.id, /*replace_all=*/true,
                                  {{Number(77), UpdateState::kNotInstalled, kNever, 0}})
                      .has_value());
    }
  }

  TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "m";
  std::optional<Mirror> mirror_;
  Activity* activity_ = nullptr;
};

TEST_F(DownstreamTest, RemovesAServerWithThoseBelowAndTheirComputersOnly) {
  AddComputers(3, 120);  // more than one step
  AddComputers(4, 2);
  AddComputers(2, 3);
  AddComputers(5, 4);
  AddComputers(0, 5);  // of this mirror itself
  EXPECT_EQ(ComputersByServer(*activity_).value(),
            (std::map<Guid, std::uint64_t>{
                {Number(2), 3}, {Number(3), 120}, {Number(4), 2}, {Number(5), 4}}));
  const auto removed = RemoveServer(*activity_, Number(3)).value();
  EXPECT_EQ(removed.servers, 2U);
  EXPECT_EQ(removed.computers, 122U);
  EXPECT_EQ(ComputersByServer(*activity_).value(),
            (std::map<Guid, std::uint64_t>{{Number(2), 3}, {Number(5), 4}}));
  EXPECT_FALSE(activity_->FindServer(Number(3)).value().has_value());
  EXPECT_FALSE(activity_->FindServer(Number(4)).value().has_value());
  EXPECT_TRUE(activity_->FindServer(Number(1)).value().has_value());
  EXPECT_EQ(activity_->CountsOf(Number(77)).value().needed, 12U);
  EXPECT_EQ(activity_->Counts().value().computers, 12U);
}

TEST_F(DownstreamTest, AnUnknownServerIsRefusedAndNothingChanges) {
  EXPECT_EQ(RemoveServer(*activity_, Number(50)).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(activity_->Servers().value().size(), kServers.size());
}

}  // namespace
}  // namespace gapferry::mirror
