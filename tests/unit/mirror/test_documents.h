#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "mirror/catalog_load.h"
#include "mirror/mirror.h"
#include "protocol/update_id.h"

namespace gapferry::mirror {

struct TestFile {
  std::string content;
  std::string name = "setup.exe";
  std::uint64_t size = 0;  ///< 0: that of content
};

/// A small document in the shape of real ones.
struct TestDocument {
  protocol::UpdateId id;
  std::string type = "Software";
  std::string title = "An update";
  std::string properties = " ExplicitlyDeployable=\"true\"";
  std::string property_children;
  std::vector<std::vector<Guid>> prerequisites;
  std::vector<protocol::UpdateId> bundled;
  std::vector<Guid> superseded;
  std::vector<TestFile> files;
  std::string category_type;  ///< "Product", "UpdateClassification"
  std::string padding;        ///< into the description

  std::string Text() const {
    std::string xml =
        "<upd:Update xmlns:upd=\"http://schemas.microsoft.com/msus/2002/12/Update\">"
        "<upd:UpdateIdentity UpdateID=\"" +
        id.guid.ToString() + "\" RevisionNumber=\"" + std::to_string(id.revision) +
        "\" /><upd:Properties UpdateType=\"" + type + "\" DefaultPropertiesLanguage=\"en\"" +
        properties + ">" + property_children +
        "</upd:Properties><upd:LocalizedPropertiesCollection><upd:LocalizedProperties>"
        "<upd:Language>en</upd:Language><upd:Title>" +
        title + "</upd:Title><upd:Description>" + padding +
        "</upd:Description></upd:LocalizedProperties></upd:LocalizedPropertiesCollection>"
        "<upd:Relationships>";
    if (!superseded.empty()) {
      xml += "<upd:SupersededUpdates>";
      for (const auto& guid : superseded) xml += Identity(guid);
      xml += "</upd:SupersededUpdates>";
    }
    if (!prerequisites.empty()) {
      xml += "<upd:Prerequisites>";
      for (const auto& clause : prerequisites) {
        xml += "<upd:AtLeastOne IsCategory=\"true\">";
        for (const auto& guid : clause) xml += Identity(guid);
        xml += "</upd:AtLeastOne>";
      }
      xml += "</upd:Prerequisites>";
    }
    if (!bundled.empty()) {
      xml += "<upd:BundledUpdates>";
      for (const auto& member : bundled) {
        xml += "<upd:UpdateIdentity UpdateID=\"" + member.guid.ToString() + "\" RevisionNumber=\"" +
               std::to_string(member.revision) + "\" />";
      }
      xml += "</upd:BundledUpdates>";
    }
    xml += "</upd:Relationships>";
    if (!files.empty()) {
      xml += "<upd:Files>";
      for (const auto& file : files) {
        xml += "<upd:File Digest=\"" + Sha1(file.content).ToBase64() +
               "\" DigestAlgorithm=\"SHA1\" FileName=\"" + file.name + "\" Size=\"" +
               std::to_string(file.size ? file.size : file.content.size()) +
               "\" Modified=\"2026-01-01T00:00:00Z\"><upd:AdditionalDigest Algorithm=\"SHA256\">" +
               Sha256(file.content).ToBase64() + "</upd:AdditionalDigest></upd:File>";
      }
      xml += "</upd:Files>";
    }
    if (!category_type.empty()) {
      xml +=
          "<upd:HandlerSpecificData xsi:type=\"cat:Category\" "
          "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" "
          "xmlns:cat=\"http://schemas.microsoft.com/msus/2002/12/UpdateHandlers/Category\">"
          "<cat:CategoryInformation CategoryType=\"" +
          category_type + "\" /></upd:HandlerSpecificData>";
    }
    return xml + "</upd:Update>";
  }

  IncomingRevision Incoming() const {
    IncomingRevision incoming;
    incoming.update = id;
    const std::string text = Text();
    incoming.bytes.assign(text.begin(), text.end());
    return incoming;
  }

 private:
  static std::string Identity(const Guid& guid) {
    return "<upd:UpdateIdentity UpdateID=\"" + guid.ToString() + "\" />";
  }
};

/// A GUID that begins with `first` and is otherwise made of `number`.
inline Guid TestGuid(std::uint8_t first, std::uint8_t number) {
  Guid guid;
  guid.bytes.fill(number);
  guid.bytes[0] = first;
  return guid;
}

inline Config TestConfig() {
  Config config;
  config.name = "test";
  return config;
}

}  // namespace gapferry::mirror
