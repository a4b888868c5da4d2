// FIFO queues whose values are enqueued once: four conditions, O(n log n).
//
// Henzinger, Sezgin & Vafeiadis 2013 (the violations of a queue), with operations of unknown
// outcome. The enqueue and the dequeue of a value bound each other; a value that was never dequeued
// is treated as dequeued after the end. For order, pairs of values suffice, as both orders are
// interval orders.
#pragma once
#include "insertions.hpp"

namespace harness {

class Fifo {
 public:
  // Undecided with "not unique" where a value is enqueued twice, and with "removals of unknown
  // outcome" where such removals might explain an apparent violation.
  Verdict check(std::span<const ContainerOp> ops, int32_t values) {
    ops_ = ops;
    verdict_ = {};
    verdict_.how = "fifo";
    if (!insertions_.match(ops, values, verdict_)) return verdict_;
    if (!in_order() || !empty_results_fit()) {
      if (insertions_.open_removals) {
        verdict_ = {};
        verdict_.how = "removals of unknown outcome";
      }
      return verdict_;
    }
    verdict_.valid = 1;
    return verdict_;
  }

 private:
  std::span<const ContainerOp> ops_;
  Verdict verdict_;
  Insertions insertions_;

  bool refute(const char* how, std::vector<int32_t> core, int32_t stuck) {
    Insertions::refute(verdict_, how, std::move(core), stuck);
    return false;
  }

  // No value is dequeued before one that was enqueued before it.
  bool in_order() {
    std::vector<const Stay*> by_in_ret, by_in_call;
    for (const Stay& v : insertions_.stays) {
      if (v.insert < 0) continue;
      if (v.in_ret != NEVER) by_in_ret.push_back(&v);
      if (v.remove >= 0) by_in_call.push_back(&v);
    }
    sort_by_rank(by_in_ret, [](auto v) { return v->in_ret; });
    sort_by_rank(by_in_call, [](auto v) { return v->in_call; });
    const Stay* last = nullptr;  // of those enqueued before b, the one dequeued last
    size_t next = 0;
    for (const Stay* b : by_in_call) {
      for (; next < by_in_ret.size() && by_in_ret[next]->in_ret < b->in_call; next++)
        if (!last || by_in_ret[next]->out_call > last->out_call) last = by_in_ret[next];
      if (last && last->out_call > b->out_ret)
        return refute("out of order", {last->insert, last->remove, b->insert, b->remove},
                      b->remove);
    }
    return true;
  }

  // Each dequeue that found the queue empty has an instant at which no value is certainly inside.
  bool empty_results_fit() {
    struct Span {
      int32_t from, to;
      const Stay* value;
    };
    std::vector<Span> inside;
    for (const Stay& v : insertions_.stays)
      if (v.insert >= 0 && v.in_ret < v.out_call) inside.push_back({v.in_ret, v.out_call, &v});
    std::sort(inside.begin(), inside.end(),
              [](const Span& a, const Span& b) { return a.from < b.from; });
    std::vector<std::pair<Span, size_t>> covered;  // merged, with the first of `inside` in each
    for (size_t i = 0; i < inside.size(); i++) {
      if (covered.empty() || inside[i].from > covered.back().first.to) {
        covered.push_back({inside[i], i});
      } else {
        covered.back().first.to = std::max(covered.back().first.to, inside[i].to);
      }
    }
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++) {
      const ContainerOp& op = ops_[i];
      if (op.kind != REMOVE || op.value >= 0 || op.ret == NEVER) continue;
      auto after = std::upper_bound(covered.begin(), covered.end(), op.call,
                                    [](int32_t t, const auto& c) { return t < c.first.from; });
      if (after == covered.begin()) continue;
      const auto& [span, first] = *std::prev(after);
      if (span.from >= op.call || span.to <= op.ret) continue;
      std::vector<int32_t> core{i};  // values that were inside, each overlapping the one before
      int32_t until = op.call;
      for (size_t k = first; until < op.ret;) {
        const Span* farthest = nullptr;
        for (; k < inside.size() && inside[k].from < until; k++)
          if (!farthest || inside[k].to > farthest->to) farthest = &inside[k];
        if (!farthest || farthest->to <= until) break;
        core.push_back(farthest->value->insert);
        core.push_back(farthest->value->remove);
        until = farthest->to;
      }
      return refute("empty while a value was inside", std::move(core), i);
    }
    return true;
  }
};

}  // namespace harness
