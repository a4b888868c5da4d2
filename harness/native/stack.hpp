// Stacks whose values are pushed once: O(n log n).
//
// Lee & Mathur 2025 (Efficient Decrease-and-Conquer Linearizability Monitoring): a value is
// certainly inside from the return of its push to the call of its pop. A value whose push and pop
// each have an instant at which no other is certainly inside may be at the bottom: the history is
// linearizable if and only if the rest without it is. If no value can be taken away but some are
// left, the history is not. A value whose push and pop overlap can be pushed and popped at one
// instant, whatever else is inside.
#pragma once
#include "insertions.hpp"

namespace harness {

// Segment tree of how many intervals cover each slot: add to a range, take out uncovered slots.
class Cover {
 public:
  explicit Cover(int32_t slots) {
    while (leaves_ < slots) leaves_ *= 2;
    least_.assign(2 * static_cast<size_t>(leaves_), 0);
    added_.assign(2 * static_cast<size_t>(leaves_), 0);
    add(slots, leaves_, TAKEN);
  }

  void add(int32_t from, int32_t to, int32_t by) { add(1, 0, leaves_, from, to, by); }

  // A slot that no interval covers and that was not taken before, or -1.
  int32_t take() {
    if (least_[1] != 0) return -1;
    int32_t node = 1, left = 0, size = leaves_;
    for (int32_t above = 0; node < leaves_;) {
      above += added_[node];
      size /= 2;
      node *= 2;
      if (least_[node] + above != 0) {
        node++;
        left += size;
      }
    }
    add(left, left + 1, TAKEN);
    return left;
  }

 private:
  static constexpr int32_t TAKEN = 1 << 30;
  int32_t leaves_ = 1;
  std::vector<int32_t> least_, added_;  // by node: its minimum; what was added to all of it

  void add(int32_t node, int32_t left, int32_t right, int32_t from, int32_t to, int32_t by) {
    if (from >= right || to <= left) return;
    if (from <= left && right <= to) {
      least_[node] += by;
      added_[node] += by;
      return;
    }
    int32_t middle = (left + right) / 2;
    add(2 * node, left, middle, from, to, by);
    add(2 * node + 1, middle, right, from, to, by);
    least_[node] = std::min(least_[2 * node], least_[2 * node + 1]) + added_[node];
  }
};

// Operations by call; takes out those that were open in a slot.
class OpenAt {
 public:
  // `ops`: (call, return), by call.
  explicit OpenAt(std::span<const std::pair<int32_t, int32_t>> ops) : ops_(ops) {
    while (leaves_ < static_cast<int32_t>(ops.size())) leaves_ *= 2;
    latest_.assign(2 * static_cast<size_t>(leaves_), -1);
    for (size_t i = 0; i < ops.size(); i++) latest_[leaves_ + i] = ops[i].second;
    for (int32_t node = leaves_ - 1; node > 0; node--)
      latest_[node] = std::max(latest_[2 * node], latest_[2 * node + 1]);
  }

  // An operation called by this slot that returns later, or -1.
  int32_t take(int32_t slot) {
    if (latest_[1] <= slot) return -1;
    int32_t node = 1;
    while (node < leaves_) node = 2 * node + (latest_[2 * node] <= slot);
    int32_t i = node - leaves_;  // the first by call of those that return later
    if (ops_[i].first > slot) return -1;
    for (latest_[node] = -1, node /= 2; node > 0; node /= 2)
      latest_[node] = std::max(latest_[2 * node], latest_[2 * node + 1]);
    return i;
  }

 private:
  std::span<const std::pair<int32_t, int32_t>> ops_;
  int32_t leaves_ = 1;
  std::vector<int32_t> latest_;  // by node: the latest return
};

class Stack {
 public:
  // Undecided with "not unique" where a value is pushed twice, and with "removals of unknown
  // outcome" where such removals might explain an apparent violation.
  Verdict check(std::span<const ContainerOp> given, int32_t values) {
    ops_.assign(given.begin(), given.end());
    int32_t slots = make_dense(ops_);
    Verdict verdict;
    verdict.how = "stack";
    if (!insertions_.match(ops_, values, verdict)) return verdict;
    Cover cover(slots + 1);  // the last slot: pops after the end
    std::vector<Operation> waiting;
    std::vector<char> left(values, 0);
    for (int32_t value = 0; value < values; value++) {
      Stay& v = insertions_.stays[value];
      if (v.insert < 0) continue;
      if (v.remove < 0) v.out_call = slots;
      if (v.in_ret >= v.out_call) continue;
      cover.add(v.in_ret, v.out_call, 1);
      waiting.push_back({{v.in_call, v.in_ret}, value});
      left[value] = 1;
      if (v.remove < 0) continue;
      waiting.push_back({{v.out_call, v.out_ret}, value});
      left[value] = 2;
    }
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++)
      if (is_empty_pop(i)) waiting.push_back({{ops_[i].call, ops_[i].ret}, -1 - i});
    sort_by_rank(waiting, [](const Operation& o) { return o.interval.first; });
    std::vector<std::pair<int32_t, int32_t>> intervals;
    for (const Operation& o : waiting) intervals.push_back(o.interval);
    OpenAt open(intervals);
    std::vector<int32_t> bottom;  // values to take away
    bool first = true;            // an empty pop needs a slot without any value
    do {
      for (int32_t value : bottom)
        cover.add(insertions_.stays[value].in_ret, insertions_.stays[value].out_call, -1);
      bottom.clear();
      for (int32_t slot; (slot = cover.take()) >= 0;)
        for (int32_t at; (at = open.take(slot)) >= 0;) {
          int32_t value = waiting[at].value;
          if (value < 0) {
            if (first) placed(-1 - value);
          } else if (--left[value] == 0) {
            bottom.push_back(value);
          }
        }
      first = false;
    } while (!bottom.empty());
    conclude(verdict, left);
    return verdict;
  }

 private:
  struct Operation {
    std::pair<int32_t, int32_t> interval;
    int32_t value;  // or -1 - the pop that found the stack empty
  };
  std::vector<ContainerOp> ops_;
  Insertions insertions_;

  bool is_empty_pop(int32_t i) const {
    return ops_[i].kind == REMOVE && ops_[i].value < 0 && ops_[i].ret != NEVER;
  }

  // Marks an empty pop as explained.
  void placed(int32_t i) { ops_[i].kind = -1; }

  void conclude(Verdict& verdict, const std::vector<char>& left) const {
    std::vector<int32_t> core;
    for (size_t value = 0; value < left.size(); value++) {
      if (!left[value]) continue;
      core.push_back(insertions_.stays[value].insert);
      core.push_back(insertions_.stays[value].remove);
    }
    const char* how = "no value can be at the bottom";
    int32_t stuck = -1;
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()) && core.empty(); i++) {
      if (!is_empty_pop(i)) continue;
      how = "empty while a value was inside";
      stuck = i;
      core.push_back(i);
      for (const Stay& v : insertions_.stays)
        if (v.insert >= 0 && v.in_ret < v.out_call && v.in_ret < ops_[i].ret &&
            v.out_call > ops_[i].call) {
          core.push_back(v.insert);
          core.push_back(v.remove);
        }
    }
    if (core.empty()) {
      verdict.valid = 1;
    } else if (insertions_.open_removals) {
      verdict.how = "removals of unknown outcome";
    } else {
      Insertions::refute(verdict, how, std::move(core), stuck);
    }
  }
};

}  // namespace harness
