// Priority queues whose values are inserted once: near-linear.
//
// From the best value down: a removal needs an instant at which no better value is certainly
// inside. It gets the earliest one, and the insertion the latest: the value is then inside for the
// shortest time, which is best for all worse values, so that the greedy choice is exact.
#pragma once
#include "insertions.hpp"

namespace harness {

class PriorityQueue {
 public:
  // `values`: number of ranks; 0 is the best value. Undecided with "not unique" where a value is
  // inserted twice, and with "removals of unknown outcome" where such removals might explain an
  // apparent violation.
  Verdict check(std::span<const ContainerOp> given, int32_t values) {
    ops_.assign(given.begin(), given.end());
    int32_t slots = make_dense(ops_);
    Verdict verdict;
    verdict.how = "priority queue";
    if (!insertions_.match(ops_, values, verdict)) return verdict;
    next_.resize(slots + 2);
    for (int32_t s = 0; s <= slots + 1; s++) next_[s] = s;
    until_.assign(values, 0);
    for (int32_t value = 0; value < values; value++) {
      const Stay& v = insertions_.stays[value];
      if (v.insert < 0) continue;
      int32_t removed_at = slots;
      if (v.remove >= 0) {
        removed_at = free_from(v.out_call);
        if (removed_at >= v.out_ret)
          return refuted(verdict, value, v.remove, v.out_call, v.out_ret,
                         "a better value was inside");
      }
      until_[value] = removed_at;
      for (int32_t s = free_from(v.in_ret); s < removed_at; s = free_from(s)) next_[s] = s + 1;
    }
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++) {
      const ContainerOp& op = ops_[i];
      if (op.kind != REMOVE || op.value >= 0 || op.ret == NEVER) continue;
      if (free_from(op.call) >= op.ret)
        return refuted(verdict, values, i, op.call, op.ret, "empty while a value was inside");
    }
    verdict.valid = 1;
    return verdict;
  }

 private:
  std::vector<ContainerOp> ops_;
  Insertions insertions_;
  std::vector<int32_t> next_;   // union-find: the next slot that no better value covers
  std::vector<int32_t> until_;  // by value: the slot in which it is removed

  int32_t free_from(int32_t slot) {
    slot = std::min(slot, static_cast<int32_t>(next_.size()) - 1);
    int32_t root = slot;
    while (next_[root] != root) root = next_[root];
    while (next_[slot] != root && next_[slot] != slot) slot = std::exchange(next_[slot], root);
    return root;
  }

  // The core: the better values that were inside, and those that kept them there.
  Verdict refuted(Verdict& verdict, int32_t value, int32_t stuck, int32_t from, int32_t to,
                  const char* how) {
    if (insertions_.open_removals) {
      verdict.how = "removals of unknown outcome";
      return verdict;
    }
    std::vector<int32_t> core{stuck};
    if (value < static_cast<int32_t>(insertions_.stays.size()))
      core.push_back(insertions_.stays[value].insert);
    for (int32_t better = value - 1; better >= 0; better--) {
      const Stay& v = insertions_.stays[better];
      if (v.insert < 0 || v.in_ret >= until_[better] || v.in_ret >= to || until_[better] <= from)
        continue;
      core.push_back(v.insert);
      core.push_back(v.remove);
      if (v.remove >= 0 && v.out_call < until_[better]) {
        from = std::min(from, v.out_call);
        to = std::max(to, until_[better]);
      }
    }
    Insertions::refute(verdict, how, std::move(core), stuck);
    return verdict;
  }
};

}  // namespace harness
