// FIFO queues whose values are enqueued once: four conditions, O(n log n).
//
// Henzinger, Sezgin & Vafeiadis 2013 (the violations of a queue), with operations of unknown
// outcome. An enqueue and a dequeue of one value bound each other; what was never dequeued is
// dequeued after the end. Pairs suffice where order matters, as both orders are interval orders.
#pragma once
#include "history.hpp"

namespace harness {

enum QueueKind : int32_t { ENQUEUE, DEQUEUE };

struct QueueOp {
  int32_t call, ret, kind, value;  // value: dense from 0, or -1 for a queue that was empty
};

class Fifo {
 public:
  // Undecided with "not unique" where a value is enqueued twice, and with "dequeues of unknown
  // outcome" where they might explain what else would be a violation.
  Verdict check(std::span<const QueueOp> ops, int32_t values) {
    ops_ = ops;
    verdict_ = {};
    verdict_.how = "fifo";
    values_.assign(values, {});
    open_dequeues_ = false;
    if (!match()) return verdict_;
    if (!in_order() || !empty_when_said()) {
      if (open_dequeues_) {
        verdict_ = {};
        verdict_.how = "dequeues of unknown outcome";
      }
      return verdict_;
    }
    verdict_.valid = 1;
    return verdict_;
  }

 private:
  struct Value {
    int32_t enqueue = -1, dequeue = -1;                     // operations
    int32_t in_call = 0, in_ret = NEVER;                    // bounds of when it came in
    int32_t out_call = NEVER, out_ret = NEVER;              // and of when it went out
  };
  std::span<const QueueOp> ops_;
  Verdict verdict_;
  std::vector<Value> values_;
  bool open_dequeues_ = false;

  bool refute(const char* how, std::vector<int32_t> core, int32_t stuck) {
    std::erase_if(core, [](int32_t i) { return i < 0; });
    std::sort(core.begin(), core.end());
    core.erase(std::unique(core.begin(), core.end()), core.end());
    verdict_.valid = 0;
    verdict_.how = how;
    verdict_.order = std::move(core);
    verdict_.stuck = stuck;
    return false;
  }

