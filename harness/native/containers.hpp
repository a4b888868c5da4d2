// Queues, stacks and priority queues, key by key.
#pragma once
#include "fifo.hpp"
#include "grouped.hpp"
#include "priority.hpp"
#include "stack.hpp"

namespace harness {

enum Discipline : int32_t { FIRST, LAST, LEAST };  // which value is removed next

// Replaces the values of a key by their ranks; returns how many distinct ones there are.
inline int32_t rank(std::span<ContainerOp> ops, std::vector<int32_t>& present) {
  present.clear();
  for (const ContainerOp& op : ops)
    if (op.value >= 0) present.push_back(op.value);
  std::sort(present.begin(), present.end());
  present.erase(std::unique(present.begin(), present.end()), present.end());
  for (ContainerOp& op : ops)
    if (op.value >= 0)
      op.value = static_cast<int32_t>(std::lower_bound(present.begin(), present.end(), op.value) -
                                      present.begin());
  return static_cast<int32_t>(present.size());
}

// Decides every key of a history; operations in the verdicts are rows. `value`: a number from 0, by
// which LEAST compares; -1: none.
inline std::vector<Verdict> check_containers(Discipline discipline, std::span<const int64_t> call,
                                             std::span<const int64_t> ret,
                                             std::span<const int32_t> key,
                                             std::span<const int32_t> kind,
                                             std::span<const int32_t> value, int32_t keys) {
  size_t n = call.size();
  Ranks ranks(call, ret);
  Grouped<ContainerOp> grouped(
      key, keys, n, 1, [](size_t) { return true; },
      [&](size_t i) -> ContainerOp { return {ranks.call(i), ranks.ret(i), kind[i], value[i]}; });
  std::vector<Verdict> verdicts;
  States values;
  std::vector<int32_t> present;
  Fifo fifo;
  Stack stack;
  PriorityQueue priority;
  for (int32_t k = 0; k < keys; k++) {
    std::span<ContainerOp> mine =
        std::span(grouped.items).subspan(grouped.begin[k], grouped.begin[k + 1] - grouped.begin[k]);
    int32_t many = 0;
    if (discipline == LEAST) {
      many = rank(mine, present);
    } else {
      values.begin();
      for (ContainerOp& op : mine)
        if (op.value >= 0) op.value = values.of(op.value);
      many = values.size();
    }
    Verdict v = discipline == FIRST  ? fifo.check(mine, many)
                : discipline == LAST ? stack.check(mine, many)
                                     : priority.check(mine, many);
    for (int32_t& i : v.order) i = grouped.row[grouped.begin[k] + i];
    if (v.stuck >= 0) v.stuck = grouped.row[grouped.begin[k] + v.stuck];
    verdicts.push_back(std::move(v));
  }
  return verdicts;
}

}  // namespace harness
