#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/update_document.h"
#include "protocol/xml_stream.h"

namespace gapferry::protocol {

/// Fills an UpdateDocument from parse events: a table says which element means what below which
/// parent; everything else is passed over as a subtree. Not thread-safe.
class UpdateDocumentReader {
 public:
  explicit UpdateDocumentReader(const UpdateDocumentLimits& limits) : limits_(limits) {}

  Result<void> Start(const XmlElement& element);
  Result<void> End();
  Result<void> Text(std::string_view text);
  /// Checks what must be there and gives the document away.
  Result<UpdateDocument> Finish();

  /// An element whose meaning depends on where it stands.
  enum class Node : std::uint8_t {
    kOther,
    kDocument,
    kUpdate,
    kIdentity,
    kProperties,
    kLocalizedCollection,
    kRelationships,
    kRules,
    kFiles,
    kHandlerData,
    kInstallBehavior,
    kUninstallBehavior,
    kSupportUrl,
    kKbArticle,
    kBulletin,
    kCve,
    kLanguage,
    kSecuredFragment,
    kFileDecryption,
    kLocalized,
    kLocalizedLanguage,
    kTitle,
    kDescription,
    kEulaFile,
    kEulaDigest,
    kPrerequisites,
    kPrerequisiteGroup,
    kPrerequisiteId,
    kBundled,
    kBundledGroup,
    kBundledId,
    kSuperseded,
    kSupersededId,
    kInstalledRule,
    kInstallableRule,
    kRulesMetadata,
    kDriver,
    kCompatibleProvider,
    kFeatureScore,
    kDistributionId,
    kTargetId,
    kFile,
    kFileDigest,
    kHandlerElement,
    kCount,
  };

 private:
  Result<void> Enter(Node node, const XmlElement& element);
  Result<void> EnterRelation(Node node, const XmlElement& element);
  Result<void> EnterProperties(const XmlElement& element);
  Result<void> EnterHandlerElement(const XmlElement& element);
  Result<void> EnterDriver(const XmlElement& element);
  Result<void> Leave(Node node);
  Result<void> CountItem();
  Result<void> KeepDigest(std::string_view text, UpdateFile& file) const;

  const UpdateDocumentLimits limits_;
  UpdateDocument document_;
  std::vector<Node> path_{Node::kDocument};
  std::vector<bool> seen_ = std::vector<bool>(static_cast<std::size_t>(Node::kCount));
  std::size_t items_ = 0;
  bool collecting_ = false;  // text of the innermost element is kept
  bool sha256_digest_ = false;
  std::string text_;
};

}  // namespace gapferry::protocol
