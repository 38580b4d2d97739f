#include "mirror/decoded_revision.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "protocol/cabinet.h"
#include "protocol/xml_writer.h"
#include "protocol/xpress.h"

namespace gapferry::mirror {

namespace {

/// Collects the fragments of one document as they will be stored: escaped text as long as it is
/// small, xpress blocks once it is larger than one block. Holds the compressed form of large ones.
class FragmentPacker : public protocol::FragmentReceiver {
 public:
  Result<void> Append(const protocol::FragmentKey& key, std::string_view text) override {
    Entry& entry = EntryFor(key);
    constexpr std::size_t kPiece = 64 * 1024;  // bounds `pending` whatever arrives
    for (std::size_t offset = 0; offset < text.size(); offset += kPiece) {
      protocol::AppendEscapedText(entry.pending, text.substr(offset, kPiece));
      if (entry.pending.size() > protocol::kXpressBlockBytes) PackFullBlocks(entry);
    }
    return {};
  }

  std::vector<FragmentToStore> Take() {
    for (Entry& entry : entries_) {
      FragmentToStore& fragment = entry.fragment;
      fragment.decoded_bytes += entry.pending.size();
      if (!fragment.is_prepared) {
        fragment.bytes = std::move(entry.pending);
      } else if (!entry.pending.empty()) {
        encoder_->AppendBlock(AsBytes(entry.pending), fragment.bytes);
      }
    }
    std::vector<FragmentToStore> fragments;
    fragments.reserve(entries_.size());
    for (Entry& entry : entries_) fragments.push_back(std::move(entry.fragment));
    return fragments;
  }

 private:
  struct Entry {
    FragmentToStore fragment;
    std::string pending;
  };

  Entry& EntryFor(const protocol::FragmentKey& key) {
    const auto [place, is_new] = index_.try_emplace(key, entries_.size());
    if (is_new) {
      entries_.emplace_back();
      entries_.back().fragment.key = key;
    }
    return entries_[place->second];
  }

  /// Always leaves something: the rest is the last block, or the whole text of a small fragment.
  void PackFullBlocks(Entry& entry) {
    if (!encoder_) encoder_.emplace();
    entry.fragment.is_prepared = true;
    std::size_t done = 0;
    while (entry.pending.size() - done > protocol::kXpressBlockBytes) {
      const std::string_view block =
          std::string_view(entry.pending).substr(done, protocol::kXpressBlockBytes);
      encoder_->AppendBlock(AsBytes(block), entry.fragment.bytes);
      done += protocol::kXpressBlockBytes;
    }
    entry.fragment.decoded_bytes += done;
    entry.pending.erase(0, done);
  }

  std::map<protocol::FragmentKey, std::size_t> index_;
  std::vector<Entry> entries_;
  std::optional<protocol::XpressEncoder> encoder_;  // large tables: made when first needed
};

/// Hashes, counts and parses the decoded text as it comes.
class DocumentSink : public Sink {
 public:
  DocumentSink(protocol::FragmentReceiver& receiver, std::uint64_t limit)
      : parser_(&receiver, Limits(limit)), limit_(limit) {}
  Result<void> Write(ByteView bytes) override {
    count_ += bytes.size();
    if (count_ > limit_) {
      return Fail(ErrorCode::kCorrupt, fmt::format("document is larger than {} bytes", limit_));
    }
    hasher_.Update(bytes);
    return parser_.Feed(AsText(bytes));
  }
  Result<protocol::UpdateDocument> Finish() { return parser_.Finish(); }
  Sha256Digest Digest() { return hasher_.Finish(); }
  std::uint64_t count() const { return count_; }

 private:
  static protocol::UpdateDocumentLimits Limits(std::uint64_t limit) {
    protocol::UpdateDocumentLimits limits;
    limits.document_bytes = limit;
    return limits;
  }
  protocol::UpdateDocumentParser parser_;
  Sha256Hasher hasher_;
  std::uint64_t limit_;
  std::uint64_t count_ = 0;
};

}  // namespace

Result<DerivedDocument> DeriveDocument(DocumentForm form, ByteView bytes,
                                       std::uint64_t max_document_bytes) {
  FragmentPacker packer;
  DocumentSink sink(packer, max_document_bytes);
  if (form == DocumentForm::kCabinet) {
    TRY(protocol::DecodeMetadataCabinet(bytes, sink, max_document_bytes));
  } else {
    TRY(sink.Write(bytes));
  }
  DerivedDocument derived;
  TRY_ASSIGN(derived.document, sink.Finish());
  derived.fragments = packer.Take();
  derived.sha256 = sink.Digest();
  derived.document_bytes = sink.count();
  return derived;
}

DecodedRevision::DecodedRevision(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DecodedRevision::DecodedRevision(DecodedRevision&&) noexcept = default;
DecodedRevision& DecodedRevision::operator=(DecodedRevision&&) noexcept = default;
DecodedRevision::~DecodedRevision() = default;
const protocol::UpdateId& DecodedRevision::update() const { return impl_->incoming.update; }
const Sha256Digest& DecodedRevision::sha256() const { return impl_->sha256; }
std::uint64_t DecodedRevision::memory_bytes() const {
  // Titles, relations and driver lists are about as large as the texts they are read from.
  std::uint64_t bytes = impl_->incoming.bytes.size() + impl_->document_bytes / 4;
  for (const auto& fragment : impl_->fragments) bytes += fragment.bytes.size();
  return bytes;
}

Result<DecodedRevision> DecodedRevision::Decode(IncomingRevision incoming,
                                                std::uint64_t max_document_bytes) {
  const std::string name = "revision " + incoming.update.ToString();
  if (incoming.bytes.size() > max_document_bytes) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: {} bytes, more than the limit of {}", name,
                                                 incoming.bytes.size(), max_document_bytes));
  }
  TRY_ASSIGN(auto derived, DeriveDocument(incoming.form, incoming.bytes, max_document_bytes), name);
  if (derived.document.id != incoming.update) {
    return Fail(
        ErrorCode::kCorrupt, "wrong-identity",
        fmt::format("{}: the document is that of {}", name, derived.document.id.ToString()));
  }
  if (incoming.expected_sha256 && *incoming.expected_sha256 != derived.sha256) {
    return Fail(ErrorCode::kCorrupt, "digest-mismatch",
                fmt::format("{}: document digest mismatch: expected sha256:{}, got sha256:{}", name,
                            incoming.expected_sha256->ToHex(), derived.sha256.ToHex()));
  }
  auto impl = std::make_unique<Impl>();
  impl->incoming = std::move(incoming);
  impl->sha256 = derived.sha256;
  impl->document_bytes = derived.document_bytes;
  impl->document = std::move(derived.document);
  impl->fragments = std::move(derived.fragments);
  return DecodedRevision(std::move(impl));
}

}  // namespace gapferry::mirror
