#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace gapferry {

/// Sorts by `less` and keeps the order of equal items. (std::stable_sort of libstdc++ 12 calls what
/// C++17 deprecated, which clang reports as ours.)
template <class T, class Less>
void SortStably(std::vector<T>& items, Less less) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    if (less(items[a], items[b])) return true;
    return !less(items[b], items[a]) && a < b;
  });
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (const std::size_t i : order) sorted.push_back(std::move(items[i]));
  items = std::move(sorted);
}

}  // namespace gapferry
