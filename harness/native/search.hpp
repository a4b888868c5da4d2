// Linearizability of any deterministic model: depth-first search over configurations
// (frontier, window, state).
//
// Wing & Gong 1993 with Lowe's cache, but a configuration has constant size. The frontier is the
// number of completed operations linearized in return order without a gap; the window is a bit
// set of those linearized beyond it, by slot. States and transitions are interned ids, so a model
// written in Python is called once for each (state, letter); a letter is a distinct operation. Only
// failed configurations are kept: none occurs twice on one path. After a long time without progress
// the search backtracks some way and tries another order; failed configurations stay known.
//
// Pruning rules, each exact:
// - an operation that keeps every state in which it is legal is linearized as soon as it is legal;
// - a state is not left while a completed operation still requires it and nothing can restore it;
// - of identical operations only the one that must return first is tried;
// - identical operations of unknown outcome are used earliest call first, only if they change the
//   state, and a configuration that used more of them than a failed one fails, too;
// - where every operation names its states, an operation of unknown outcome is not used once no
//   remaining operation requires the state that it installs;
// - the state that the next return requires must be current, or installable before that return;
// - where the model knows which states can follow which (a list that only grows), no step makes the
//   state that the next completed operation requires unreachable, unless others can lead to it.
#pragma once
#include <bit>
#include <functional>
#include <unordered_map>

#include "nogoods.hpp"
#include "plan.hpp"

namespace harness {

// Callbacks into the model for opaque operations; states and letters are those of the columns.
struct Asked {
  std::function<int32_t(int32_t state, int32_t letter)> step;  // next state; -1: inconsistent
  std::function<bool(int32_t state, int32_t later)> reaches;   // by opaque steps; empty: unknown
  bool recurs = true;                                          // whether a state may recur
};

struct Budget {
  int64_t configurations, bytes;
};

// Called periodically; returns why the search should end, or nullptr.
using Poll = std::function<const char*()>;

class AnySearch {
 public:
  virtual ~AnySearch() = default;
  // Resumes the search until the key is decided or the budget is spent.
  virtual Verdict run(Budget budget, const Poll& poll) = 0;
  virtual int64_t bytes() const = 0;
};

template <int WORDS>
class Search final : public AnySearch {
 public:
  // `orders`: whether a valid verdict includes a linearization.
  Search(const Partition& partition, const Plan& plan, States& states, Asked* asked, bool orders)
      : o_(partition.ops),
        p_(plan),
        states_(states),
        asked_(asked),
        failed_(plan.classes.size()),
        opaque_(partition.opaque),
        all_buts_(partition.all_buts),
        orders_(orders) {
    completed_ = static_cast<int32_t>(p_.by_return.size());
    used_.assign(p_.classes.size(), 0);
    at_.assign(p_.slots, -1);
    before_.assign(o_.size(), -1);
    tried_.assign(p_.letters, -1);
    make_room();
    for (const Op& op : o_) count(op, +1);
    if (asked_ && asked_->reaches)
      for (int32_t i = 0; i < static_cast<int32_t>(o_.size()); i++)
        if (o_[i].req != OPAQUE && o_[i].ins >= 0) named_.push_back(i);
  }

  Verdict run(Budget budget, const Poll& poll) override {
    verdict_ = {};
    int64_t until = configurations_ + budget.configurations;
    if (!begun_) {
      begun_ = true;
      if (int32_t i = thin_air(); i >= 0) {
        verdict_.order = {i};
        return refuted(i);
      }
      open_up_to(0);
      if (enter()) return found();
    }
    while (!frames_.empty()) {
      if (!next_candidate()) {
        failed_.add(mask_, frontier_, state_, used_);
        frames_.pop_back();
        if (!frames_.empty()) undo();
        continue;
      }
      if (enter()) return found();
      if (configurations_ > restart_at_) restart();
      if (configurations_ > until) return spent("configurations");
      if (bytes() > budget.bytes) return spent("memory");
      if (configurations_ >= poll_at_) {
        poll_at_ = configurations_ + 1024;
        if (const char* why = poll()) return spent(why);
      }
    }
    return refuted(p_.by_return[deepest_]);
  }

