// Registers whose every state is installed at most once: zones over chains, O(n log n).
//
// Gibbons & Korach 1997 and Golab, Li & Shah 2011, with chains of successful compare-and-set and
// operations of unknown outcome. A block is an installed value with everything that was
// compare-and-set from it in turn; in a legal order each block is contiguous, and block C must
// precede block B iff some operation of C returns before some operation of B is called:
// f(C) < s(B), f = first return, s = last call. That relation is acyclic iff it has no 2-cycle.
#pragma once
#include "history.hpp"

namespace harness {

class Zones {
 public:
  Zones(const Operations& ops, const Letters& letters) : o_(ops), l_(letters) {}

  // Undecided with reason "not unique" where a state is installed twice or a letter is opaque.
  Verdict check() {
    if (!find_writers()) return undecided("not unique");
    if (!activate()) return verdict_;
    if (!link_chains()) return verdict_;
    if (!walk_chains()) return verdict_;
    if (!compare_zones()) return verdict_;
    verdict_.valid = 1;
    return verdict_;
  }

 private:
  static constexpr int32_t NOBODY = -1, INIT = -2;
  struct Mark {  // an extreme of times and the operation that it belongs to
    int32_t time, op;
  };
  struct Zone {
    Mark f, s;
    int32_t root;
  };

  const Operations& o_;
  const Letters& l_;
  Verdict verdict_;
  std::vector<int32_t> writer_, next_, root_of_;
  std::vector<char> active_;
  std::vector<Mark> first_return_, last_call_;
  std::vector<Zone> zones_;

  int32_t req(int32_t i) const { return l_.requires_[o_.letter[i]]; }
  int32_t ins(int32_t i) const { return l_.installs[o_.letter[i]]; }

  Verdict undecided(const char* reason) {
    verdict_.valid = -1;
    verdict_.reason = reason;
    return verdict_;
  }

  // The core is closed under writers: without the one that installed what an operation saw, it
  // would be refuted for another reason than the history.
  bool refute(const char* reason, std::vector<int32_t> core, int32_t stuck) {
    std::vector<char> in(o_.size(), 0);
    std::vector<int32_t> closed;
    while (!core.empty()) {
      int32_t i = core.back();
      core.pop_back();
      if (i < 0 || in[i]) continue;
      in[i] = 1;
      closed.push_back(i);
      if (req(i) >= 0) core.push_back(writer_[req(i)]);
    }
    std::sort(closed.begin(), closed.end());
    core = std::move(closed);
    verdict_.valid = 0;
    verdict_.reason = reason;
    verdict_.order = std::move(core);
    verdict_.stuck = stuck;
    return false;
  }

  bool find_writers() {
    writer_.assign(l_.states, NOBODY);
    writer_[l_.init] = INIT;
    for (int32_t i = 0; i < o_.size(); i++) {
      if (l_.opaque(o_.letter[i])) return false;
      int32_t v = ins(i);
      if (v == KEEP) continue;
      if (writer_[v] != NOBODY) return false;
      writer_[v] = i;
    }
    return true;
  }

  // An operation of unknown outcome takes effect only where something observed it.
  bool activate() {
    active_.assign(o_.size(), 0);
    std::vector<int32_t> observed, observer;
    auto add = [&](int32_t i) {
      active_[i] = 1;
      if (req(i) != ANY) {
        observed.push_back(req(i));
        observer.push_back(i);
      }
    };
    for (int32_t i = 0; i < o_.size(); i++)
      if (o_.ret[i] != NEVER) add(i);
    while (!observed.empty()) {
      int32_t v = observed.back(), by = observer.back();
      observed.pop_back();
      observer.pop_back();
      int32_t w = writer_[v];
      if (w == NOBODY) return refute("thin air", {by}, by);
      if (w >= 0 && !active_[w]) add(w);
    }
    return true;
  }

