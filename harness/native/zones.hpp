// Registers whose every state is installed at most once: zones over chains, O(n).
//
// Gibbons & Korach 1997 and Golab, Li & Shah 2011, with chains of successful compare-and-set and
// operations of unknown outcome. A block is an installed value with the chain of values that were
// compare-and-set from it in turn; in a legal order each block is contiguous, and block C must
// precede block B iff some operation of C returns before some operation of B is called:
// f(C) < s(B), f = first return, s = last call. That relation is acyclic iff it has no 2-cycle.
#pragma once
#include "history.hpp"

namespace harness {

class Zones {
 public:
  // Undecided with "not unique" where a state is installed twice, an operation is opaque, or one
  // only excludes a state; a violation among the other operations is one of the whole history.
  Verdict check(const Partition& partition, int32_t states) {
    ops_ = partition.ops;
    verdict_ = {};
    if (partition.opaque || !find_writers(states)) return undecided();
    if (!activate() || !link_chains() || !walk_chains() || !compare_zones()) return verdict_;
    if (partition.all_buts) return undecided();
    verdict_.valid = 1;
    verdict_.how = "zones";
    return verdict_;
  }

 private:
  static constexpr int32_t NONE = -1, INIT = -2;
  struct State {
    int32_t writer, next;             // operations: the one that installs it, the swap from it
    int32_t first_return, last_call;  // of the operations that observe it
  };
  struct Zone {
    int32_t f, s, root;
  };

  std::span<const Op> ops_;
  Verdict verdict_;
  std::vector<State> states_;
  std::vector<char> active_;  // empty: all are active
  std::vector<Zone> forward_, backward_;
  std::vector<int32_t> pending_;

  int32_t size() const { return static_cast<int32_t>(ops_.size()); }
  bool is_active(int32_t i) const { return active_.empty() || active_[i]; }

  Verdict undecided() {
    verdict_ = {};
    verdict_.how = "not unique";
    return verdict_;
  }

  // The core is closed under writers: without the operation that installed an observed state, it
  // would be refuted for another reason than the history.
  bool refute(const char* how, std::vector<int32_t> core, int32_t stuck) {
    std::vector<char> in(ops_.size(), 0);
    std::vector<int32_t> closed;
    while (!core.empty()) {
      int32_t i = core.back();
      core.pop_back();
      if (i < 0 || in[i]) continue;
      in[i] = 1;
      closed.push_back(i);
      if (ops_[i].req >= 0) core.push_back(states_[ops_[i].req].writer);
    }
    std::sort(closed.begin(), closed.end());
    verdict_.valid = 0;
    verdict_.how = how;
    verdict_.order = std::move(closed);
    verdict_.stuck = stuck;
    return false;
  }

  bool find_writers(int32_t states) {
    states_.assign(states, {NONE, NONE, NEVER, -1});
    states_[0].writer = INIT;
    bool open = false;
    for (int32_t i = 0; i < size(); i++) {
      const Op& op = ops_[i];
      open = open || op.ret == NEVER;
      if (op.ins == KEEP) continue;
      if (states_[op.ins].writer != NONE) return false;
      states_[op.ins].writer = i;
    }
    active_.clear();
    if (open) active_.assign(ops_.size(), 0);
    return true;
  }

  // An operation of unknown outcome takes effect only if its state was observed.
  bool activate() {
    if (active_.empty()) return true;
    pending_.clear();
    for (int32_t i = 0; i < size(); i++)
      if (ops_[i].ret != NEVER) {
        active_[i] = 1;
        pending_.push_back(i);
      }
    while (!pending_.empty()) {
      int32_t i = pending_.back();
      pending_.pop_back();
      if (ops_[i].req < 0) continue;
      int32_t w = states_[ops_[i].req].writer;
      if (w == NONE) return refute("thin air", {i}, i);
      if (w == INIT || active_[w]) continue;
      active_[w] = 1;
      pending_.push_back(w);
    }
    return true;
  }

  bool link_chains() {
    for (int32_t i = 0; i < size(); i++) {
      const Op& op = ops_[i];
      if (op.req < 0 || !is_active(i)) continue;
      State& v = states_[op.req];
      if (v.writer == NONE) return refute("thin air", {i}, i);
      if (op.ins != KEEP) {
        if (v.next != NONE) return refute("two swaps from one value", {v.writer, v.next, i}, i);
        v.next = i;
        continue;
      }
      v.first_return = std::min(v.first_return, op.ret);
      v.last_call = std::max(v.last_call, op.call);
    }
    return true;
  }

