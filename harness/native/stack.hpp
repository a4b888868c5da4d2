// Stacks whose values are pushed once: O(n log n).
//
// Lee & Mathur 2025 (Efficient Decrease-and-Conquer Linearizability Monitoring): a value is
// certainly inside from the return of its push to the call of its pop. One whose push and pop each
// have an instant at which no other is certainly inside may be at the bottom, and the history is
// linearizable if and only if what is left without it is. Where there is none left to take away
// but something is left, it is not. A value whose push and pop overlap can be pushed and popped at
// one instant, whatever else is there.
#pragma once
#include "insertions.hpp"

namespace harness {

// How many intervals cover each slot: add to a range, take out slots that none covers.
class Cover {
 public:
  explicit Cover(int32_t slots) {
    while (leaves_ < slots) leaves_ *= 2;
    least_.assign(2 * static_cast<size_t>(leaves_), 0);
    added_.assign(2 * static_cast<size_t>(leaves_), 0);
    add(slots, leaves_, TAKEN);
  }

  void add(int32_t from, int32_t to, int32_t by) { add(1, 0, leaves_, from, to, by); }

  // A slot that nothing covers and that was not taken before, or -1.
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
  std::vector<int32_t> least_, added_;  // the least of a node, with what was added to it as a whole

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

// Operations by call, to take out those that were open in a slot.
class OpenAt {
 public:
  // `ops`: by call.
  explicit OpenAt(std::span<const std::pair<int32_t, int32_t>> ops) : ops_(ops) {
    while (leaves_ < static_cast<int32_t>(ops.size())) leaves_ *= 2;
    latest_.assign(2 * static_cast<size_t>(leaves_), -1);
    for (size_t i = 0; i < ops.size(); i++) latest_[leaves_ + i] = ops[i].second;
    for (int32_t node = leaves_ - 1; node > 0; node--)
      latest_[node] = std::max(latest_[2 * node], latest_[2 * node + 1]);
  }

  // One that was called by then and returns later, or -1.
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
  std::vector<int32_t> latest_;  // return of a node's
};

class Stack {
 public:
  // Undecided with "not unique" where a value is pushed twice, and with "removals of
  // unknown outcome" where they might explain what else would be a violation.
  Verdict check(std::span<const ContainerOp> given, int32_t values) {
    ops_.assign(given.begin(), given.end());
    int32_t slots = make_dense(ops_);
    Verdict verdict;
    verdict.how = "stack";
    if (!insertions_.match(ops_, values, verdict)) return verdict;
    Cover cover(slots + 1);  // the last one is that of all pops that never were
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
    std::vector<int32_t> bottom;  // values that are to be taken away
    bool first = true;            // an empty stack is empty of all values
    do {
      for (int32_t value : bottom) cover.add(insertions_.stays[value].in_ret, insertions_.stays[value].out_call, -1);
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
    int32_t value;  // or -1 - the operation that found nothing
  };
  std::vector<ContainerOp> ops_;
  Insertions insertions_;

  bool is_empty_pop(int32_t i) const {
    return ops_[i].kind == REMOVE && ops_[i].value < 0 && ops_[i].ret != NEVER;
  }

  // It needs no other instant any more.
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
      how = "empty while something was there";
      stuck = i;
      core.push_back(i);
      for (const Stay& v : insertions_.stays)
        if (v.insert >= 0 && v.in_ret < v.out_call && v.in_ret < ops_[i].ret && v.out_call > ops_[i].call) {
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
