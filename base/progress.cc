#include "base/progress.h"

namespace gapferry {
namespace {

class Silent : public Progress {
 public:
  void Begin(std::string_view, std::uint64_t, std::uint64_t) override {}
  void Advance(std::uint64_t, std::uint64_t) override {}
  void End() override {}
  void Note(std::string_view) override {}
};

}  // namespace

Progress& NoProgress() {
  static Silent silent;
  return silent;
}

}  // namespace gapferry
