#include "manifests/block_hasher.h"

#include <algorithm>

#include "manifests/parity.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kMaxWaiting = 4;

}  // namespace

BlockHasher::BlockHasher(ParityStream* parity) : parity_(parity), worker_([this] { Run(); }) {}

BlockHasher::~BlockHasher() {
  state_.Lock()->ended = true;
  changed_.notify_all();
}

void BlockHasher::Add(std::shared_ptr<const Bytes> piece) {
  if (piece->empty()) return;
  {
    auto state = state_.Lock();
    changed_.wait(state.lock(), [&] { return state->waiting.size() < kMaxWaiting; });
    state->waiting.push_back(std::move(piece));
  }
  changed_.notify_all();
}

VolumeDigests BlockHasher::Finish() {
  state_.Lock()->ended = true;
  changed_.notify_all();
  worker_.join();
  if (in_block_ > 0) {
    const Sha256Digest digest = block_.Finish();
    digests_.blocks.insert(digests_.blocks.end(), digest.bytes.begin(),
                           digest.bytes.begin() + kBlockDigestBytes);
    in_block_ = 0;
  }
  digests_.sha256 = whole_.Finish();
  return std::move(digests_);
}

void BlockHasher::Run() {
  for (;;) {
    std::shared_ptr<const Bytes> piece;
    {
      auto state = state_.Lock();
      changed_.wait(state.lock(), [&] { return state->ended || !state->waiting.empty(); });
      if (state->waiting.empty()) return;
      piece = std::move(state->waiting.front());
      state->waiting.pop_front();
    }
    changed_.notify_all();
    Hash(*piece);
    if (parity_ != nullptr) parity_->Add(*piece);
  }
}

void BlockHasher::Hash(ByteView piece) {
  whole_.Update(piece);
  digests_.size += piece.size();
  while (!piece.empty()) {
    const std::size_t count =
        static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), kBlockBytes - in_block_));
    block_.Update(piece.first(count));
    piece = piece.subspan(count);
    in_block_ += count;
    if (in_block_ < kBlockBytes) continue;
    const Sha256Digest digest = block_.Finish();
    digests_.blocks.insert(digests_.blocks.end(), digest.bytes.begin(),
                           digest.bytes.begin() + kBlockDigestBytes);
    in_block_ = 0;
  }
}

}  // namespace gapferry::manifests
