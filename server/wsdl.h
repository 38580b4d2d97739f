#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

// The notation of server/wsdl/*.txt. One item a line, blanks separate words, # begins a comment:
//
//   service NAME                  names ports and bindings
//   namespace URI                 of the calls and types that follow
//   call NAME                     elements of the request follow, after `gives` those of the answer
//   type NAME                     elements and attributes follow
//   enum NAME WORD...             a type of these words
//   NAME TYPE                     an element, always present
//   NAME TYPE?                    may be absent (TYPE?~ also nil)
//   NAME TYPE[]                   may be absent, holds any number of elements TYPE ([]+ at least
//   one) NAME TYPE[ITEM]               the same, of elements ITEM attribute NAME TYPE           of
//   a type; may be absent with ?
//
// TYPE is a type of the file, or guid or a simple type of XML Schema.

namespace gapferry::server {

struct DescribedField {
  std::string name;
  std::string type;
  std::string item;  ///< of a list; empty for a single element
  bool is_optional = false;
  bool is_nillable = false;
  bool is_attribute = false;
  bool is_filled_list = false;  ///< at least one
};
struct DescribedType {
  std::string name_space;
  std::string name;
  std::vector<DescribedField> fields;
  std::vector<std::string> words;  ///< of an enumeration
};
struct DescribedCall {
  std::string name_space;
  std::string name;
  std::vector<DescribedField> request;
  std::vector<DescribedField> answer;
};

/// What a service answers, from which its WSDL is written. Immutable; thread-safe.
class ServiceDescription {
 public:
  /// Fails with kCorrupt: "line 7: ...", for what is no such line, a name given twice or a type
  /// that nothing defines.
  static Result<ServiceDescription> Parse(std::string_view text);

  /// The WSDL 1.1 document of the service at `address`, with a port for SOAP 1.1 and one for 1.2.
  std::string Wsdl(std::string_view address) const;

  const std::string& name() const { return name_; }
  const std::vector<DescribedCall>& calls() const { return calls_; }

 private:
  friend class DescriptionReader;
  std::string name_;
  std::string name_space_;  ///< the first one
  std::vector<DescribedCall> calls_;
  std::vector<DescribedType> types_;
};

/// Our services.
namespace description {
const ServiceDescription& Client();
const ServiceDescription& SimpleAuth();
const ServiceDescription& Reporting();
const ServiceDescription& ServerSync();
const ServiceDescription& DssAuth();
}  // namespace description

}  // namespace gapferry::server
