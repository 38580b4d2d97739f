// Writes the WSDL 1.1 document of a service: document/literal, one message part each.
#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"
#include "protocol/xml_writer.h"
#include "server/wsdl.h"

namespace gapferry::server {
namespace {

constexpr std::string_view kGuidSpace = "http://microsoft.com/wsdl/types/";
constexpr std::string_view kGuidPattern =
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";
constexpr std::string_view kHttpTransport = "http://schemas.xmlsoap.org/soap/http";

using protocol::XmlWriter;

struct Binding {
  const char* suffix;  // of the port's name
  const char* prefix;  // of the elements
};
constexpr Binding kBindings[] = {{"Soap", "soap11:"}, {"Soap12", "soap12:"}};

class WsdlWriter {
 public:
  WsdlWriter(const std::vector<DescribedCall>& calls, const std::vector<DescribedType>& types,
             const std::string& name, std::string& out)
      : calls_(calls), types_(types), name_(name), xml_(out, protocol::EmptyElement::kTight) {
    for (const DescribedCall& call : calls_) PrefixOf(call.name_space);
  }

  void Write(std::string_view target, std::string_view address) {
    xml_.Open("wsdl:definitions");
    xml_.Attribute("name", name_);
    xml_.Attribute("targetNamespace", target);
    xml_.Attribute("xmlns:wsdl", "http://schemas.xmlsoap.org/wsdl/");
    xml_.Attribute("xmlns:soap11", "http://schemas.xmlsoap.org/wsdl/soap/");
    xml_.Attribute("xmlns:soap12", "http://schemas.xmlsoap.org/wsdl/soap12/");
    xml_.Attribute("xmlns:xs", "http://www.w3.org/2001/XMLSchema");
    xml_.Attribute("xmlns:id", kGuidSpace);
    for (const auto& [uri, prefix] : prefixes_) xml_.Attribute("xmlns:" + prefix, uri);
    target_ = PrefixOf(target) + ":";
    xml_.Open("wsdl:types");
    for (const auto& [uri, prefix] : prefixes_) Schema(uri, prefix);
    GuidSchema();
    xml_.Close();
    for (const DescribedCall& call : calls_) Messages(call);
    PortType();
    for (const Binding& binding : kBindings) WriteBinding(binding);
    Service(address);
    xml_.Close();
  }

 private:
  std::string PrefixOf(std::string_view uri) {
    const auto [found, added] =
        prefixes_.try_emplace(std::string(uri), "n" + std::to_string(prefixes_.size()));
    return found->second;
  }

  // ---- Types -----------------------------------------------------------------------------------

  void Schema(const std::string& uri, const std::string& prefix) {
    schema_ = prefix + ":";
    schema_uri_ = uri;
    lists_.clear();
    xml_.Open("xs:schema");
    xml_.Attribute("targetNamespace", uri);
    xml_.Attribute("elementFormDefault", "qualified");
    xml_.Open("xs:import");
    xml_.Attribute("namespace", kGuidSpace);
    xml_.Close();
    for (const DescribedCall& call : calls_) {
      if (call.name_space != uri) continue;
      Element(call.name, call.request);
      Element(call.name + "Response", call.answer);
    }
    for (const DescribedType& type : types_) {
      if (type.name_space == uri) Type(type);
    }
    for (const auto& [name, field] : lists_) List(name, *field);
    xml_.Close();
  }

  void Element(const std::string& name, const std::vector<DescribedField>& fields) {
    xml_.Open("xs:element");
    xml_.Attribute("name", name);
    xml_.Open("xs:complexType");
    Fields(fields);
    xml_.Close();
    xml_.Close();
  }

  void Type(const DescribedType& type) {
    if (!type.words.empty()) return Enumeration(type);
    xml_.Open("xs:complexType");
    xml_.Attribute("name", type.name);
    Fields(type.fields);
    xml_.Close();
  }

  void Enumeration(const DescribedType& type) {
    xml_.Open("xs:simpleType");
    xml_.Attribute("name", type.name);
    xml_.Open("xs:restriction");
    xml_.Attribute("base", "xs:string");
    for (const std::string& word : type.words) {
      xml_.Open("xs:enumeration");
      xml_.Attribute("value", word);
      xml_.Close();
    }
    xml_.Close();
    xml_.Close();
  }

  void Fields(const std::vector<DescribedField>& fields) {
    const auto is_element = [](const DescribedField& field) { return !field.is_attribute; };
    if (std::ranges::any_of(fields, is_element)) {
      xml_.Open("xs:sequence");
      for (const DescribedField& field : fields) {
        if (is_element(field)) Child(field);
      }
      xml_.Close();
    }
    for (const DescribedField& field : fields) {
      if (is_element(field)) continue;
      xml_.Open("xs:attribute");
      xml_.Attribute("name", field.name);
      xml_.Attribute("type", Reference(field.type));
      if (!field.is_optional) xml_.Attribute("use", "required");
      xml_.Close();
    }
  }

  void Child(const DescribedField& field) {
    xml_.Open("xs:element");
    xml_.Attribute("name", field.name);
    if (field.item.empty()) {
      xml_.Attribute("type", Reference(field.type));
    } else {
      const std::string list =
          "ListOf" + field.item + (field.item == field.type ? "" : "As" + field.type);
      lists_.emplace(list + (field.is_filled_list ? "Filled" : ""), &field);
      xml_.Attribute("type", schema_ + list + (field.is_filled_list ? "Filled" : ""));
    }
    if (field.is_optional) xml_.Attribute("minOccurs", "0");
    if (field.is_nillable) xml_.Attribute("nillable", "true");
    xml_.Close();
  }