  int64_t bytes() const override {
    return failed_.bytes() + asked_bytes_ + p_.bytes() +
           4 * static_cast<int64_t>(at_.size() + before_.size() + tried_.size() + 3 * need_.size() +
                                    named_.size()) +
           static_cast<int64_t>(trail_.capacity() * sizeof(Taken) +
                                frames_.capacity() * sizeof(Frame) +
                                candidates_.capacity() * sizeof(Candidate));
  }

 private:
  using Mask = typename Nogoods<WORDS>::Mask;
  struct Taken {  // the configuration before a step, and the step
    Mask mask;
    int32_t state, frontier, op, cls, reads;
  };
  struct Frame {
    int32_t begin, end, next;  // in candidates_; begin is FORGOTTEN where they must be found again
  };
  struct Candidate {
    int32_t op, to, cls;
  };
  static constexpr int32_t FORGOTTEN = -1;
  static constexpr size_t NAMED_MAX = 4096;  // with more, may_return() does not search them
  static constexpr size_t CANDIDATES_MAX = 1 << 20;

  std::span<const Op> o_;
  const Plan& p_;
  States& states_;
  Asked* asked_;
  Nogoods<WORDS> failed_;
  bool opaque_, all_buts_, orders_, begun_ = false;
  Verdict verdict_;
  int64_t configurations_ = 0, asked_bytes_ = 0, poll_at_ = 1024, scanned_ = 0;
  static constexpr int64_t PATIENCE = 8192;
  int64_t patience_ = PATIENCE, restart_at_ = PATIENCE;
  int32_t order_ = 0;
  int32_t completed_, frontier_ = 0, state_ = 0, deepest_ = 0, called_ = 0;
  Mask mask_{}, open_{}, reads_{};           // linearized, called and not returned, read-only
  std::vector<int32_t> at_, before_;         // operation by slot; the previous one there
  std::vector<int32_t> need_, want_, make_;  // by state, operations not linearized: completed and
                                             // unknown ones that require it, all that install it
  typename Nogoods<WORDS>::Counts used_;
  std::vector<Taken> trail_;
  std::vector<Frame> frames_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> tried_;  // by letter: index in candidates_
  std::unordered_map<uint64_t, int32_t> steps_;
  std::unordered_map<uint64_t, bool> reached_;
  std::vector<int32_t> named_;  // operations that install a named state, by call
  std::unordered_map<int32_t, std::vector<int32_t>> leading_;  // by state: the ones leading to it
  int32_t needed_ = -1;                                        // see next_needed()

  static bool test(const Mask& mask, int32_t slot) { return mask[slot >> 6] >> (slot & 63) & 1; }
  static void set(Mask& mask, int32_t slot) { mask[slot >> 6] |= 1ull << (slot & 63); }
  static void clear(Mask& mask, int32_t slot) { mask[slot >> 6] &= ~(1ull << (slot & 63)); }

  Verdict& result(int valid, const char* how) {
    verdict_.valid = valid;
    verdict_.how = how;
    verdict_.configurations = configurations_;
    verdict_.bytes = bytes();
    return verdict_;
  }

  Verdict spent(const char* what) {
    verdict_.stuck = p_.by_return[std::min(deepest_, completed_ - 1)];
    return result(-1, what);
  }

  Verdict refuted(int32_t stuck) {
    verdict_.stuck = stuck;
    return result(0, "search");
  }

  // Replays the path to list the linearization with its read-only operations.
  Verdict found() {
    if (!orders_) return result(1, "search");
    std::vector<Taken> path = trail_;
    while (!trail_.empty()) undo();
    while (frontier_ > 0) step_back();  // reads before the first step belong to no step
    mask_ = {};
    collect_ = &verdict_.order;
    take_reads();
    for (const Taken& t : path) {
      verdict_.order.push_back(t.op);
      trail_.clear();
      take(t.op, t.cls, step(state_, o_[t.op]));
    }
    collect_ = nullptr;
    return result(1, "search");
  }
  std::vector<int32_t>* collect_ = nullptr;

  void make_room() {
    auto states = static_cast<size_t>(states_.size());
    if (states <= need_.size()) return;
    need_.resize(states, 0);
    want_.resize(states, 0);
    make_.resize(states, 0);
  }

