#include "tests/support/catalogue/builder.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace gapferry::catalogue {
namespace {

constexpr std::int64_t kDay = 86400;

void ComputeDigests(std::uint64_t seed, std::vector<FileSpec>& files, unsigned threads) {
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < files.size(); i = next++) {
      files[i].digests = DigestContent(seed, files[i].key, files[i].size_bytes);
    }
  };
  std::vector<std::jthread> pool;
  for (unsigned i = 1; i < threads; ++i) pool.emplace_back(work);
  work();
}

}  // namespace

Clause Bare(const Guid& guid) { return {{guid}, false, true}; }
Clause AnyOf(std::vector<Guid> guids) { return {std::move(guids), false, false}; }
Clause CategoryOf(const Guid& guid) { return {{guid}, true, false}; }

Builder::Builder(const Options& options, const Shape& shape) : options_(options), shape_(shape) {}

Revision Builder::NewRevision(std::string path, Kind kind, std::string title) {
  Revision revision;
  revision.id = {MakeGuid(path), 200};
  revision.kind = kind;
  revision.title = std::move(title);
  revision.path = std::move(path);
  return revision;
}

std::size_t Builder::Add(Revision revision) {
  revisions_.push_back(std::move(revision));
  return revisions_.size() - 1;
}

UpdateId Builder::AddWithPast(Revision revision, bool may_expire) {
  Random random(options_.seed, "past/" + revision.path);
  const std::uint64_t dice = random.Below(100);
  const bool expires = may_expire && dice < 15;
  UpdateId referred = revision.id;
  if (expires || dice >= 90) {
    Revision older = revision;
    if (!expires) older.title += " (first release)";
    older.created_unix -= 14 * kDay;
    revision.id.revision = 201;
    revision.expired = expires;
    Add(std::move(older));
    // A bundle goes on naming the revision it was made with: a third of them are older.
    if (expires || random.Below(3) != 0) referred = revision.id;
  }
  Add(std::move(revision));
  return referred;
}

std::uint32_t Builder::AddFile(const std::string& key, const std::string& name,
                               std::uint64_t size_bytes, const std::string& patching_type) {
  const auto [entry, added] =
      file_index_.try_emplace(key, static_cast<std::uint32_t>(files_.size()));
  if (added) files_.push_back({key, name, size_bytes, patching_type, {}});
  return entry->second;
}

std::uint64_t Builder::FileSize(Random& random, std::uint32_t factor) const {
  const std::uint64_t median =
      options_.file_median != 0 ? options_.file_median : shape_.file_median;
  const std::uint64_t maximum = std::max(shape_.file_maximum, median * 64);
  return random.LogNormal(median * factor, 1200, 1, maximum);
}

std::uint32_t Builder::KnowledgeBase(const std::string& path) const {
  return 5'000'000 + static_cast<std::uint32_t>(Random(options_.seed, "kb/" + path).Below(900'000));
}

std::uint64_t Builder::ManifestBytes(Random& random) const {
  constexpr std::uint64_t kMiB = 1 << 20;
  if (shape_.manifest_giants > 0 && random.Below(1000) < shape_.manifest_giants) {
    const std::uint64_t giant = random.Between(34 * kMiB, 47 * kMiB);
    if (giant <= shape_.manifest_maximum) return giant;
  }
  const std::uint64_t maximum = shape_.manifest_giants > 0
                                    ? std::min(shape_.manifest_maximum, 34 * kMiB)
                                    : shape_.manifest_maximum;
  return random.LogNormal(shape_.manifest_median, shape_.manifest_sigma, shape_.manifest_minimum,
                          maximum);
}

void Builder::Supersede(Revision& revision, const std::vector<Guid>& earlier,
                        std::size_t limit) const {
  const std::size_t count = std::min(limit, earlier.size());
  revision.superseded.assign(earlier.end() - static_cast<std::ptrdiff_t>(count), earlier.end());
}

Catalogue Builder::Finish(std::size_t base_count, unsigned threads) {
  if (threads > 0) ComputeDigests(options_.seed, files_, threads);
  Catalogue catalogue;
  catalogue.options_ = options_;
  catalogue.base_count_ = base_count;
  catalogue.revisions_ = std::move(revisions_);
  catalogue.files_ = std::move(files_);
  auto& newest = catalogue.newest_;
  newest.reserve(catalogue.revisions_.size());
  for (std::size_t i = 0; i < catalogue.revisions_.size(); ++i) {
    newest.emplace_back(catalogue.revisions_[i].id.guid, i);
  }
  // Later entries of one update are newer.
  std::ranges::sort(newest);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < newest.size(); ++i) {
    if (i + 1 == newest.size() || newest[i + 1].first != newest[i].first) {
      newest[kept++] = newest[i];
    }
  }
  newest.resize(kept);
  return catalogue;
}

}  // namespace gapferry::catalogue
