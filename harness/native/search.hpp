// Linearizability of any deterministic model: depth-first search over configurations
// (frontier, window, state).
//
// Wing & Gong 1993 with Lowe's cache, but a configuration has constant size. The frontier is the
// number of completed operations linearized in return order without a gap; the window is a bit
// set of those linearized beyond it, by slot: slots colour the interval graph, so there are only
// as many as operations were ever open at once. States and transitions are interned ids, so a
// model written in Python is asked once for each (state, letter).
//
// What prunes, each exact:
// - an operation legal in one state only, which it keeps, is linearized as soon as it is legal;
// - a state is not left while a completed operation still needs it and nothing can bring it back;
// - of identical operations only the one that must return first is tried;
// - identical operations of unknown outcome are used earliest call first, only if they change the
//   state, and a configuration that used more of them than one already visited is dominated;
// - where every letter names its states, one whose state nobody needs any more is not used;
// - where the model knows which states can follow which (a list that only grows), no step leads
//   away from the state that the next completed operation needs.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <queue>
#include <unordered_map>

#include "history.hpp"

namespace harness {

struct Budget {
  int64_t configurations, bytes;
};

// What every mask width shares: slots, return order, classes of unknown outcome.
struct Plan {
  std::vector<int32_t> by_return, by_call, slot;
  std::vector<std::vector<int32_t>> classes;  // unknown outcomes, a class a letter, by call
  int32_t slots = 0;

  Plan(const Operations& ops) {
    std::map<int32_t, std::vector<int32_t>> open;
    std::vector<std::pair<int32_t, int32_t>> events;
    slot.assign(ops.size(), 0);
    for (int32_t i = 0; i < ops.size(); i++) {
      if (ops.ret[i] == NEVER) {
        open[ops.letter[i]].push_back(i);
        continue;
      }
      by_return.push_back(i);
      events.push_back({ops.call[i], i});
      events.push_back({ops.ret[i], ~i});
    }
    by_call = by_return;
    std::sort(by_return.begin(), by_return.end(),
              [&](int32_t a, int32_t b) { return ops.ret[a] < ops.ret[b]; });
    auto calls_first = [&](int32_t a, int32_t b) { return ops.call[a] < ops.call[b]; };
    std::sort(by_call.begin(), by_call.end(), calls_first);
    for (auto& [letter, members] : open) {
      std::sort(members.begin(), members.end(), calls_first);
      classes.push_back(std::move(members));
    }
    std::sort(events.begin(), events.end());
    std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> free;
    for (auto [time, op] : events) {
      if (op < 0) {
        free.push(slot[~op]);
      } else if (free.empty()) {
        slot[op] = slots++;
      } else {
        slot[op] = free.top();
        free.pop();
      }
    }
  }
};

inline uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  x ^= x >> 32;
  x *= 0xd6e8feb86659fd93ull;
  return x ^ (x >> 32);
}

template <int WORDS>
class Search {
 public:
  using Step = std::function<int32_t(int32_t state, int32_t letter)>;  // -1: inconsistent
  using Reaches = std::function<bool(int32_t state, int32_t later)>;
  using Poll = std::function<void()>;  // may throw, to interrupt

  Search(const Operations& ops, const Letters& letters, const Plan& plan, bool recurs, Step step,
         Reaches reaches, Poll poll, Budget budget)
      : o_(ops), l_(letters), p_(plan), recurs_(recurs), ask_(std::move(step)),
        ask_reaches_(std::move(reaches)), poll_(std::move(poll)), budget_(budget), state_(letters.init) {
    completed_ = static_cast<int32_t>(p_.by_return.size());
    used_.assign(p_.classes.size(), 0);
    done_.assign(o_.size(), 0);
    head_ = o_.size();
    after_.assign(o_.size() + 1, head_);
    before_.assign(o_.size() + 1, head_);
    int32_t last = head_;
    for (int32_t i : p_.by_call) {
      after_[last] = i;
      before_[i] = last;
      last = i;
    }
    after_[last] = head_;
    before_[head_] = last;
    need_.assign(l_.states, 0);
    want_.assign(l_.states, 0);
    make_.assign(l_.states, 0);
    for (int32_t i = 0; i < o_.size(); i++) {
      if (l_.opaque(letter(i))) opaque_ = true;
      count(i, +1);
    }
  }

  Verdict run() {
    if (int32_t i = thin_air(); i >= 0) return refuted(i);
    int outcome = enter(0);
    while (outcome != FOUND && !frames_.empty()) {
      Frame& f = frames_.back();
      if (f.next == f.end) {
        candidates_.resize(f.begin);
        size_t mark = f.mark;
        frames_.pop_back();
        undo_to(mark);
        continue;
      }
      Candidate c = candidates_[f.next++];
      size_t mark = trail_.size();
      take(c.op, c.to, c.cls);
      outcome = enter(mark);
      if (outcome == DEAD) undo_to(mark);
      if (verdict_.configurations > budget_.configurations) return spent("configurations");
      if (bytes_ > budget_.bytes) return spent("memory");
    }
    verdict_.bytes = bytes_;
    if (outcome != FOUND) return refuted(p_.by_return[deepest_]);
    verdict_.valid = 1;
    for (const Taken& t : trail_) verdict_.order.push_back(t.op);
    return verdict_;
  }

