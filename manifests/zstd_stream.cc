#include "manifests/zstd_stream.h"

#include <zstd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace gapferry::manifests {
namespace {

void Require(bool ok) {
  if (ok) return;
  std::fputs("zstd: out of memory\n", stderr);
  std::abort();
}

}  // namespace

struct ZstdSink::Impl {
  Impl(Sink& sink, int level)
      : out(sink), context(ZSTD_createCCtx()), buffer(ZSTD_CStreamOutSize()) {
    Require(context != nullptr);
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { ZSTD_freeCCtx(context); }

  Result<void> Run(ByteView bytes, ZSTD_EndDirective mode) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer piece{buffer.data(), buffer.size(), 0};
      const std::size_t rest = ZSTD_compressStream2(context, &piece, &in, mode);
      if (ZSTD_isError(rest) != 0) {
        return Fail(ErrorCode::kInternal, std::string("zstd: ") + ZSTD_getErrorName(rest));
      }
      TRY(out.Write({buffer.data(), piece.pos}));
      if (mode == ZSTD_e_end ? rest == 0 : in.pos == in.size) return {};
    }
  }

  Sink& out;
  ZSTD_CCtx* context;
  Bytes buffer;
};

ZstdSink::ZstdSink(Sink& out, int level) : impl_(std::make_unique<Impl>(out, level)) {}
ZstdSink::~ZstdSink() = default;
Result<void> ZstdSink::Write(ByteView bytes) { return impl_->Run(bytes, ZSTD_e_continue); }
Result<void> ZstdSink::Finish() { return impl_->Run({}, ZSTD_e_end); }

struct ZstdSource::Impl {
  Impl(Source& source, std::uint64_t limit)
      : in(source), rest(limit), context(ZSTD_createDCtx()), buffer(ZSTD_DStreamInSize()) {
    Require(context != nullptr);
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, kZstdMaxWindowLog);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { ZSTD_freeDCtx(context); }

  static std::unexpected<Error> Bad(std::string problem) {
    return Fail(ErrorCode::kCorrupt, "zstd-malformed", "zstd: " + std::move(problem));
  }

  Result<void> Refill() {
    if (input.pos < input.size || at_end) return {};
    TRY_ASSIGN(const std::size_t count, in.Read(buffer));
    at_end = count == 0;
    input = {buffer.data(), count, 0};
    return {};
  }

  Result<std::size_t> Read(std::span<std::uint8_t> out) {
    ZSTD_outBuffer piece{out.data(), out.size(), 0};
    while (piece.pos == 0 && !ended && !out.empty()) {
      if (!output_pending) {
        TRY(Refill());
        if (at_end) return Bad("the frame does not end");
      }
      const std::size_t hint = ZSTD_decompressStream(context, &piece, &input);
      if (ZSTD_isError(hint) != 0) return Bad(ZSTD_getErrorName(hint));
      // A full output buffer may leave decoded bytes inside the context.
      output_pending = piece.pos == piece.size;
      if (piece.pos > rest) {
        return Fail(ErrorCode::kCorrupt, "zstd-too-large", "zstd: more bytes come out than stated");
      }
      if (hint == 0) TRY(ExpectEnd());
    }
    rest -= piece.pos;
    return piece.pos;
  }

  Result<void> ExpectEnd() {
    ended = true;
    TRY(Refill());
    if (!at_end) return Bad("bytes behind the frame");
    return {};
  }

  Source& in;
  std::uint64_t rest;
  ZSTD_DCtx* context;
  Bytes buffer;
  ZSTD_inBuffer input{nullptr, 0, 0};
  bool at_end = false;
  bool output_pending = false;
  bool ended = false;
};

ZstdSource::ZstdSource(Source& in, std::uint64_t limit_bytes)
    : impl_(std::make_unique<Impl>(in, limit_bytes)) {}
ZstdSource::~ZstdSource() = default;
Result<std::size_t> ZstdSource::Read(std::span<std::uint8_t> out) { return impl_->Read(out); }

}  // namespace gapferry::manifests