  bool is_root(const State& v) const {
    return v.writer == INIT || (v.writer >= 0 && ops_[v.writer].req == ANY && is_active(v.writer));
  }

  std::vector<int32_t> chain(int32_t root) const {  // every swap of a block, and its writer
    std::vector<int32_t> ops{states_[root].writer};
    for (int32_t i = states_[root].next; i != NONE; i = states_[ops_[i].ins].next) ops.push_back(i);
    return ops;
  }

  // Ranks are distinct: at most one operation has this one.
  int32_t called_at(int32_t time) const {
    for (int32_t i = 0; i < size(); i++)
      if (ops_[i].call == time) return i;
    return -1;
  }
  int32_t returned_at(int32_t time) const {
    for (int32_t i = 0; i < size(); i++)
      if (ops_[i].ret == time) return i;
    return -1;
  }

  bool refute_chain(int32_t last_call, int32_t first_return) {
    int32_t early = returned_at(first_return);
    return refute("out of order in a chain", {called_at(last_call), early}, early);
  }

  bool walk_chains() {
    int32_t walked = 0, wanted = 0;
    forward_.clear();
    backward_.clear();
    for (int32_t root = 0; root < static_cast<int32_t>(states_.size()); root++) {
      const State& first = states_[root];
      if (first.writer == NONE || (first.writer >= 0 && !is_active(first.writer))) continue;
      wanted++;
      if (!is_root(first)) continue;
      int32_t w = first.writer;
      int32_t f = w == INIT ? -1 : ops_[w].ret;
      int32_t m = w == INIT ? -1 : ops_[w].call;
      for (int32_t at = root;;) {
        const State& v = states_[at];
        walked++;
        if (v.first_return < m) return refute_chain(m, v.first_return);
        f = std::min(f, v.first_return);
        m = std::max(m, v.last_call);
        if (v.next == NONE) break;
        const Op& swap = ops_[v.next];
        if (swap.ret < m) return refute_chain(m, swap.ret);
        f = std::min(f, swap.ret);
        m = std::max(m, swap.call);
        at = swap.ins;
      }
      if (w == INIT && m < 0) continue;  // the initial state was not observed
      (f < m ? forward_ : backward_).push_back({f, m, root});
    }
    if (walked == wanted) return true;
    return refute_cycle();
  }

  bool refute_cycle() {
    std::vector<char> reached(states_.size(), 0);
    for (int32_t root = 0; root < static_cast<int32_t>(states_.size()); root++) {
      if (!is_root(states_[root])) continue;
      reached[root] = 1;
      for (int32_t i = states_[root].next; i != NONE; i = states_[ops_[i].ins].next)
        reached[ops_[i].ins] = 1;
    }
    std::vector<int32_t> swaps;
    for (int32_t i = 0; i < size(); i++)
      if (ops_[i].ins != KEEP && is_active(i) && !reached[ops_[i].ins]) swaps.push_back(i);
    return refute("a cycle of swaps", std::move(swaps), -1);
  }

  bool refute_zones(const Zone& a, const Zone& b) {
    auto core = chain(a.root);
    for (int32_t i : chain(b.root)) core.push_back(i);
    for (const Zone& zone : {a, b}) {
      core.push_back(returned_at(zone.f));
      core.push_back(called_at(zone.s));
    }
    // The later of the two last calls is the observation that cannot be explained.
    return refute("two values must precede each other", std::move(core),
                  called_at(std::max(a.s, b.s)));
  }

  bool compare_zones() {
    sort_by_rank(forward_, [](const Zone& zone) { return zone.f; });
    for (size_t i = 1; i < forward_.size(); i++)
      if (forward_[i].f < forward_[i - 1].s) return refute_zones(forward_[i - 1], forward_[i]);
    sort_by_rank(backward_, [](const Zone& zone) { return zone.s; });
    size_t next = 0;  // the first forward zone that begins after the present backward one
    for (const Zone& zone : backward_) {
      while (next < forward_.size() && forward_[next].f < zone.s) next++;
      if (next > 0 && zone.f < forward_[next - 1].s) return refute_zones(forward_[next - 1], zone);
    }
    return true;
  }
};

}  // namespace harness