  void count(const Op& op, int32_t by) {
    if (op.req >= 0) (op.ret == NEVER ? want_ : need_)[op.req] += by;
    if (op.ins >= 0 && op.req != OPAQUE) make_[op.ins] += by;
  }

  // A completed operation that requires a state which no operation installs, or -1.
  int32_t thin_air() const {
    if (opaque_) return -1;
    for (int32_t i : p_.by_return) {
      int32_t r = o_[i].req;
      if (r > 0 && make_[r] == 0) return i;
    }
    return -1;
  }

  int32_t step(int32_t state, const Op& op) {
    if (op.req != OPAQUE) return !op.legal(state) ? -1 : op.ins == KEEP ? state : op.ins;
    uint64_t key = static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(op.ins);
    auto [it, fresh] = steps_.try_emplace(key, -1);
    if (fresh) {
      int32_t to = asked_->step(states_.global(state), op.ins);
      if (to >= 0) to = states_.of(to);
      make_room();
      asked_bytes_ += 48;
      it->second = to;
    }
    return it->second;
  }

  // --- the window

  void open_up_to(int32_t frontier) {
    for (; called_ < p_.called[frontier]; called_++) {
      int32_t i = p_.by_call[called_], s = p_.slot[i];
      before_[i] = at_[s];
      at_[s] = i;
      set(open_, s);
      if (o_[i].read_only()) set(reads_, s);
    }
  }

  bool step_forward() {  // past a return whose operation is linearized; false at the end
    int32_t s = p_.slot[p_.by_return[frontier_]];
    clear(mask_, s);
    clear(open_, s);
    clear(reads_, s);
    if (++frontier_ == completed_) return false;
    open_up_to(frontier_);
    return true;
  }

  void step_back() {
    int32_t called = p_.called[frontier_ - 1];
    if (frontier_ < completed_)
      while (called_ > called) {
        int32_t i = p_.by_call[--called_], s = p_.slot[i];
        clear(open_, s);
        clear(reads_, s);
        at_[s] = before_[i];
      }
    int32_t i = p_.by_return[--frontier_], s = p_.slot[i];
    set(open_, s);
    if (o_[i].read_only()) set(reads_, s);
  }

  // Linearizes read-only operations that are legal in the present state and moves the frontier;
  // returns how many of them require that state.
  int32_t take_reads() {
    int32_t taken = 0;
    for (bool changed = true; changed;) {
      changed = false;
      for (int w = 0; w < WORDS; w++)
        for (uint64_t bits = reads_[w] & ~mask_[w]; bits; bits &= bits - 1) {
          int32_t i = at_[w * 64 + std::countr_zero(bits)];
          const Op& op = o_[i];
          if (!op.legal(state_)) continue;
          mask_[w] |= bits & -bits;
          if (op.req >= 0) taken++;
          if (collect_) collect_->push_back(i);
        }
      while (test(mask_, p_.slot[p_.by_return[frontier_]])) {
        changed = true;
        if (!step_forward()) break;
      }
      if (frontier_ == completed_) break;
    }
    need_[state_] -= taken;
    return taken;
  }

  void take(int32_t i, int32_t cls, int32_t to) {
    trail_.push_back({mask_, state_, frontier_, i, cls, 0});
    count(o_[i], -1);
    state_ = to;
    if (cls >= 0) {
      used_[cls]++;
    } else {
      set(mask_, p_.slot[i]);
    }
    trail_.back().reads = take_reads();
  }

  void undo() {
    const Taken& t = trail_.back();
    need_[state_] += t.reads;
    while (frontier_ > t.frontier) step_back();
    mask_ = t.mask;
    state_ = t.state;
    count(o_[t.op], +1);
    if (t.cls >= 0) used_[t.cls]--;
    trail_.pop_back();
  }

  // --- candidates

