#include "tests/support/catalogue/catalogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "tests/support/catalogue/builder.h"

namespace gapferry::catalogue {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kSmallestTarget = 600;
constexpr std::uint64_t kLargestTarget = 4'000'000;

void UseObservedTail(Shape& shape) {
  // Of 180: the smallest 50.7 KB, median 167 KB, 46 over 1 MB, of these 10 from 34 to 47 MB.
  shape.manifest_minimum = 50'000;
  shape.manifest_median = 167'000;
  shape.manifest_sigma = 2200;
  shape.manifest_maximum = 47 * kMiB;
  shape.manifest_giants = 56;
}

Shape SizedShape(std::uint64_t target) {
  Shape shape;
  const auto share = [target](std::uint64_t divisor, std::uint32_t low, std::uint32_t high) {
    return std::clamp(static_cast<std::uint32_t>(target / divisor), low, high);
  };
  shape.target = target;
  shape.products = share(200, 8, 148);
  shape.families = share(5000, 3, 5);
  shape.untyped_categories = share(120, 20, 295);
  shape.detectoids = share(9, 60, 4500);
  shape.open_detectoids = share(100, 20, 280);
  shape.languages = 2;
  shape.first_month = 8;
  shape.file_median = 8 << 10;
  shape.file_maximum = 4 * kMiB;
  return shape;
}

// Size S has one of everything in fixed amounts, so that tests and the demo know what they get.
void PublishSmall(Builder& builder) {
  for (std::uint32_t i = 0; i < 8; ++i) builder.PublishTool(/*may_change=*/false);
  for (int month = 1; month <= 4; ++month) {
    for (std::size_t line = 0; line < 3; ++line) {
      // The one document above the largest answer that real servers give (5 MiB).
      const bool large = month == 4 && line == 2;
      builder.PublishCumulative(line, large ? 6 * kMiB : 0);
      if (month % 2 == 0) builder.PublishFramework(line);
    }
  }
  for (int i = 0; i < 3; ++i) builder.PublishDefinition();
  for (int i = 0; i < 8; ++i) builder.PublishOffice();
  for (int i = 0; i < 18; ++i) builder.PublishTool(/*may_change=*/true);
  for (int i = 0; i < 20; ++i) builder.PublishDriver();
}

// Fills up to the exact target; the last few are single revisions.
void PublishToTarget(Builder& builder, const Shape& shape) {
  const std::uint64_t largest_unit =
      shape.delta_variants + 1 + shape.engine_channels * (3 + 24 + 16 + 4);
  for (std::uint32_t i = 0; i < 16; ++i) builder.PublishTool(/*may_change=*/false);
  for (std::uint32_t unit = 0; builder.count() + largest_unit <= shape.target; ++unit) {
    builder.PublishRandomUnit(unit);
  }
  while (builder.count() < shape.target) builder.PublishTool(/*may_change=*/false);
}

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kCompany:
      return "company";
    case Kind::kProductFamily:
      return "product-family";
    case Kind::kProduct:
      return "product";
    case Kind::kClassification:
      return "classification";
    case Kind::kUntypedCategory:
      return "category";
    case Kind::kDetectoid:
      return "detectoid";
    case Kind::kBundle:
      return "bundle";
    case Kind::kHiddenBundle:
      return "hidden-bundle";
    case Kind::kChild:
      return "child";
    case Kind::kLeaf:
      return "leaf";
    case Kind::kDriver:
      return "driver";
  }
  return "";
}

bool IsVisible(const Revision& revision) {
  return revision.kind == Kind::kBundle || revision.kind == Kind::kLeaf ||
         revision.kind == Kind::kDriver;
}

Result<Shape> ShapeOf(const Options& options) {
  Shape shape;
  if (options.size == "S") {
    shape.delta_variants = 8;
    shape.engine_channels = 2;
  } else if (options.size == "M" || options.size == "L") {
    shape = SizedShape(options.size == "M" ? 33'000 : 400'000);
    shape.definition_percent = options.size == "M" ? 12 : 3;
    if (options.size == "L") shape.languages = 12;
    UseObservedTail(shape);
  } else {
    const auto target = ParseInt<std::uint64_t>(options.size);
    if (!target.has_value() || *target < kSmallestTarget || *target > kLargestTarget) {
      return Fail(ErrorCode::kUsage,
                  fmt::format("size '{}': expected S, M, L or a number from {} to {}",
                              EscapeForDisplay(options.size), kSmallestTarget, kLargestTarget));
    }
    shape = SizedShape(*target);
  }
  if (options.real_tail) UseObservedTail(shape);
  if (options.largest_manifest != 0) {
    shape.manifest_maximum = std::min(shape.manifest_maximum, options.largest_manifest);
    shape.manifest_minimum = std::min(shape.manifest_minimum, shape.manifest_maximum);
  }
  return shape;
}

Result<Catalogue> Catalogue::Make(const Options& options, unsigned threads, FileDigests digests) {
  TRY_ASSIGN(const Shape shape, ShapeOf(options));
  Builder builder(options, shape);
  builder.PublishTaxonomy();
  if (shape.target == 0) {
    PublishSmall(builder);
  } else {
    PublishToTarget(builder, shape);
  }
  if (options.big) builder.PublishCumulative(1, 47 * kMiB);
  if (options.huge_file != 0) builder.PublishHugeFile(options.huge_file);
  const std::size_t base_count = builder.count();
  for (std::uint32_t step = 1; step <= options.step; ++step) builder.PublishStep(step);
  return builder.Finish(base_count, digests == FileDigests::kSkip ? 0 : std::max(threads, 1U));
}

Result<std::size_t> Catalogue::Newest(const Guid& guid) const {
  const auto found =
      std::ranges::lower_bound(newest_, guid, {}, &std::pair<Guid, std::size_t>::first);
  if (found == newest_.end() || found->first != guid) {
    return Fail(ErrorCode::kNotFound, "update " + guid.ToString() + " is not in the catalogue");
  }
  return found->second;
}

bool Catalogue::IsNewest(std::size_t index) const {
  return Newest(revisions_[index].id.guid).value() == index;
}

}  // namespace gapferry::catalogue