  void List(const std::string& name, const DescribedField& field) {
    xml_.Open("xs:complexType");
    xml_.Attribute("name", name);
    xml_.Open("xs:sequence");
    xml_.Open("xs:element");
    xml_.Attribute("name", field.item);
    xml_.Attribute("type", Reference(field.type));
    xml_.Attribute("minOccurs", field.is_filled_list ? "1" : "0");
    xml_.Attribute("maxOccurs", "unbounded");
    // Numbers, GUIDs and words always have a value; the rest may be nil in the protocol.
    if (MayBeNil(field.type)) xml_.Attribute("nillable", "true");
    xml_.Close();
    xml_.Close();
    xml_.Close();
  }

  const DescribedType* Find(std::string_view name) const {
    const auto found = std::ranges::find_if(types_, [&](const DescribedType& type) {
      return type.name == name && type.name_space == schema_uri_;
    });
    return found == types_.end() ? nullptr : &*found;
  }
  bool MayBeNil(std::string_view type) const {
    if (const DescribedType* own = Find(type)) return own->words.empty();
    return type == "string" || type == "base64Binary";
  }
  std::string Reference(const std::string& type) const {
    if (type == "guid") return "id:guid";
    return (Find(type) != nullptr ? schema_ : "xs:") + type;
  }

  void GuidSchema() {
    xml_.Open("xs:schema");
    xml_.Attribute("targetNamespace", kGuidSpace);
    xml_.Open("xs:simpleType");
    xml_.Attribute("name", "guid");
    xml_.Open("xs:restriction");
    xml_.Attribute("base", "xs:string");
    xml_.Open("xs:pattern");
    xml_.Attribute("value", kGuidPattern);
    for (int i = 0; i < 4; ++i) xml_.Close();
  }

  // ---- Calls -----------------------------------------------------------------------------------

  void Messages(const DescribedCall& call) {
    for (const char* direction : {"", "Response"}) {
      xml_.Open("wsdl:message");
      xml_.Attribute("name", call.name + "Call" + direction);
      xml_.Open("wsdl:part");
      xml_.Attribute("name", "parameters");
      xml_.Attribute("element", PrefixOf(call.name_space) + ":" + call.name + direction);
      xml_.Close();
      xml_.Close();
    }
  }

  void PortType() {
    xml_.Open("wsdl:portType");
    xml_.Attribute("name", name_);
    for (const DescribedCall& call : calls_) {
      xml_.Open("wsdl:operation");
      xml_.Attribute("name", call.name);
      xml_.Open("wsdl:input");
      xml_.Attribute("message", target_ + call.name + "Call");
      xml_.Close();
      xml_.Open("wsdl:output");
      xml_.Attribute("message", target_ + call.name + "CallResponse");
      xml_.Close();
      xml_.Close();
    }
    xml_.Close();
  }

  void WriteBinding(const Binding& binding) {
    const std::string prefix = binding.prefix;
    xml_.Open("wsdl:binding");
    xml_.Attribute("name", name_ + binding.suffix);
    xml_.Attribute("type", target_ + name_);
    xml_.Open(prefix + "binding");
    xml_.Attribute("transport", kHttpTransport);
    xml_.Close();
    for (const DescribedCall& call : calls_) {
      xml_.Open("wsdl:operation");
      xml_.Attribute("name", call.name);
      xml_.Open(prefix + "operation");
      xml_.Attribute("soapAction", call.name_space + "/" + call.name);
      xml_.Attribute("style", "document");
      xml_.Close();
      for (const char* direction : {"wsdl:input", "wsdl:output"}) {
        xml_.Open(direction);
        xml_.Open(prefix + "body");
        xml_.Attribute("use", "literal");
        xml_.Close();
        xml_.Close();
      }
      xml_.Close();
    }
    xml_.Close();
  }

  void Service(std::string_view address) {
    xml_.Open("wsdl:service");
    xml_.Attribute("name", name_);
    for (const Binding& binding : kBindings) {
      xml_.Open("wsdl:port");
      xml_.Attribute("name", name_ + binding.suffix);
      xml_.Attribute("binding", target_ + name_ + binding.suffix);
      xml_.Open(std::string(binding.prefix) + "address");
      xml_.Attribute("location", address);
      xml_.Close();
      xml_.Close();
    }
    xml_.Close();
  }

  const std::vector<DescribedCall>& calls_;
  const std::vector<DescribedType>& types_;
  const std::string& name_;
  XmlWriter xml_;
  std::map<std::string, std::string> prefixes_;  // by namespace
  std::string target_;                           // prefix of what the document itself defines
  std::string schema_;                           // prefix of the schema being written
  std::string schema_uri_;
  std::map<std::string, const DescribedField*> lists_;  // of the schema being written
};

}  // namespace

std::string ServiceDescription::Wsdl(std::string_view address) const {
  std::string out = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";
  WsdlWriter(calls_, types_, name_, out).Write(name_space_, address);
  out += '\n';
  return out;
}

}  // namespace gapferry::server
