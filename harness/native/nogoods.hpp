// Configurations that can't be completed to a linearization: a flat table of constant-size keys.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "history.hpp"

namespace harness {

// With `classes` of operations of unknown outcome, a configuration also counts how many of each
// class it used; one that used at least as many of every class as a nogood is a nogood, too.
template <int WORDS>
class Nogoods {
 public:
  using Mask = std::array<uint64_t, WORDS>;
  using Counts = std::vector<uint32_t>;

  explicit Nogoods(size_t classes) : classes_(classes) {}

  bool has(const Mask& mask, int32_t frontier, int32_t state, const Counts& used,
           int64_t& scanned) const {
    if (size_ == 0) return false;
    const Entry& e = table_[find(mask, frontier, state)];
    if (e.frontier < 0) return false;
    if (classes_ == 0) return true;
    for (int32_t node = e.first; node >= 0; node = next_[node]) {
      scanned++;
      if (no_more(counts(node), used.data())) return true;
    }
    return false;
  }

  void add(const Mask& mask, int32_t frontier, int32_t state, const Counts& used) {
    if (2 * size_ >= table_.size()) grow();
    Entry& e = table_[find(mask, frontier, state)];
    if (e.frontier < 0) {
      e = {mask, frontier, state, -1};
      size_++;
    }
    if (classes_ == 0) return;
    int32_t* link = &e.first;
    while (*link >= 0) {
      int32_t node = *link;
      if (no_more(used.data(), counts(node))) {  // dominated by the new one
        *link = next_[node];
        next_[node] = free_;
        free_ = node;
      } else {
        link = &next_[node];
      }
    }
    int32_t node = free_;
    if (node >= 0) {
      free_ = next_[node];
    } else {
      node = static_cast<int32_t>(next_.size());
      next_.push_back(-1);
      counts_.resize(counts_.size() + classes_);
    }
    std::copy(used.begin(), used.end(), counts_.begin() + node * static_cast<int64_t>(classes_));
    next_[node] = e.first;
    e.first = node;
  }

  int64_t bytes() const {
    return static_cast<int64_t>(table_.capacity() * sizeof(Entry) +
                                (counts_.capacity() + next_.capacity()) * 4);
  }

  // Empties the table and keeps its memory for the next search.
  void clear(size_t classes) {
    classes_ = classes;
    if (size_ > 0) table_.assign(table_.size() > 4096 ? 0 : table_.size(), Entry{});
    counts_.clear();
    next_.clear();
    free_ = -1;
    size_ = 0;
  }

 private:
  struct Entry {
    Mask mask{};
    int32_t frontier = -1, state = 0, first = -1;
  };
  size_t classes_, size_ = 0;
  std::vector<Entry> table_;
  std::vector<int32_t> next_;     // by node: each key has a linked list of counts
  std::vector<uint32_t> counts_;  // by node: one a class
  int32_t free_ = -1;

  const uint32_t* counts(int32_t node) const { return &counts_[node * classes_]; }

  bool no_more(const uint32_t* a, const uint32_t* b) const {
    for (size_t c = 0; c < classes_; c++)
      if (a[c] > b[c]) return false;
    return true;
  }

  size_t find(const Mask& mask, int32_t frontier, int32_t state) const {
    uint64_t x = mix(static_cast<uint64_t>(frontier) << 32 ^ static_cast<uint32_t>(state));
    for (uint64_t word : mask) x = mix(x ^ word);
    size_t at = x & (table_.size() - 1);
    while (table_[at].frontier >= 0 && !(table_[at].frontier == frontier &&
                                         table_[at].state == state && table_[at].mask == mask))
      at = (at + 1) & (table_.size() - 1);
    return at;
  }

  void grow() {
    std::vector<Entry> old(std::max<size_t>(256, 2 * table_.size()));
    old.swap(table_);
    for (const Entry& e : old)
      if (e.frontier >= 0) table_[find(e.mask, e.frontier, e.state)] = e;
  }
};

}  // namespace harness
