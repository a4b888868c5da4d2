// A history as the checkers see it: operations with ranks for times, split by key.
#pragma once
#include <algorithm>
#include <climits>
#include <cstdint>
#include <numeric>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace harness {

constexpr int32_t NEVER = INT32_MAX;  // the return of an operation of unknown outcome
constexpr int32_t ANY = -1;           // requires: legal in every state
constexpr int32_t OPAQUE = -2;        // requires: only the model's step knows; installs: its letter
constexpr int32_t KEEP = -1;          // installs: leaves the state as it is

// requires: legal in every state but one, which is kept.
constexpr int32_t all_but(int32_t state) { return -3 - state; }
constexpr bool is_all_but(int32_t requires_) { return requires_ <= -3; }

// `req`: the one state in which it is legal, ANY, OPAQUE or all_but(state). `ins`: the state that
// it leaves, or KEEP. States are ids from 0; 0 is the initial one.
struct Op {
  int32_t call, ret, req, ins;
  bool read_only() const { return ins == KEEP; }
  bool legal(int32_t state) const {
    return req == ANY || req == state || (is_all_but(req) && req != all_but(state));
  }
};

// Sort by ranks, which are distinct: linear where they are dense, nearly so where the items are
// nearly sorted.
template <typename T, typename RankOf>
void sort_by_rank(std::vector<T>& items, RankOf rank_of) {
  if (items.empty()) return;
  int32_t low = INT32_MAX, high = INT32_MIN;
  bool sorted = true;
  for (size_t i = 0; i < items.size(); i++) {
    int32_t rank = rank_of(items[i]);
    sorted = sorted && rank >= high;
    low = std::min(low, rank);
    high = std::max(high, rank);
  }
  if (sorted) return;
  auto range = static_cast<size_t>(static_cast<int64_t>(high) - low) + 1;
  if (range <= 8 * items.size()) {
    std::vector<int32_t> at(range, -1);
    for (size_t i = 0; i < items.size(); i++)
      at[static_cast<size_t>(rank_of(items[i]) - low)] = static_cast<int32_t>(i);
    std::vector<T> sorted_items;
    sorted_items.reserve(items.size());
    for (int32_t i : at)
      if (i >= 0) sorted_items.push_back(items[static_cast<size_t>(i)]);
    items = std::move(sorted_items);
    return;
  }
  int64_t moves = 8 * static_cast<int64_t>(items.size());
  for (size_t i = 1; i < items.size(); i++) {
    T item = items[i];
    size_t k = i;
    for (; k > 0 && rank_of(item) < rank_of(items[k - 1]); k--, moves--) items[k] = items[k - 1];
    items[k] = item;
    if (moves < 0)
      return std::sort(items.begin(), items.end(),
                       [&](const T& a, const T& b) { return rank_of(a) < rank_of(b); });
  }
}

// Ranks keep the order of times; a call at the instant of a return comes first, so that both
// ends of an operation's interval are closed and equal stamps never order two operations.
inline void rank(std::span<const int64_t> call, std::span<const int64_t> ret,
                 std::vector<int32_t>& calls, std::vector<int32_t>& rets) {
  size_t n = call.size();
  calls.resize(n);
  rets.resize(n);
  int64_t first = INT64_MAX, last = INT64_MIN;
  for (size_t i = 0; i < n; i++) {
    if (ret[i] < call[i]) throw std::invalid_argument("an operation returns before it is called");
    first = std::min(first, call[i]);
    last = std::max(last, ret[i] == INT64_MAX ? call[i] : ret[i]);
  }
  uint64_t range = n ? static_cast<uint64_t>(last) - static_cast<uint64_t>(first) : 0;
  if (range < 16 * n + 64 && range < NEVER / 2) {  // dense already; unless there are ties
    std::vector<bool> taken(range + 1);
    bool tie = false;
    auto place = [&](int64_t time) {
      auto at = static_cast<size_t>(time - first);
      tie = tie || taken[at];
      taken[at] = true;
      return static_cast<int32_t>(at);
    };
    for (size_t i = 0; i < n && !tie; i++) {
      calls[i] = place(call[i]);
      rets[i] = ret[i] == INT64_MAX ? NEVER : place(ret[i]);
    }
    if (!tie) return;
  }
  struct Event {
    int64_t time;
    int32_t is_return;
    int32_t op;
  };
  std::vector<Event> events;
  events.reserve(2 * n);
  for (size_t i = 0; i < n; i++) {
    events.push_back({call[i], 0, static_cast<int32_t>(i)});
    if (ret[i] != INT64_MAX) events.push_back({ret[i], 1, static_cast<int32_t>(i)});
  }
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    if (a.time != b.time) return a.time < b.time;
    if (a.is_return != b.is_return) return a.is_return < b.is_return;
    return a.op < b.op;
  });
  rets.assign(n, NEVER);
  for (size_t k = 0; k < events.size(); k++)
    (events[k].is_return ? rets : calls)[events[k].op] = static_cast<int32_t>(k);
}

// Global states to dense ones of a partition, without clearing anything between partitions.
class States {
 public:
  void begin(int32_t init) {
    dense_.clear();
    of(init);
  }
  void begin_with_all(int32_t states) {
    dense_.resize(states);
    std::iota(dense_.begin(), dense_.end(), 0);
    sparse_ = dense_;
  }
  int32_t of(int32_t state) {
    auto s = static_cast<size_t>(state);
    if (s >= sparse_.size()) sparse_.resize(std::max(s + 1, 2 * sparse_.size()));
    int32_t known = sparse_[s];
    if (known < size() && dense_[known] == state) return known;
    sparse_[s] = size();
    dense_.push_back(state);
    return sparse_[s];
  }
  int32_t global(int32_t state) const { return dense_[state]; }
  int32_t size() const { return static_cast<int32_t>(dense_.size()); }

 private:
  std::vector<int32_t> sparse_, dense_;
};

// The operations of one key, by call, and the row of each in the columns.
struct Partition {
  std::span<Op> ops;
  std::span<int32_t> row;
  bool opaque = false, all_buts = false;
};

struct Verdict {
  int valid = -1;              // 1 linearizable, 0 not, -1 undecided (how says why)
  const char* how = "";
  std::vector<int32_t> order;  // valid: a linearization; invalid: operations of a core, if known
  int64_t configurations = 0;
  int64_t bytes = 0;
  int32_t stuck = -1;          // the operation whose return nothing explains
};

}  // namespace harness
