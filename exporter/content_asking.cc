#include "exporter/content_asking.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "mirror/catalog.h"
#include "protocol/soap.h"

namespace gapferry::exporter {

using protocol::UpdateId;

namespace {

constexpr std::size_t kDownloadFilesLimit = 100;  // MS-WSUSSS 3.1.4.9
constexpr int kMostExtraCalls = 200;

class Asker {
 public:
  explicit Asker(Upstream& upstream) : upstream_(upstream) {}

  Result<AskedFiles> Ask(const std::vector<Sha1Digest>& files) {
    for (std::size_t i = 0; i < files.size() && asked_.failure.empty(); i += kDownloadFilesLimit) {
      const auto from = files.begin() + static_cast<std::ptrdiff_t>(i);
      const auto count = std::min(kDownloadFilesLimit, files.size() - i);
      TRY(AskSome({from, from + static_cast<std::ptrdiff_t>(count)}));
    }
    return std::move(asked_);
  }

 private:
  Result<void> AskSome(std::vector<Sha1Digest> some) {
    if (!asked_.failure.empty()) return {};
    const auto done = upstream_.DownloadFiles(some);
    if (done) {
      asked_.noted += some.size();
      return {};
    }
    if (done.error().code == ErrorCode::kCancelled) return done;
    if (protocol::FaultCodeOf(done.error()) != protocol::FaultCode::kFileDigestsMissing) {
      asked_.failure = done.error().message;
      return {};
    }
    if (some.size() == 1 || extra_calls_ >= kMostExtraCalls) {
      asked_.unknown.insert(asked_.unknown.end(), some.begin(), some.end());
      return {};
    }
    extra_calls_ += 2;
    const auto middle = some.begin() + static_cast<std::ptrdiff_t>(some.size() / 2);
    TRY(AskSome({some.begin(), middle}));
    return AskSome({middle, some.end()});
  }

  Upstream& upstream_;
  AskedFiles asked_;
  int extra_calls_ = 0;
};

}  // namespace

Result<AskedFiles> AskForFiles(Upstream& upstream, const std::vector<Sha1Digest>& files) {
  return Asker(upstream).Ask(files);
}

Result<std::unordered_map<Sha1Digest, UpdateId>> OwnersOf(mirror::Mirror& mirror,
                                                          const std::vector<Sha1Digest>& files) {
  const std::unordered_set<Sha1Digest> wanted(files.begin(), files.end());
  std::unordered_map<Sha1Digest, UpdateId> owners;
  TRY(mirror.catalog().ForEachRelations(
      0, [&](mirror::RevisionRelations& revision) -> Result<void> {
        for (const auto& file : revision.files) {
          if (!wanted.contains(file.sha1)) continue;
          // The newest revision tells best what the upstream should have.
          auto [at, inserted] = owners.emplace(file.sha1, revision.row.update);
          if (!inserted && revision.row.is_latest) at->second = revision.row.update;
        }
        return {};
      }));
  return owners;
}

}  // namespace gapferry::exporter
