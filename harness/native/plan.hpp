// What the search precomputes for a partition: return order, slots, letters, classes.
#pragma once
#include <queue>

#include "history.hpp"

namespace harness {

// Slots colour the intervals of the completed operations, so their number is the largest number of
// operations open at once. A letter is a distinct (req, ins). Operations of unknown outcome with
// the same letter are a class.
struct Plan {
  std::vector<int32_t> by_return, by_call;  // completed operations
  std::vector<int32_t> called;              // by return: how many of `by_call` precede it
  std::vector<int32_t> slot, letter;        // by operation
  std::vector<std::vector<int32_t>> classes;
  std::vector<int32_t> letter_of_class;
  int32_t slots = 0, letters = 0;

  int64_t bytes() const {
    return 4 * static_cast<int64_t>(by_return.size() + by_call.size() + called.size() +
                                    slot.size() + letter.size() + table_.size());
  }

  void make(const Partition& partition) {
    std::span<const Op> ops = partition.ops;
    auto n = static_cast<int32_t>(ops.size());
    by_call.clear();
    classes.clear();
    letter_of_class.clear();
    find_letters(ops);
    std::vector<int32_t> class_of(letters, -1);
    for (int32_t i = 0; i < n; i++) {
      if (ops[i].ret != NEVER) {
        by_call.push_back(i);
        continue;
      }
      int32_t& c = class_of[letter[i]];
      if (c < 0) {
        c = static_cast<int32_t>(classes.size());
        classes.emplace_back();
        letter_of_class.push_back(letter[i]);
      }
      classes[c].push_back(i);
    }
    by_return = by_call;
    sort_by_rank(by_return, [&](int32_t i) { return ops[i].ret; });
    called.resize(by_return.size());
    size_t calls = 0;
    for (size_t j = 0; j < by_return.size(); j++) {
      while (calls < by_call.size() && ops[by_call[calls]].call < ops[by_return[j]].ret) calls++;
      called[j] = static_cast<int32_t>(calls);
    }
    slot.resize(n);
    slots = 0;
    std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> free;
    calls = 0;
    for (size_t j = 0; j < by_return.size(); j++) {
      for (; calls < static_cast<size_t>(called[j]); calls++) {
        if (free.empty()) {
          slot[by_call[calls]] = slots++;
        } else {
          slot[by_call[calls]] = free.top();
          free.pop();
        }
      }
      free.push(slot[by_return[j]]);
    }
  }

 private:
  std::vector<int32_t> table_;

  void find_letters(std::span<const Op> ops) {
    size_t size = 16;
    while (size < 2 * ops.size()) size *= 2;
    table_.assign(size, -1);
    letter.resize(ops.size());
    letters = 0;
    for (size_t i = 0; i < ops.size(); i++) {
      uint64_t both = static_cast<uint64_t>(static_cast<uint32_t>(ops[i].req)) << 32 |
                      static_cast<uint32_t>(ops[i].ins);
      for (size_t at = mix(both) & (size - 1);; at = (at + 1) & (size - 1)) {
        int32_t other = table_[at];
        if (other < 0) {
          table_[at] = static_cast<int32_t>(i);
          letter[i] = letters++;
          break;
        }
        if (ops[other].req == ops[i].req && ops[other].ins == ops[i].ins) {
          letter[i] = letter[other];
          break;
        }
      }
    }
  }
};

}  // namespace harness
