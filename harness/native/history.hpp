// Operations of a history with ranks for times, split by key.
#pragma once
#include <algorithm>
#include <climits>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace harness {

constexpr int32_t NEVER = INT32_MAX;  // the return of an operation of unknown outcome
constexpr int32_t ANY = -1;           // requires: legal in every state
constexpr int32_t OPAQUE = -2;        // requires: only the model's step knows; installs: its letter
constexpr int32_t KEEP = -1;          // installs: leaves the state as it is

inline uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  return x ^ (x >> 32);
}

// requires: legal in every state but this one; the operation keeps the state.
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

// Sort by ranks, which are distinct: in place where the items are nearly sorted, else in linear
// time where the ranks are dense.
template <typename T, typename RankOf>
void sort_by_rank(std::vector<T>& items, RankOf rank_of) {
  int64_t moves = 4 * static_cast<int64_t>(items.size());
  for (size_t i = 1; i < items.size(); i++) {
    if (rank_of(items[i - 1]) <= rank_of(items[i])) continue;
    T item = items[i];
    size_t k = i;
    for (; k > 0 && rank_of(item) < rank_of(items[k - 1]); k--, moves--) items[k] = items[k - 1];
    items[k] = item;
    if (moves < 0) break;
  }
  if (moves >= 0) return;
  auto [low, high] = std::minmax_element(
      items.begin(), items.end(), [&](const T& a, const T& b) { return rank_of(a) < rank_of(b); });
  int32_t first = rank_of(*low);
  auto range = static_cast<size_t>(static_cast<int64_t>(rank_of(*high)) - first) + 1;
  if (range > 8 * items.size())
    return std::sort(items.begin(), items.end(),
                     [&](const T& a, const T& b) { return rank_of(a) < rank_of(b); });
  std::vector<int32_t> at(range, -1);
  for (size_t i = 0; i < items.size(); i++)
    at[static_cast<size_t>(rank_of(items[i]) - first)] = static_cast<int32_t>(i);
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (int32_t i : at)
    if (i >= 0) sorted.push_back(items[static_cast<size_t>(i)]);
  items = std::move(sorted);
}

// Ranks keep the order of times; a call at the instant of a return comes first, so that both
// ends of an operation's interval are closed and equal stamps never order two operations. Times
// that are distinct and dense, as places in a history are, are their own ranks.
class Ranks {
 public:
  Ranks(std::span<const int64_t> call, std::span<const int64_t> ret) : call_(call), ret_(ret) {
    size_t n = call.size();
    int64_t first = INT64_MAX, last = INT64_MIN;
    bool backwards = false;
    for (size_t i = 0; i < n; i++) {
      backwards |= ret[i] < call[i];
      first = std::min(first, call[i]);
      last = std::max(last, ret[i] == INT64_MAX ? call[i] : ret[i]);
    }
    if (backwards) throw std::invalid_argument("an operation returns before it is called");
    first_ = first;
    uint64_t range = n ? static_cast<uint64_t>(last) - static_cast<uint64_t>(first) : 0;
    if (range >= 16 * n + 64 || range >= NEVER / 2 || has_ties(range)) sort();
  }

  int32_t call(size_t i) const {
    return calls_.empty() ? static_cast<int32_t>(call_[i] - first_) : calls_[i];
  }
  int32_t ret(size_t i) const {
    if (ret_[i] == INT64_MAX) return NEVER;
    return calls_.empty() ? static_cast<int32_t>(ret_[i] - first_) : rets_[i];
  }

 private:
  std::span<const int64_t> call_, ret_;
  int64_t first_;
  std::vector<int32_t> calls_, rets_;  // empty: the times are the ranks

  bool has_ties(uint64_t range) const {
    std::vector<uint64_t> taken(range / 64 + 1);
    uint64_t tie = 0;
    auto take = [&](int64_t time) {
      auto at = static_cast<uint64_t>(time - first_);
      tie |= taken[at >> 6] >> (at & 63) & 1;
      taken[at >> 6] |= 1ull << (at & 63);
    };
    for (size_t i = 0; i < call_.size(); i++) {
      take(call_[i]);
      if (ret_[i] != INT64_MAX) take(ret_[i]);
    }
    return tie;
  }

  void sort() {
    size_t n = call_.size();
    struct Event {
      int64_t time;
      int32_t is_return;
      int32_t op;
    };
    std::vector<Event> events;
    events.reserve(2 * n);
    for (size_t i = 0; i < n; i++) {
      events.push_back({call_[i], 0, static_cast<int32_t>(i)});
      if (ret_[i] != INT64_MAX) events.push_back({ret_[i], 1, static_cast<int32_t>(i)});
    }
    std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
      if (a.time != b.time) return a.time < b.time;
      if (a.is_return != b.is_return) return a.is_return < b.is_return;
      return a.op < b.op;
    });
    calls_.resize(n);
    rets_.resize(n);
    for (size_t k = 0; k < events.size(); k++)
      (events[k].is_return ? rets_ : calls_)[events[k].op] = static_cast<int32_t>(k);
  }
};

// Maps global states to dense ids of a partition; its tables need no clearing between partitions.
class States {
 public:
  void begin() {  // the initial state becomes 0
    identity_ = false;
    dense_.clear();
    size_ = 0;
    of(0);
  }
  void begin_with_all(int32_t states) {  // ids are the global states
    identity_ = true;
    size_ = states;
  }
  int32_t of(int32_t state) {
    if (identity_) {
      size_ = std::max(size_, state + 1);
      return state;
    }
    auto s = static_cast<size_t>(state);
    if (s >= sparse_.size()) sparse_.resize(std::max(s + 1, 2 * sparse_.size()));
    int32_t known = sparse_[s];
    if (known < size_ && dense_[known] == state) return known;
    dense_.push_back(state);
    return sparse_[s] = size_++;
  }
  int32_t global(int32_t state) const { return identity_ ? state : dense_[state]; }
  int32_t size() const { return size_; }
  int64_t bytes() const { return 4 * static_cast<int64_t>(sparse_.size() + dense_.size()); }

 private:
  bool identity_ = false;
  int32_t size_ = 0;
  std::vector<int32_t> sparse_, dense_;
};

// The operations of one key, by call, and the row of each in the columns.
struct Partition {
  std::span<Op> ops;
  std::span<int32_t> row;
  bool opaque = false, all_buts = false;
};

struct Verdict {
  int valid = -1;  // 1 linearizable, 0 not, -1 undecided; `how`: why
  const char* how = "";
  std::vector<int32_t> order;  // valid: a linearization; invalid: operations of a core, if known
  int64_t configurations = 0;
  int64_t bytes = 0;
  int32_t stuck = -1;  // the operation that can't be explained, or -1
};

}  // namespace harness