  // Enters the configuration that the last step produced; true at the end of the history. One that
  // is known to fail is undone.
  bool enter() {
    if (frames_.empty()) take_reads();
    if (frontier_ == completed_) return true;
    if (frontier_ > deepest_) {
      deepest_ = frontier_;
      patience_ = PATIENCE;
      restart_at_ = configurations_ + patience_;
    }
    if (!frames_.empty() && failed_.has(mask_, frontier_, state_, used_, scanned_)) {
      undo();
      return false;
    }
    configurations_ += 1 + (scanned_ >> 6);  // scanned nogoods count as work
    scanned_ &= 63;
    if (candidates_.size() > CANDIDATES_MAX) forget_candidates();
    auto begin = static_cast<int32_t>(candidates_.size());
    if (can_be_met()) find_candidates(begin);
    frames_.push_back({begin, static_cast<int32_t>(candidates_.size()), 0});
    return false;
  }

  // Whether the state that the next return requires can still be installed before it.
  bool can_be_met() {
    const Op& due = o_[p_.by_return[frontier_]];
    if (due.req < 0 || due.req == state_ || opaque_) return true;
    for (int w = 0; w < WORDS; w++)
      for (uint64_t bits = open_[w] & ~mask_[w] & ~reads_[w]; bits; bits &= bits - 1)
        if (o_[at_[w * 64 + std::countr_zero(bits)]].ins == due.req) return true;
    for (size_t c = 0; c < used_.size(); c++) {
      if (used_[c] == p_.classes[c].size()) continue;
      const Op& op = o_[p_.classes[c][used_[c]]];
      if (op.ins == due.req && op.call < due.ret) return true;
    }
    return false;
  }

  // Linearizes the next candidate of the configuration; false if none is left.
  bool next_candidate() {
    Frame& f = frames_.back();
    if (f.begin == FORGOTTEN) {  // those tried before are nogoods now; the order may differ
      f.next = 0;
      f.begin = static_cast<int32_t>(candidates_.size());
      find_candidates(f.begin);
      f.end = static_cast<int32_t>(candidates_.size());
    }
    if (f.begin + f.next == f.end) {
      candidates_.resize(f.begin);
      return false;
    }
    Candidate c = candidates_[f.begin + f.next++];
    take(c.op, c.cls, c.to);
    return true;
  }

  // After a long time without progress: backtracks some way and tries another order. Failed
  // configurations stay known, and the patience grows, so that the search remains complete.
  void restart() {
    patience_ += patience_ / 64;
    restart_at_ = configurations_ + patience_;
    int32_t back = deepest_ - (16 << (order_ % 8));
    while (frames_.size() > 1 && frontier_ > back) {
      Frame& f = frames_.back();
      if (f.begin != FORGOTTEN) candidates_.resize(f.begin);
      frames_.pop_back();
      undo();
    }
    Frame& f = frames_.back();
    if (f.begin != FORGOTTEN) candidates_.resize(f.begin);
    f = {FORGOTTEN, 0, 0};
    order_++;
  }

  void forget_candidates() {
    for (Frame& f : frames_) f.begin = FORGOTTEN;
    candidates_.clear();
  }

  bool may_leave(const Op& op, int32_t to) {
    bool consumes = op.ret != NEVER && op.req == state_;
    return need_[state_] - (consumes ? 1 : 0) == 0 || make_[state_] > 0 ||
           (opaque_ && may_return(to));
  }

  // Whether the present state may recur after `to`, or after an operation that names its state.
  bool may_return(int32_t to) {
    if (!asked_->recurs) return false;
    if (!asked_->reaches || named_.size() > NAMED_MAX || reaches(to, state_)) return true;
    auto [it, fresh] = leading_.try_emplace(state_);
    if (fresh) {
      for (int32_t i : named_)
        if (reaches(o_[i].ins, state_)) it->second.push_back(i);
      asked_bytes_ += 64 + 4 * static_cast<int64_t>(it->second.size());
    }
    int32_t due = o_[p_.by_return[frontier_]].ret;
    return std::any_of(it->second.rbegin(), it->second.rend(), [&](int32_t i) {
      return o_[i].ret == NEVER || (o_[i].ret >= due && !linearized(i));
    });
  }

  bool linearized(int32_t i) const { return at_[p_.slot[i]] == i && test(mask_, p_.slot[i]); }

  // The state that the next completed operation with a required state needs; -1 if operations that
  // install named states can lead to it whatever is linearized now, or if none is known.
  int32_t next_needed() {
    for (int32_t k = frontier_, end = std::min(completed_, frontier_ + 256); k < end; k++) {
      int32_t i = p_.by_return[k];
      if (o_[i].req < 0 || linearized(i)) continue;
      if (o_[i].ins != KEEP) return -1;  // it may be the one linearized now
      return is_led_to(o_[i].req, o_[i].ret) ? -1 : o_[i].req;
    }
    return -1;
  }

