#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/guid.h"
#include "protocol/update_id.h"
#include "tests/support/catalogue/content.h"
#include "tests/support/catalogue/rule.h"

namespace gapferry::catalogue {

using protocol::UpdateId;

enum class Kind {
  kCompany,
  kProductFamily,
  kProduct,
  kClassification,
  kUntypedCategory,
  kDetectoid,
  kBundle,        ///< visible: may be approved
  kHiddenBundle,  ///< member of a bundle with members of its own
  kChild,         ///< member of a bundle, has files
  kLeaf,          ///< visible, no members
  kDriver,
};
std::string_view KindName(Kind kind);

enum class Handler { kNone, kCategory, kCommandLine, kCbs, kMsiPatch, kOsInstaller, kDriver };

/// Which rules a revision has. They are built when asked for, from the numbers in Recipe, because
/// a large catalogue holds more rule text than memory.
enum class RecipeKind {
  kNone,
  kTrue,
  kWindowsAtLeast,   ///< a.b, product type c (0: any)
  kWindowsBuild,     ///< build a, product type b (0: any)
  kProcessor,        ///< architecture a
  kOffice,           ///< the product's MSI is there: product a
  kMsiProduct,       ///< a fact about product code `text`, version at least a.b
  kRegistrySwitch,   ///< registry value `text` is a
  kLanguage,         ///< installed language `text`
  kCumulative,       ///< build a at least revision b, architecture c; with a CBS manifest
  kCbs,              ///< component store alone, as .NET updates; with a CBS manifest
  kKnowledgeBase,    ///< KB a is recorded as installed; installable when build b (0: any)
  kMsiPatch,         ///< product a at least build b; c further product terms
  kSignatureDelta,   ///< Defender definitions 1.a.b.0, from a base list; ring c
  kSignatureEngine,  ///< Defender engine or stub 1.1.a.b
  kDriver,
};
struct Recipe {
  RecipeKind kind = RecipeKind::kNone;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
  std::string text = {};
};

/// One clause of Prerequisites: any of `alternatives`. `bare` is an UpdateIdentity without
/// AtLeastOne around it.
struct Clause {
  std::vector<Guid> alternatives;
  bool is_category = false;
  bool bare = false;
};

/// A file that some update declares. `key` decides its bytes; several updates may share one file.
struct FileSpec {
  std::string key;
  std::string name;  ///< FileName in the document; its extension is the one in the store
  std::uint64_t size_bytes = 0;
  std::string patching_type = {};
  ContentDigests digests = {};
};

struct DriverSpec {
  std::string hardware_id;
  std::string device_class;
  std::string provider;
  std::string model;
  std::string date;     ///< yyyy-mm-dd
  std::string version;  ///< four numbers
};

struct Revision {
  UpdateId id;
  std::string path;  ///< what GUID and random choices derive from; names the update in lists
  Kind kind = Kind::kDetectoid;
  std::string title;
  bool expired = false;
  std::int64_t created_unix = 0;
  std::vector<Clause> prerequisites;
  std::vector<std::vector<UpdateId>> bundled;
  std::vector<Guid> superseded;
  Handler handler = Handler::kNone;
  Recipe recipe;
  std::vector<std::uint32_t> files;       ///< indices into Catalogue::files()
  std::vector<std::uint32_t> eula_files;  ///< likewise; one per language of the EULA
  Guid eula;                              ///< zero: none
  std::uint32_t knowledge_base = 0;       ///< KB number, 0: none
  std::string severity = {};              ///< MsrcSeverity, empty: none
  bool can_uninstall = false;
  std::uint32_t languages = 1;       ///< how many localized texts
  std::uint64_t manifest_bytes = 0;  ///< about the size of the CBS manifest
  std::vector<DriverSpec> drivers = {};
};

/// Whether it may be approved by itself: bundles, leaves and drivers.
bool IsVisible(const Revision& revision);

/// The rules of `revision`, complete.
RuleSet RulesOf(const Revision& revision);

}  // namespace gapferry::catalogue
