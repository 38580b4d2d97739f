#include "protocol/hresult.h"

#include <gtest/gtest.h>

namespace gapferry::protocol {
namespace {

TEST(Hresult, KnownCodesComeWithNameAndWords) {
  EXPECT_EQ(HresultText(static_cast<std::int32_t>(0x80240017)),
            "0x80240017 WU_E_NOT_APPLICABLE: the update is not for this computer");
  EXPECT_EQ(HresultText(0x00240005),
            "0x00240005 WU_S_REBOOT_REQUIRED: done, a restart is required");
  EXPECT_EQ(HresultText(0), "0x00000000 S_OK: no error");
  EXPECT_EQ(HresultText(-1), "0xFFFFFFFF") << "no words of ours";
  EXPECT_EQ(HresultText(1), "0x00000001");
}

TEST(ClientEvent, TellsWhatHappenedAndWhetherItFailed) {
  EXPECT_EQ(ClientEventText(182), "installation failed");
  EXPECT_EQ(ClientEventText(201), "installation done, restart pending");
  EXPECT_EQ(ClientEventText(4711), "event 4711");
  EXPECT_TRUE(IsFailureEvent(182));
  EXPECT_TRUE(IsFailureEvent(148));
  EXPECT_FALSE(IsFailureEvent(183));
  EXPECT_FALSE(IsFailureEvent(4711));
}

}  // namespace
}  // namespace gapferry::protocol