  bool link_chains() {
    first_return_.assign(l_.states, {NEVER, -1});
    last_call_.assign(l_.states, {-1, -1});
    next_.assign(l_.states, NOBODY);
    for (int32_t i = 0; i < o_.size(); i++) {
      if (!active_[i] || req(i) == ANY) continue;
      int32_t v = req(i);
      if (ins(i) != KEEP) {
        if (next_[v] != NOBODY)
          return refute("two successors", {writer_[v], next_[v], i}, i);
        next_[v] = i;
        continue;
      }
      if (o_.ret[i] < first_return_[v].time) first_return_[v] = {o_.ret[i], i};
      if (o_.call[i] > last_call_[v].time) last_call_[v] = {o_.call[i], i};
    }
    return true;
  }

  bool is_root(int32_t v) const {
    int32_t w = writer_[v];
    return w == INIT || (w >= 0 && active_[w] && req(w) == ANY);
  }

  std::vector<int32_t> chain(int32_t root) const {  // every swap of a block, and its writer
    std::vector<int32_t> ops{writer_[root]};
    for (int32_t v = root; next_[v] != NOBODY; v = ins(next_[v])) ops.push_back(next_[v]);
    return ops;
  }

  bool refute_chain(Mark late, int32_t early) {
    return refute("out of order in a chain", {late.op, early}, early);
  }

  bool walk_chains() {
    int32_t walked = 0, wanted = 0;
    std::vector<char> reached(l_.states, 0);
    for (int32_t v = 0; v < l_.states; v++)
      if (writer_[v] == INIT || (writer_[v] >= 0 && active_[writer_[v]])) wanted++;
    for (int32_t root = 0; root < l_.states; root++) {
      if (!is_root(root)) continue;
      int32_t w = writer_[root];
      Mark f = w == INIT ? Mark{-1, -1} : Mark{o_.ret[w], w};
      Mark m = w == INIT ? Mark{-1, -1} : Mark{o_.call[w], w};
      for (int32_t v = root;;) {
        walked++;
        reached[v] = 1;
        if (first_return_[v].time < m.time) return refute_chain(m, first_return_[v].op);
        if (first_return_[v].time < f.time) f = first_return_[v];
        if (last_call_[v].time > m.time) m = last_call_[v];
        int32_t swap = next_[v];
        if (swap == NOBODY) break;
        if (o_.ret[swap] < m.time) return refute_chain(m, swap);
        if (o_.ret[swap] < f.time) f = {o_.ret[swap], swap};
        if (o_.call[swap] > m.time) m = {o_.call[swap], swap};
        v = ins(swap);
      }
      if (w == INIT && m.time < 0) continue;  // nobody saw the initial state
      zones_.push_back({f, m, root});
    }
    if (walked == wanted) return true;
    std::vector<int32_t> swaps;
    for (int32_t i = 0; i < o_.size(); i++)
      if (active_[i] && ins(i) != KEEP && !reached[ins(i)]) swaps.push_back(i);
    return refute("a cycle of swaps", std::move(swaps), -1);
  }

  bool refute_zones(const Zone& a, const Zone& b) {
    auto core = chain(a.root);
    for (int32_t i : chain(b.root)) core.push_back(i);
    for (int32_t i : {a.f.op, a.s.op, b.f.op, b.s.op}) core.push_back(i);
    // The one of the two last calls that comes later is the observation that cannot be explained.
    return refute("two values each before the other", std::move(core),
                  a.s.time > b.s.time ? a.s.op : b.s.op);
  }

  bool compare_zones() {
    std::vector<Zone> forward;
    for (const Zone& z : zones_)
      if (z.f.time < z.s.time) forward.push_back(z);
    std::sort(forward.begin(), forward.end(),
              [](const Zone& a, const Zone& b) { return a.f.time < b.f.time; });
    for (size_t i = 1; i < forward.size(); i++)
      if (forward[i].f.time < forward[i - 1].s.time)
        return refute_zones(forward[i - 1], forward[i]);
    for (const Zone& z : zones_) {
      if (z.f.time < z.s.time) continue;
      auto after = std::lower_bound(forward.begin(), forward.end(), z.s.time,
                                    [](const Zone& a, int32_t t) { return a.f.time < t; });
      if (after == forward.begin()) continue;
      const Zone& before = *std::prev(after);
      if (z.f.time < before.s.time) return refute_zones(before, z);
    }
    return true;
  }
};

}  // namespace harness