  bool match() {
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++) {
      const QueueOp& op = ops_[i];
      if (op.kind != ENQUEUE) continue;
      if (op.value < 0 || values_[op.value].enqueue >= 0) {
        verdict_.how = "not unique";
        return false;
      }
      values_[op.value].enqueue = i;
    }
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++) {
      const QueueOp& op = ops_[i];
      if (op.kind != DEQUEUE) continue;
      if (op.ret == NEVER) {
        open_dequeues_ = true;
      } else if (op.value >= 0) {
        Value& v = values_[op.value];
        if (v.dequeue >= 0) return refute("dequeued twice", {v.enqueue, v.dequeue, i}, i);
        v.dequeue = i;
      }
    }
    for (Value& v : values_) {
      if (v.dequeue >= 0 && v.enqueue < 0) return refute("never enqueued", {v.dequeue}, v.dequeue);
      if (v.enqueue < 0) continue;
      const QueueOp& in = ops_[v.enqueue];
      if (in.ret == NEVER && v.dequeue < 0) {  // it never happened, for all that is known
        v.enqueue = -1;
        continue;
      }
      v.in_call = in.call;
      v.in_ret = in.ret;
      if (v.dequeue < 0) continue;
      const QueueOp& out = ops_[v.dequeue];
      if (out.ret < in.call) return refute("dequeued before it was enqueued", {v.enqueue, v.dequeue}, v.dequeue);
      v.in_ret = std::min(in.ret, out.ret);
      v.out_call = std::max(out.call, in.call);
      v.out_ret = out.ret;
    }
    return true;
  }

  // Nothing goes out before what came in before it.
  bool in_order() {
    std::vector<const Value*> by_in_ret, by_in_call;
    for (const Value& v : values_) {
      if (v.enqueue < 0) continue;
      if (v.in_ret != NEVER) by_in_ret.push_back(&v);
      if (v.dequeue >= 0) by_in_call.push_back(&v);
    }
    sort_by_rank(by_in_ret, [](auto v) { return v->in_ret; });
    sort_by_rank(by_in_call, [](auto v) { return v->in_call; });
    const Value* last = nullptr;  // of those that came in before, the one that went out last
    size_t next = 0;
    for (const Value* b : by_in_call) {
      for (; next < by_in_ret.size() && by_in_ret[next]->in_ret < b->in_call; next++)
        if (!last || by_in_ret[next]->out_call > last->out_call) last = by_in_ret[next];
      if (last && last->out_call > b->out_ret)
        return refute("out of order", {last->enqueue, last->dequeue, b->enqueue, b->dequeue}, b->dequeue);
    }
    return true;
  }

  // Whoever found nothing did so at an instant at which nothing had to be there.
  bool empty_when_said() {
    struct Span {
      int32_t from, to;
      const Value* value;
    };
    std::vector<Span> inside;
    for (const Value& v : values_)
      if (v.enqueue >= 0 && v.in_ret < v.out_call) inside.push_back({v.in_ret, v.out_call, &v});
    std::sort(inside.begin(), inside.end(), [](const Span& a, const Span& b) { return a.from < b.from; });
    std::vector<std::pair<Span, size_t>> covered;  // merged, with the first of `inside` in each
    for (size_t i = 0; i < inside.size(); i++) {
      if (covered.empty() || inside[i].from > covered.back().first.to) {
        covered.push_back({inside[i], i});
      } else {
        covered.back().first.to = std::max(covered.back().first.to, inside[i].to);
      }
    }
    for (int32_t i = 0; i < static_cast<int32_t>(ops_.size()); i++) {
      const QueueOp& op = ops_[i];
      if (op.kind != DEQUEUE || op.value >= 0 || op.ret == NEVER) continue;
      auto after = std::upper_bound(covered.begin(), covered.end(), op.call,
                                    [](int32_t t, const auto& c) { return t < c.first.from; });
      if (after == covered.begin()) continue;
      const auto& [span, first] = *std::prev(after);
      if (span.from >= op.call || span.to <= op.ret) continue;
      std::vector<int32_t> core{i};  // a chain of values, each there before the last one is gone
      int32_t until = op.call;
      for (size_t k = first; until < op.ret;) {
        const Span* farthest = nullptr;
        for (; k < inside.size() && inside[k].from < until; k++)
          if (!farthest || inside[k].to > farthest->to) farthest = &inside[k];
        if (!farthest || farthest->to <= until) break;
        core.push_back(farthest->value->enqueue);
        core.push_back(farthest->value->dequeue);
        until = farthest->to;
      }
      return refute("empty while something was there", std::move(core), i);
    }
    return true;
  }
};

// Every key of a history by itself; the operations that a verdict names are rows.
inline std::vector<Verdict> check_fifos(std::span<const int64_t> call, std::span<const int64_t> ret,
                                        std::span<const int32_t> key, std::span<const int32_t> kind,
                                        std::span<const int32_t> value, int32_t keys) {
  size_t n = call.size();
  std::vector<int32_t> begin(keys + 1, 0), row(n);
  Ranks ranks(call, ret);
  auto key_of = [&](size_t i) { return key.empty() ? 0 : key[i]; };
  for (size_t i = 0; i < n; i++) begin[key_of(i) + 1]++;
  for (int32_t k = 0; k < keys; k++) begin[k + 1] += begin[k];
  std::vector<int32_t> next(begin.begin(), begin.end() - 1);
  std::vector<QueueOp> ops(n);
  for (size_t i = 0; i < n; i++) {
    int32_t at = next[key_of(i)]++;
    ops[at] = {ranks.call(i), ranks.ret(i), kind[i], value[i]};
    row[at] = static_cast<int32_t>(i);
  }
  std::vector<Verdict> verdicts;
  States values;
  Fifo fifo;
  for (int32_t k = 0; k < keys; k++) {
    std::span<QueueOp> mine = std::span(ops).subspan(begin[k], begin[k + 1] - begin[k]);
    values.begin();
    for (QueueOp& op : mine)
      if (op.value >= 0) op.value = values.of(op.value);
    Verdict v = fifo.check(mine, values.size());
    for (int32_t& i : v.order) i = row[begin[k] + i];
    if (v.stuck >= 0) v.stuck = row[begin[k] + v.stuck];
    verdicts.push_back(std::move(v));
  }
  return verdicts;
}

}  // namespace harness
