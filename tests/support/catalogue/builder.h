#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/random.h"

namespace gapferry::catalogue {

/// How much of everything a size has. Numbers are from docs/performance.md, section on workloads.
struct Shape {
  std::uint32_t products = 8;
  std::uint32_t families = 4;
  std::uint32_t untyped_categories = 30;
  std::uint32_t detectoids = 240;
  std::uint32_t open_detectoids = 20;  ///< that prerequisites may name (non-leaf)
  std::uint32_t languages = 3;
  std::uint32_t first_month = 60;  ///< of the cumulative updates, after January 2021
  std::uint64_t file_median = 48 << 10;
  std::uint64_t file_maximum = 4 << 20;
  std::uint64_t manifest_median = 60 << 10;
  std::uint32_t manifest_sigma = 900;
  std::uint64_t manifest_minimum = 2000;
  std::uint64_t manifest_maximum = 1 << 20;
  std::uint32_t manifest_giants = 0;     ///< of 1,000 cumulative updates: 34 to 47 MB
  std::uint32_t delta_variants = 103;    ///< alternatives in the largest group
  std::uint32_t engine_channels = 7;     ///< hidden bundles per engine group
  std::uint32_t definition_percent = 3;  ///< of the publication units
  std::uint64_t target = 0;              ///< exact number of revisions; 0: as it comes
};
Result<Shape> ShapeOf(const Options& options);

/// A release of Windows for one architecture; cumulative updates of one line supersede each other.
struct Line {
  std::string name;    ///< "Windows 11 Version 24H2"
  std::string system;  ///< "x64"
  Guid product;
  std::uint32_t build = 0;
  std::uint32_t product_type = 1;
  std::uint32_t architecture = 9;
  std::size_t months = 0;        ///< published so far
  std::vector<Guid> cumulative;  ///< visible bundles, oldest first
  std::vector<Guid> framework;
};

/// Collects the revisions of a catalogue. Each Publish function adds one publication: an update
/// with everything it consists of.
class Builder {
 public:
  Builder(const Options& options, const Shape& shape);

  void PublishTaxonomy();
  void PublishCumulative(std::size_t line, std::uint64_t manifest_bytes);
  void PublishFramework(std::size_t line);
  void PublishDefinition();
  void PublishOffice();
  void PublishTool(bool may_change);
  void PublishDriver();
  void PublishHugeFile(std::uint64_t bytes);
  void PublishRandomUnit(std::uint32_t number);
  /// One later publication: a cumulative update, a new revision of a tool, an expired tool.
  void PublishStep(std::uint32_t step);

  std::size_t count() const { return revisions_.size(); }
  std::size_t EnsureLines(std::size_t count);  ///< the number of lines there are then
  /// Digests of files are computed with `threads`; not at all with 0.
  Catalogue Finish(std::size_t base_count, unsigned threads);

 private:
  Revision NewRevision(std::string path, Kind kind, std::string title);
  std::size_t Add(Revision revision);
  /// Adds `revision` in the form that chance gives it: once, after an older revision of itself, or
  /// expired after having been published. Returns the revision that a bundle is to name.
  UpdateId AddWithPast(Revision revision, bool may_expire);
  std::uint32_t AddFile(const std::string& key, const std::string& name, std::uint64_t size_bytes,
                        const std::string& patching_type = {});
  std::uint64_t FileSize(Random& random, std::uint32_t factor) const;
  Guid MakeGuid(const std::string& path) const { return GuidOf(options_.seed, path); }
  std::uint32_t KnowledgeBase(const std::string& path) const;
  std::uint64_t ManifestBytes(Random& random) const;
  void Supersede(Revision& revision, const std::vector<Guid>& earlier, std::size_t limit) const;

  void AddCategory(Kind kind, const Guid& guid, const std::string& path, const std::string& title,
                   const std::vector<Guid>& parents, Recipe recipe, std::uint32_t languages);
  Guid AddDetectoid(const std::string& path, const std::string& title, Recipe recipe, bool rooted);
  void PublishCategories();
  void PublishDetectoids();
  void PublishEngineSet();
  Revision NewBundle(std::string path, const std::string& title, const Guid& product,
                     const Guid& classification);
  Revision NewTool(std::uint32_t number);
  void AddExtraClauses(Revision& revision, Random& random) const;
  Clause LanguageClause(Random& random) const;

  const Options options_;
  const Shape shape_;
  std::vector<Revision> revisions_;
  std::vector<FileSpec> files_;
  std::unordered_map<std::string, std::uint32_t> file_index_;

  std::vector<Line> lines_;
  std::vector<Guid> products_;  ///< for Office and others: index 0 is the first MSI product
  std::vector<Guid> open_detectoids_;
  std::vector<Guid> languages_;
  std::unordered_map<std::string, Guid> facts_;  ///< detectoids by what they say: "x64", "build-…"
  std::vector<std::vector<UpdateId>> engine_groups_;
  std::vector<Guid> definitions_;
  std::vector<std::vector<Guid>> office_;  ///< per product, visible bundles
  std::vector<std::size_t> tools_;         ///< index of the newest revision of each tool
  std::uint32_t office_count_ = 0;
  std::uint32_t driver_count_ = 0;
};

Clause Bare(const Guid& guid);
Clause AnyOf(std::vector<Guid> guids);
Clause CategoryOf(const Guid& guid);

}  // namespace gapferry::catalogue
