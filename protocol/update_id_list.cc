#include "protocol/update_id_list.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace gapferry::protocol {
namespace {

constexpr std::string_view kHead = "<UpdateIdentity><UpdateID>";
constexpr std::string_view kMiddle = "</UpdateID><RevisionNumber>";
constexpr std::string_view kTail = "</RevisionNumber></UpdateIdentity>";
constexpr std::size_t kGuidBytes = 36;
constexpr std::size_t kPieceBytes = 64 * 1024;

void AppendNumber(std::string& out, std::int32_t number) {
  char digits[12];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  out.append(digits, end);
}

std::size_t DigitsOf(std::int32_t number) {
  char digits[12];
  return static_cast<std::size_t>(std::to_chars(digits, digits + sizeof(digits), number).ptr -
                                  digits);
}

class Markup : public StoredBytes {
 public:
  explicit Markup(std::shared_ptr<const UpdateIdList> list) : list_(std::move(list)) {
    size_ = list_->size() * (kHead.size() + kGuidBytes + kMiddle.size() + kTail.size());
    for (std::size_t i = 0; i < list_->size(); ++i) size_ += DigitsOf(list_->At(i).revision);
  }
  std::uint64_t size_bytes() const override { return size_; }
  Result<std::unique_ptr<Source>> Open() const override {
    return std::unique_ptr<Source>(std::make_unique<Reader>(list_));
  }

 private:
  class Reader : public Source {
   public:
    explicit Reader(std::shared_ptr<const UpdateIdList> list) : list_(std::move(list)) {}
    Result<std::size_t> Read(std::span<std::uint8_t> out) override {
      if (used_ == piece_.size()) Refill();
      const std::size_t count = std::min(out.size(), piece_.size() - used_);
      std::copy_n(piece_.begin() + static_cast<std::ptrdiff_t>(used_), count, out.begin());
      used_ += count;
      return count;
    }

   private:
    void Refill() {
      piece_.clear();
      used_ = 0;
      for (; next_ < list_->size() && piece_.size() < kPieceBytes; ++next_) {
        const UpdateId id = list_->At(next_);
        piece_ += kHead;
        piece_ += id.guid.ToString();
        piece_ += kMiddle;
        AppendNumber(piece_, id.revision);
        piece_ += kTail;
      }
    }
    std::shared_ptr<const UpdateIdList> list_;
    std::size_t next_ = 0;
    std::string piece_;
    std::size_t used_ = 0;
  };

  std::shared_ptr<const UpdateIdList> list_;
  std::uint64_t size_ = 0;
};

}  // namespace

std::shared_ptr<const StoredBytes> MarkupOf(std::shared_ptr<const UpdateIdList> list) {
  return std::make_shared<Markup>(std::move(list));
}

}  // namespace gapferry::protocol
