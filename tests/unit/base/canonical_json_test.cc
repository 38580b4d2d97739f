#include "base/canonical_json.h"

#include <gtest/gtest.h>

namespace gapferry {
namespace {

TEST(CanonicalJson, ReadsAndWritesTheSameBytes) {
  for (const char* text : {"{}", "[]", "true", "0", "-1", "9007199254740991", "\"\"",
                           R"("a\"b\\c\b\t\n\f\r\u0001\u001f")",
                           R"({"_type":"x","a":[1,2,{"b":false}],"b":"ü"})", "\"\x7f\""}) {
    const auto value = ParseCanonicalJson(text);
    ASSERT_TRUE(value.has_value()) << text << ": " << value.error().message;
    EXPECT_EQ(WriteCanonicalJson(*value), text);
  }
}

TEST(CanonicalJson, RefusesEveryOtherSpelling) {
  for (const char* text : {"",
                           " {}",
                           "{} ",
                           "{}\n",
                           "{ }",
                           "null",
                           "01",
                           "-0",
                           "+1",
                           "1.0",
                           "1e3",
                           "9007199254740992",
                           R"("\/")",
                           R"("\u0041")",
                           R"("\u001F")",
                           R"("\u000a")",
                           R"("\u0000")",
                           "\"\n\"",
                           "\"",
                           R"({"b":1,"a":2})",
                           R"({"a":1,"a":2})",
                           R"({"a":1,})",
                           R"([1,])",
                           R"([1 ,2])",
                           R"({"a" :1})",
                           R"({a:1})",
                           "\"\xff\"",
                           "tru",
                           "truefalse",
                           "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]"}) {
    const auto value = ParseCanonicalJson(text);
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().reason, "json-not-canonical") << text;
  }
}

TEST(JsonFields, KeepsTheFirstFailureAndRefusesUnknownMembers) {
  const auto value = ParseCanonicalJson(R"({"a":1,"b":"x","c":true})");
  ASSERT_TRUE(value.has_value());
  JsonFields all(*value, "thing");
  EXPECT_EQ(all.Count("a"), 1u);
  EXPECT_EQ(all.Text("b", 1), "x");
  EXPECT_TRUE(all.Flag("c"));
  EXPECT_TRUE(all.Finish().has_value());

  JsonFields some(*value, "thing");
  some.Count("a");
  some.Text("b", 1);
  EXPECT_EQ(some.Finish().error().message, "thing: unknown field 'c'");

  JsonFields wrong(*value, "thing");
  wrong.GuidValue("b");
  wrong.Count("missing");
  EXPECT_EQ(wrong.Finish().error().message, "thing: field 'b' is no GUID in lower case");
}

}  // namespace
}  // namespace gapferry
