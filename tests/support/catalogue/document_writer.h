#pragma once

#include <string>
#include <string_view>

#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/xml_text.h"

namespace gapferry::catalogue {

/// Appends the document of one revision to a string. The order of attributes and the places where
/// prefixes are declared again follow the real documents (a test compares them): derivations that
/// keep source order are only tested by that. document.cc has the frame, document_parts.cc rules,
/// files and handler data. Everything passed must outlive it.
class DocumentWriter {
 public:
  DocumentWriter(const Catalogue& catalogue, const Revision& revision, std::string& out)
      : catalogue_(catalogue),
        revision_(revision),
        rules_(RulesOf(revision)),
        out_(out),
        xml_(out) {}

  void Write();

 private:
  std::string OwnGuid() const;
  void WriteRoot();
  void DeclarePrefix(std::string_view prefix);
  void WriteProperties();
  bool IsSoftware() const;
  void WriteSoftwareAttributes();
  void WritePropertyChildren();
  void WriteLocalized();
  void WriteSha256(const FileSpec& file);
  void WriteIdentity(const Guid& guid);
  void WriteRelationships();
  void WriteClause(const Clause& clause);
  void WriteRules();
  void WriteExpression(std::string_view name, const std::optional<Rule>& rule);
  void WriteRule(const Rule& rule, bool inside_logical);
  void WriteMetadata();
  void WritePatchMetadata();
  void WriteDriver(const DriverSpec& driver);
  void WriteFiles();
  void WriteHandlerData();
  std::string_view HandlerType() const;
  bool IsNewCategory() const;
  void WriteCategoryInformation();
  void WriteCommand();

  const Catalogue& catalogue_;
  const Revision& revision_;
  const RuleSet rules_;
  std::string& out_;
  XmlText xml_;
};

/// The namespace that a prefix of these documents stands for.
std::string NamespaceOf(std::string_view prefix);
/// The prefix of a handler's own elements; empty for none.
std::string_view PrefixOf(Handler handler);
/// The prefix of a rule's name.
std::string_view PrefixOf(const Rule& rule);
/// Categories of every kind.
bool IsCategory(const Revision& revision);

}  // namespace gapferry::catalogue