  bool is_led_to(int32_t state, int32_t deadline) {
    auto leads = [&](const Op& op) {
      return op.req != OPAQUE && op.ins >= 0 && reaches(op.ins, state);
    };
    for (int w = 0; w < WORDS; w++)
      for (uint64_t bits = open_[w] & ~mask_[w] & ~reads_[w]; bits; bits &= bits - 1)
        if (leads(o_[at_[w * 64 + std::countr_zero(bits)]])) return true;
    for (auto k = static_cast<size_t>(called_);
         k < p_.by_call.size() && o_[p_.by_call[k]].call < deadline; k++)
      if (leads(o_[p_.by_call[k]])) return true;
    for (size_t c = 0; c < used_.size(); c++)
      if (used_[c] < p_.classes[c].size() && leads(o_[p_.classes[c][used_[c]]])) return true;
    return false;
  }

  bool reaches(int32_t state, int32_t later) {
    if (state == later) return true;
    uint64_t key = static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(later);
    auto it = reached_.find(key);
    if (it == reached_.end()) {
      it = reached_.emplace(key, asked_->reaches(states_.global(state), states_.global(later)))
               .first;
      asked_bytes_ += 48;
    }
    return it->second;
  }

  bool leads_away(int32_t to) { return needed_ >= 0 && !reaches(to, needed_); }

  void find_candidates(int32_t begin) {
    if (asked_ && asked_->reaches) needed_ = next_needed();
    int32_t due = p_.by_return[frontier_];
    for (int w = 0; w < WORDS; w++)
      for (uint64_t bits = open_[w] & ~mask_[w] & ~reads_[w]; bits; bits &= bits - 1) {
        int32_t i = at_[w * 64 + std::countr_zero(bits)];
        const Op& op = o_[i];
        int32_t& known = tried_[p_.letter[i]];
        if (known >= begin && known < static_cast<int32_t>(candidates_.size()) &&
            p_.letter[candidates_[known].op] == p_.letter[i]) {
          if (op.ret < o_[candidates_[known].op].ret) candidates_[known].op = i;
          continue;
        }
        int32_t to = step(state_, op);
        if (to < 0 || (to != state_ && (!may_leave(op, to) || leads_away(to)))) continue;
        known = static_cast<int32_t>(candidates_.size());
        candidates_.push_back({i, to, -1});
      }
    int32_t needed = o_[due].req;
    // In turn: the operation due, then those that make it legal, then by return; by return alone;
    // as the first, with a random order for returns; random alone.
    bool by_demand = order_ % 4 == 0 || order_ % 4 == 2, by_chance = order_ % 4 >= 2;
    auto rank = [&](const Candidate& c) -> int64_t {
      int64_t first = !by_demand || c.op == due ? 0 : needed >= 0 && c.to == needed ? 1 : 2;
      uint64_t chance =
          mix(static_cast<uint64_t>(c.op) << 32 ^ static_cast<uint64_t>(order_)) & INT32_MAX;
      return first << 32 | (by_chance ? static_cast<int64_t>(chance) : o_[c.op].ret);
    };
    std::sort(candidates_.begin() + begin, candidates_.end(),
              [&](const Candidate& a, const Candidate& b) { return rank(a) < rank(b); });
    add_unknown();
  }

  void add_unknown() {
    int32_t deadline = o_[p_.by_return[frontier_]].ret;
    for (size_t c = 0; c < used_.size(); c++) {
      if (used_[c] == p_.classes[c].size()) continue;
      int32_t i = p_.classes[c][used_[c]];
      const Op& op = o_[i];
      if (op.call > deadline) continue;
      int32_t to = step(state_, op);
      if (to < 0 || to == state_ || !may_leave(op, to) || leads_away(to)) continue;
      if (!opaque_ && !all_buts_ && need_[to] == 0 && want_[to] == 0) continue;
      candidates_.push_back({i, to, static_cast<int32_t>(c)});
    }
  }
};

}  // namespace harness
