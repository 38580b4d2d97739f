#include "server/wsdl.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace gapferry::server {
namespace {

constexpr const char* kSmall =
    "service Small # a comment\n"
    "namespace http://one\n"
    "call Ask\n"
    "  plain int\n"
    "  maybe string?\n"
    "  list Thing[]\n"
    "  named guid[One]\n"
    "gives\n"
    "type Thing\n"
    "  Kind Kind\n"
    "  When dateTime?~\n"
    "  attribute Number short\n"
    "  attribute Note string?\n"
    "enum Kind A B\n";

bool Contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(ServiceDescription, IsWrittenAsWsdl) {
  const auto small = ServiceDescription::Parse(kSmall);
  ASSERT_TRUE(small.has_value()) << small.error().message;
  EXPECT_EQ(small->name(), "Small");
  const std::string wsdl = small->Wsdl("http://a&b/\"s\"");
  for (const char* part :
       {"<xs:element name=\"Ask\"><xs:complexType><xs:sequence>"
        "<xs:element name=\"plain\" type=\"xs:int\"/>"
        "<xs:element name=\"maybe\" type=\"xs:string\" minOccurs=\"0\"/>"
        "<xs:element name=\"list\" type=\"n0:ListOfThing\" minOccurs=\"0\"/>"
        "<xs:element name=\"named\" type=\"n0:ListOfOneAsguid\" minOccurs=\"0\"/>",
        "<xs:element name=\"AskResponse\"><xs:complexType/></xs:element>",
        "<xs:complexType name=\"Thing\"><xs:sequence>"
        "<xs:element name=\"Kind\" type=\"n0:Kind\"/>"
        "<xs:element name=\"When\" type=\"xs:dateTime\" minOccurs=\"0\" nillable=\"true\"/>"
        "</xs:sequence><xs:attribute name=\"Number\" type=\"xs:short\" use=\"required\"/>"
        "<xs:attribute name=\"Note\" type=\"xs:string\"/></xs:complexType>",
        "<xs:enumeration value=\"B\"/>",
        "<xs:element name=\"Thing\" type=\"n0:Thing\" minOccurs=\"0\" maxOccurs=\"unbounded\" "
        "nillable=\"true\"/>",
        "<xs:element name=\"One\" type=\"id:guid\" minOccurs=\"0\" maxOccurs=\"unbounded\"/>",
        "soapAction=\"http://one/Ask\"",
        "<soap12:address location=\"http://a&amp;b/&quot;s&quot;\"/>"}) {
    EXPECT_TRUE(Contains(wsdl, part)) << part << "\n" << wsdl;
  }
}

TEST(ServiceDescription, RefusesWhatItDoesNotKnow) {
  const auto refused = [](const std::string& text) {
    const auto parsed = ServiceDescription::Parse(text);
    return parsed.has_value() ? std::string("taken") : parsed.error().message;
  };
  const std::string head = "service S\nnamespace u\ncall C\n";
  EXPECT_EQ(refused(""), "no service or no call");
  EXPECT_EQ(refused("service S\n"), "no service or no call");
  EXPECT_EQ(refused(head + "  a Missing\n"), "type 'Missing' of 'a' is not given");
  EXPECT_EQ(refused(head + "  a int\n  a int\n"), "line 5: 'a' is given twice");
  EXPECT_EQ(refused(head + "call C\n"), "line 4: 'C' is given twice");
  EXPECT_EQ(refused(head + "  a int more\n"), "line 4: more than two words");
  EXPECT_EQ(refused(head + "  a int]\n"), "line 4: ']' without '['");
  EXPECT_EQ(refused(head + "  a int+\n"), "line 4: '+' without '[]'");
  EXPECT_EQ(refused(head + "  a-b int\n"), "line 4: no name");
  EXPECT_EQ(refused(head + "gives\ngives\n"), "line 5: 'gives' outside a call");
  EXPECT_EQ(refused(head + "alone\n"), "line 4: one word alone");
  EXPECT_EQ(refused(head + "enum E\n"), "line 4: an enum without words");
  EXPECT_EQ(refused(head + "type T\n  attribute x int[]\n"), "line 5: a list as attribute");
  EXPECT_EQ(refused("service S\ncall C\n"), "line 2: no namespace or no name");
  EXPECT_EQ(refused("service S\nnamespace u\n  a int\n"),
            "line 3: an element outside a call or type");
}

TEST(ServiceDescription, EveryServiceHasOne) {
  for (const auto& [description, calls] :
       {std::pair(&description::Client(), 10U), std::pair(&description::SimpleAuth(), 1U),
        std::pair(&description::Reporting(), 10U), std::pair(&description::ServerSync(), 12U),
        std::pair(&description::DssAuth(), 2U)}) {
    EXPECT_EQ(description->calls().size(), calls) << description->name();
    const std::string wsdl = description->Wsdl("http://here/x");
    EXPECT_TRUE(Contains(wsdl, "location=\"http://here/x\"")) << description->name();
    for (const DescribedCall& call : description->calls()) {
      EXPECT_TRUE(Contains(wsdl, "soapAction=\"" + call.name_space + "/" + call.name + "\""));
    }
  }
}

}  // namespace
}  // namespace gapferry::server
