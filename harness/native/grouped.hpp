// Groups rows by key, in order: a counting sort, by several threads if there are many rows.
#pragma once
#include <memory>
#include <thread>

#include "history.hpp"

namespace harness {

template <typename Item>
class Grouped {
 public:
  std::vector<int32_t> begin;  // by key: its first place; one more for the end
  std::span<int32_t> row;      // by place
  std::span<Item> items;

  // `key`: empty for a single key. `wanted(row)`: whether to keep a row. `make(row)`: its item.
  template <typename Wanted, typename Make>
  Grouped(std::span<const int32_t> key, int32_t keys, size_t n, int threads, Wanted wanted,
          Make make)
      : begin(keys + 1, 0) {
    auto parts = static_cast<size_t>(
        std::clamp<int64_t>(static_cast<int64_t>(n / ROWS_PER_THREAD), 1, threads));
    std::vector<std::vector<int32_t>> next(parts, std::vector<int32_t>(keys, 0));
    auto each = [&](size_t part, auto act) {
      for (size_t i = n * part / parts; i < n * (part + 1) / parts; i++)
        if (wanted(i)) act(i, next[part][key.empty() ? 0 : key[i]]);
    };
    in_parts(parts, [&](size_t part) { each(part, [](size_t, int32_t& count) { count++; }); });
    int32_t at = 0;
    for (int32_t k = 0; k < keys; k++) {
      begin[k] = at;
      for (auto& of_part : next) at += std::exchange(of_part[k], at);
    }
    begin[keys] = at;
    rows_ = std::make_unique_for_overwrite<int32_t[]>(at);
    items_ = std::make_unique_for_overwrite<Item[]>(at);
    row = {rows_.get(), static_cast<size_t>(at)};
    items = {items_.get(), static_cast<size_t>(at)};
    in_parts(parts, [&](size_t part) {
      each(part, [&](size_t i, int32_t& place) {
        row[place] = static_cast<int32_t>(i);
        items[place++] = make(i);
      });
    });
  }

 private:
  static constexpr size_t ROWS_PER_THREAD = 200'000;  // rows: with fewer, a thread does not pay off

  std::unique_ptr<int32_t[]> rows_;
  std::unique_ptr<Item[]> items_;

  template <typename Act>
  static void in_parts(size_t parts, Act act) {
    std::vector<std::jthread> others;
    for (size_t part = 1; part < parts; part++) others.emplace_back(act, part);
    act(0);
  }
};

}  // namespace harness
