#include "tests/support/catalogue/summary.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "base/guarded.h"

namespace gapferry::catalogue {

Result<void> ParallelFor(std::size_t count, unsigned threads,
                         const std::function<Result<void>(std::size_t)>& work) {
  std::atomic<std::size_t> next = 0;
  Guarded<std::optional<Error>> failure;
  const auto run = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      Result<void> result = work(i);
      if (result.has_value()) continue;
      next = count;
      auto first = failure.Lock();
      if (!first->has_value()) *first = std::move(result).error();
    }
  };
  {
    std::vector<std::jthread> pool;
    for (unsigned i = 1; i < threads; ++i) pool.emplace_back(run);
    run();
  }
  auto first = failure.Lock();
  if (first->has_value()) return std::unexpected(std::move(**first));
  return {};
}

Summary Summarize(const Catalogue& catalogue, unsigned threads) {
  const auto& revisions = catalogue.revisions();
  std::vector<Sha256Digest> digests(revisions.size());
  std::vector<std::uint64_t> sizes(revisions.size());
  const Result<void> rendered = ParallelFor(revisions.size(), threads, [&](std::size_t i) {
    const std::string document = Document(catalogue, revisions[i]);
    digests[i] = Sha256(document);
    sizes[i] = document.size();
    return Result<void>();
  });
  static_cast<void>(rendered.has_value());  // rendering does not fail

  Summary summary;
  Sha256Hasher all;
  for (std::size_t i = 0; i < revisions.size(); ++i) {
    const Revision& revision = revisions[i];
    ++summary.revisions_by_kind[KindName(revision.kind)];
    summary.expired += revision.expired ? 1 : 0;
    summary.older_revisions += catalogue.IsNewest(i) ? 0 : 1;
    summary.superseded_edges += revision.superseded.size();
    summary.document_bytes += sizes[i];
    summary.largest_document = std::max(summary.largest_document, sizes[i]);
    all.Update(revision.id.ToString()).Update(digests[i].View());
  }
  for (const FileSpec& file : catalogue.files()) {
    ++summary.file_count;
    summary.file_bytes += file.size_bytes;
    all.Update(file.digests.sha1.View()).Update(file.digests.sha256.View());
  }
  summary.digest = all.Finish();
  std::ranges::sort(sizes);
  if (!sizes.empty()) {
    summary.median_document = sizes[sizes.size() / 2];
    summary.percentile_99_document = sizes[sizes.size() * 99 / 100];
  }
  for (const std::uint64_t size : sizes) {
    summary.documents_over_1_mb += size > (1U << 20) ? 1 : 0;
    summary.documents_over_32_mb += size > (32U << 20) ? 1 : 0;
  }
  return summary;
}

}  // namespace gapferry::catalogue