 private:
  enum { DEAD, PUSHED, FOUND };
  using Mask = std::array<uint64_t, WORDS>;
  struct Key {
    Mask mask;
    int32_t frontier, state;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& k) const {
      uint64_t x = mix((static_cast<uint64_t>(k.frontier) << 32) ^ static_cast<uint32_t>(k.state));
      for (uint64_t word : k.mask) x = mix(x ^ word);
      return x;
    }
  };
  using Counts = std::vector<uint32_t>;
  struct Taken {
    int32_t op, frontier, state, cls;
    Mask mask;
  };
  struct Frame {
    size_t mark, begin, end, next;
  };
  struct Candidate {
    int32_t op, to, cls;
  };

  const Operations& o_;
  const Letters& l_;
  const Plan& p_;
  bool recurs_, opaque_ = false;
  Step ask_;
  Reaches ask_reaches_;  // empty: not known
  Poll poll_;
  Budget budget_;
  Verdict verdict_;
  int32_t completed_, head_, frontier_ = 0, state_, deepest_ = 0;
  Mask mask_{};
  std::vector<int32_t> after_, before_;       // ring of the completed operations still to come
  std::vector<int32_t> need_, want_, make_;   // per state: to come, completed / open / installing
  std::vector<char> done_;
  Counts used_;
  std::vector<Taken> trail_;
  std::vector<Frame> frames_;
  std::vector<Candidate> candidates_;
  std::unordered_map<Key, std::vector<Counts>, Hash> visited_;
  std::unordered_map<uint64_t, int32_t> steps_;
  std::unordered_map<uint64_t, bool> reached_;
  int32_t needed_ = -1;  // the state that the next completed operation with one needs
  int64_t bytes_ = 0;

  int32_t letter(int32_t i) const { return o_.letter[i]; }
  int32_t deadline() const { return o_.ret[p_.by_return[frontier_]]; }

  Verdict spent(const char* what) {
    verdict_.valid = -1;
    verdict_.reason = what;
    verdict_.bytes = bytes_;
    verdict_.stuck = p_.by_return[std::min(deepest_, completed_ - 1)];
    return verdict_;
  }

  Verdict refuted(int32_t stuck) {
    verdict_.valid = 0;
    verdict_.reason = "search";
    verdict_.stuck = stuck;
    return verdict_;
  }

  void count(int32_t i, int32_t by) {
    int32_t x = letter(i);
    if (l_.requires_[x] >= 0) (o_.ret[i] == NEVER ? want_ : need_)[l_.requires_[x]] += by;
    if (l_.installs[x] >= 0) make_[l_.installs[x]] += by;
  }

  // A state needed by a completed operation that nothing can ever install.
  int32_t thin_air() const {
    if (opaque_) return -1;
    for (int32_t i : p_.by_return) {
      int32_t r = l_.requires_[letter(i)];
      if (r >= 0 && r != l_.init && make_[r] == 0) return i;
    }
    return -1;
  }

  int32_t step(int32_t state, int32_t x) {
    int32_t r = l_.requires_[x];
    if (r != OPAQUE) {
      if (r != ANY && r != state) return -1;
      return l_.installs[x] == KEEP ? state : l_.installs[x];
    }
    uint64_t key = static_cast<uint64_t>(state) << 32 | static_cast<uint32_t>(x);
    auto [it, fresh] = steps_.try_emplace(key, -1);
    if (fresh) {
      int32_t to = ask_(state, x);
      it = steps_.find(key);
      it->second = to;
      bytes_ += 48;
      size_t states = static_cast<size_t>(std::max(to, state)) + 1;
      if (states > need_.size()) {
        need_.resize(states, 0);
        want_.resize(states, 0);
        make_.resize(states, 0);
      }
    }
    return it->second;
  }

  void take(int32_t i, int32_t to, int32_t cls) {
    trail_.push_back({i, frontier_, state_, cls, mask_});
    count(i, -1);
    done_[i] = 1;
    state_ = to;
    if (cls >= 0) {
      used_[cls]++;
      return;
    }
    after_[before_[i]] = after_[i];
    before_[after_[i]] = before_[i];
    mask_[p_.slot[i] >> 6] |= 1ull << (p_.slot[i] & 63);
    while (frontier_ < completed_ && done_[p_.by_return[frontier_]]) {
      int32_t s = p_.slot[p_.by_return[frontier_++]];
      mask_[s >> 6] &= ~(1ull << (s & 63));
    }
  }

  void undo_to(size_t mark) {
    while (trail_.size() > mark) {
      Taken& t = trail_.back();
      count(t.op, +1);
      done_[t.op] = 0;
      frontier_ = t.frontier;
      state_ = t.state;
      mask_ = t.mask;
      if (t.cls >= 0) {
        used_[t.cls]--;
      } else {
        after_[before_[t.op]] = t.op;
        before_[after_[t.op]] = t.op;
      }
      trail_.pop_back();
    }
  }

  void take_reads() {
    for (bool changed = true; changed && frontier_ < completed_;) {
      changed = false;
      for (int32_t i = after_[head_], next; i != head_ && o_.call[i] < deadline(); i = next) {
        next = after_[i];
        if (!l_.read_only(letter(i)) || l_.requires_[letter(i)] != state_) continue;
        take(i, state_, -1);
        changed = true;
        if (frontier_ == completed_) return;
      }
    }
  }

  // False if this configuration, or one that used no more of the unknown outcomes, was visited.
  bool visit() {
    auto [it, fresh] = visited_.try_emplace(Key{mask_, frontier_, state_});
    if (fresh) bytes_ += sizeof(Key) + 64;
    if (used_.empty()) return fresh;
    auto covers = [](const Counts& a, const Counts& b) {  // a used no more than b, class by class
      for (size_t c = 0; c < a.size(); c++)
        if (a[c] > b[c]) return false;
      return true;
    };
    auto& seen = it->second;
    verdict_.configurations += static_cast<int64_t>(seen.size()) / 64;  // the scan is work too
    for (const Counts& c : seen)
      if (covers(c, used_)) return false;
    auto size = static_cast<int64_t>(sizeof(Counts) + 4 * used_.size());
    bytes_ -= size * static_cast<int64_t>(
                         std::erase_if(seen, [&](const Counts& c) { return covers(used_, c); }));
    seen.push_back(used_);
    bytes_ += size;
    return true;
  }

  bool may_leave(int32_t i) const {
    if (make_[state_] > 0 || (opaque_ && recurs_)) return true;
    bool consumes = o_.ret[i] != NEVER && l_.requires_[letter(i)] == state_;
    return need_[state_] - (consumes ? 1 : 0) == 0;
  }

  int32_t next_needed() const {
    for (int32_t k = frontier_, end = std::min(completed_, frontier_ + 256); k < end; k++) {
      int32_t i = p_.by_return[k];
      if (!done_[i] && l_.requires_[letter(i)] >= 0) return l_.requires_[letter(i)];
    }
    return -1;
  }

  bool leads_away(int32_t to) {
    if (!ask_reaches_ || needed_ < 0) return false;
    uint64_t key = static_cast<uint64_t>(to) << 32 | static_cast<uint32_t>(needed_);
    auto it = reached_.find(key);
    if (it == reached_.end()) {
      it = reached_.emplace(key, ask_reaches_(to, needed_)).first;
      bytes_ += 48;
    }
    return !it->second;
  }

  int enter(size_t mark) {
    take_reads();
    deepest_ = std::max(deepest_, std::min(frontier_, completed_ - 1));
    if (frontier_ == completed_) return FOUND;
    if (!visit()) return DEAD;
    if ((++verdict_.configurations & 1023) == 0) poll_();
    if (ask_reaches_) needed_ = next_needed();
    size_t begin = candidates_.size();
    add_completed(begin);
    add_open();
    frames_.push_back({mark, begin, candidates_.size(), begin});
    return PUSHED;
  }

  void add_completed(size_t begin) {
    for (int32_t i = after_[head_]; i != head_ && o_.call[i] < deadline(); i = after_[i]) {
      int32_t to = step(state_, letter(i));
      if (to < 0 || (to != state_ && (!may_leave(i) || leads_away(to)))) continue;
      bool known = false;
      for (size_t k = begin; k < candidates_.size() && !known; k++) {
        Candidate& other = candidates_[k];
        if (letter(other.op) != letter(i)) continue;
        known = true;
        if (o_.ret[i] < o_.ret[other.op]) other.op = i;
      }
      if (!known) candidates_.push_back({i, to, -1});
    }
    int32_t due = p_.by_return[frontier_];
    int32_t needed = l_.requires_[letter(due)];
    auto rank = [&](const Candidate& c) {
      if (c.op == due) return 0;
      return needed >= 0 && c.to == needed ? 1 : 2;
    };
    std::sort(candidates_.begin() + static_cast<int64_t>(begin), candidates_.end(),
              [&](const Candidate& a, const Candidate& b) {
                int ra = rank(a), rb = rank(b);
                return ra != rb ? ra < rb : o_.ret[a.op] < o_.ret[b.op];
              });
  }

  void add_open() {
    for (size_t c = 0; c < used_.size(); c++) {
      if (used_[c] == p_.classes[c].size()) continue;
      int32_t i = p_.classes[c][used_[c]];
      if (o_.call[i] > deadline()) continue;
      int32_t to = step(state_, letter(i));
      if (to < 0 || to == state_ || !may_leave(i) || leads_away(to)) continue;
      if (!opaque_ && need_[to] == 0 && want_[to] == 0) continue;
      candidates_.push_back({i, to, static_cast<int32_t>(c)});
    }
  }
};

}  // namespace harness
