// Decides a history key by key: zones first, then the search, in rounds of growing budget, so that
// one hard key does not hide an easy violation in another. The verdicts do not depend on the number
// of threads.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "grouped.hpp"
#include "search.hpp"
#include "zones.hpp"

namespace harness {

struct Columns {
  std::span<const int64_t> call, ret;            // ret INT64_MAX: of unknown outcome
  std::span<const int32_t> key;                  // from 0; empty: a single key
  std::span<const int32_t> letter;               // by operation; empty: each has its own
  std::span<const int32_t> requires_, installs;  // by letter
  int32_t states;                                // 0 is the initial one
};

struct Options {
  Budget budget;
  bool zones, orders;
  int threads;
};

class Keys {
 public:
  Keys(const Columns& columns, Asked* asked, const Options& options)
      : c_(columns), asked_(asked), options_(options), split_(split()) {}

  // How many operations can constrain the result.
  size_t operations() const { return split_.items.size(); }

  // `poll` may throw to interrupt the check; only the calling thread calls it.
  std::vector<Verdict> check(const Poll& poll) {
    Verdict not_begun;
    not_begun.how = "time";
    verdicts_.assign(keys_, not_begun);
    searches_.resize(keys_);
    std::vector<int32_t> open(keys_);
    std::iota(open.begin(), open.end(), 0);
    std::stable_sort(open.begin(), open.end(),
                     [&](int32_t a, int32_t b) { return size(a) < size(b); });
    int64_t share = FIRST_SHARE, spent = 0;
    bool first = true;
    while (!open.empty()) {
      int64_t left = options_.budget.configurations - spent;
      if (left <= 0) break;
      if (const char* why = first ? nullptr : poll()) {
        for (int32_t k : open) verdicts_[k].how = why;
        break;
      }
      int64_t most = first ? left : std::max<int64_t>(1, left / static_cast<int64_t>(open.size()));
      Budget budget{std::min(share, most), options_.budget.bytes};
      round(open, budget, first, poll);
      bool refuted = false;
      std::vector<int32_t> still;
      spent = 0;
      for (int32_t k : open) {
        const Verdict& v = verdicts_[k];
        refuted = refuted || v.valid == 0;
        if (is_spent(v)) still.push_back(k);
      }
      for (const Verdict& v : verdicts_) spent += v.configurations;
      if (refuted) break;
      open = std::move(still);
      if (share < SHARE_MAX) share *= 8;
      first = false;
    }
    return std::move(verdicts_);
  }

 private:
  static constexpr int64_t FIRST_SHARE = 20'000, SHARE_MAX = 1ll << 50;
  static constexpr size_t THREADS_FROM = 20'000;  // operations: with fewer, threads do not pay off

  struct Deciding {  // a search and what it refers to
    Partition partition;
    States states;
    Plan plan;
    std::unique_ptr<AnySearch> search;
    int64_t kept = 0;  // bytes when it was suspended
  };
  struct Worker {
    Zones zones;
    std::unique_ptr<Deciding> spare;
  };

  const Columns& c_;
  Asked* asked_;
  Options options_;
  int32_t keys_ = 1;
  bool plain_ = false;  // no letter is opaque or legal in all states but one
  Grouped<Op> split_;
  std::vector<Verdict> verdicts_;
  std::vector<std::unique_ptr<Deciding>> searches_;
  std::atomic<int64_t> kept_ = 0;  // bytes of the suspended `searches_`

  int32_t size(int32_t k) const { return split_.begin[k + 1] - split_.begin[k]; }
  int32_t row(int32_t k, int32_t i) const { return split_.row[split_.begin[k] + i]; }

  // Leaves out operations of unknown outcome that can't change the state.
  Grouped<Op> split() {
    size_t n = c_.call.size();
    plain_ =
        std::all_of(c_.requires_.begin(), c_.requires_.end(), [](int32_t r) { return r >= ANY; });
    Ranks ranks(c_.call, c_.ret);
    for (int32_t k : c_.key) keys_ = std::max(keys_, k + 1);
    auto letter = [&](size_t i) {
      return c_.letter.empty() ? i : static_cast<size_t>(c_.letter[i]);
    };
    auto constrains = [&](size_t i) {
      if (c_.ret[i] != INT64_MAX) return true;
      int32_t requires_ = c_.requires_[letter(i)], installs = c_.installs[letter(i)];
      return requires_ == OPAQUE || (installs != KEEP && installs != requires_);
    };
    return Grouped<Op>(c_.key, keys_, n, options_.threads, constrains, [&](size_t i) -> Op {
      int32_t requires_ = c_.requires_[letter(i)], installs = c_.installs[letter(i)];
      return {ranks.call(i), ranks.ret(i), requires_,
              installs == requires_ && requires_ >= 0 ? KEEP : installs};
    });
  }

  Partition partition(int32_t k, States& states) {
    Partition p;
    auto n = static_cast<size_t>(size(k));
    p.ops = split_.items.subspan(split_.begin[k], n);
    p.row = split_.row.subspan(split_.begin[k], n);
    auto by_call = [](const Op& a, const Op& b) { return a.call < b.call; };
    if (!std::is_sorted(p.ops.begin(), p.ops.end(), by_call)) {
      std::vector<std::pair<Op, int32_t>> both;
      for (size_t i = 0; i < n; i++) both.push_back({p.ops[i], p.row[i]});
      std::sort(both.begin(), both.end(),
                [&](auto& a, auto& b) { return by_call(a.first, b.first); });
      for (size_t i = 0; i < n; i++) std::tie(p.ops[i], p.row[i]) = both[i];
    }
    bool all = keys_ == 1;
    if (all) {
      states.begin_with_all(c_.states);
    } else {
      states.begin();
    }
    if (all && plain_) return p;
    for (Op& op : p.ops) {
      if (op.req == OPAQUE) {
        p.opaque = true;
        continue;
      }
      p.all_buts = p.all_buts || is_all_but(op.req);
      if (all) continue;
      if (is_all_but(op.req)) {
        op.req = all_but(states.of(-3 - op.req));
      } else if (op.req >= 0) {
        op.req = states.of(op.req);
      }
      if (op.ins >= 0) op.ins = states.of(op.ins);
    }
    return p;
  }

  template <int WORDS>
  std::unique_ptr<AnySearch> make(Deciding& d) const {
    return std::make_unique<Search<WORDS>>(d.partition, d.plan, d.states, asked_, options_.orders);
  }

  std::unique_ptr<AnySearch> make_any(Deciding& d) const {
    if (d.plan.slots <= 64) return make<1>(d);
    if (d.plan.slots <= 128) return make<2>(d);
    if (d.plan.slots <= 256) return make<4>(d);
    if (d.plan.slots <= 1024) return make<16>(d);
    return nullptr;
  }

  Verdict begin(int32_t k, Worker& worker, Budget budget, const Poll& poll) {
    if (!worker.spare) worker.spare = std::make_unique<Deciding>();
    Deciding& d = *worker.spare;
    d.partition = partition(k, d.states);
    Verdict v;
    v.how = "not decided";
    if (std::all_of(d.partition.ops.begin(), d.partition.ops.end(),
                    [](const Op& op) { return op.ret == NEVER; })) {
      v.valid = 1;
      v.how = size(k) ? "nothing completed" : "nothing to check";
      return v;
    }
    if (options_.zones) v = worker.zones.check(d.partition, d.states.size());
    if (v.valid >= 0) return v;
    d.plan.make(d.partition);
    d.search = make_any(d);
    if (!d.search) {
      v.how = "more than 1024 operations open at once";
      return v;
    }
    v = d.search->run(budget, poll);
    if (is_spent(v)) {
      suspend(k, std::move(worker.spare));
    } else {
      d.search.reset();
    }
    return v;
  }

  static bool is_spent(const Verdict& v) {
    return v.valid < 0 && std::string_view(v.how) == "configurations";
  }

  // Suspends a search until the next round; if that takes too much memory, it restarts then.
  void suspend(int32_t k, std::unique_ptr<Deciding> d) {
    d->kept = d->search->bytes() + d->states.bytes();
    if ((kept_ += d->kept) <= options_.budget.bytes) {
      searches_[k] = std::move(d);
    } else {
      kept_ -= d->kept;
      restore(d->partition, d->states);
    }
  }

  // Gives the operations of a partition their global states again.
  static void restore(Partition& p, const States& states) {
    for (Op& op : p.ops) {
      if (op.req == OPAQUE) continue;
      if (is_all_but(op.req)) {
        op.req = all_but(states.global(-3 - op.req));
      } else if (op.req >= 0) {
        op.req = states.global(op.req);
      }
      if (op.ins >= 0) op.ins = states.global(op.ins);
    }
  }

  void decide(int32_t k, Worker& worker, Budget budget, bool first, const Poll& poll) {
    Verdict v;
    if (auto d = std::move(searches_[k])) {
      kept_ -= d->kept;
      v = d->search->run(budget, poll);
      if (is_spent(v)) suspend(k, std::move(d));
    } else {
      if (!first) budget.configurations += verdicts_[k].configurations;  // that work was discarded
      v = begin(k, worker, budget, poll);
    }
    for (int32_t& i : v.order) i = row(k, i);
    if (v.stuck >= 0) v.stuck = row(k, v.stuck);
    verdicts_[k] = std::move(v);
  }

  // Runs every open key once. After the first round, which tries all, keys behind a refuted one are
  // not run: which keys are decided does not depend on the threads.
  void round(const std::vector<int32_t>& open, Budget budget, bool first, const Poll& poll) {
    auto threads = asked_ ? 1 : std::min<size_t>(options_.threads, open.size());
    if (threads <= 1 || operations() < THREADS_FROM) {
      Worker worker;
      for (int32_t k : open) {
        decide(k, worker, budget, first, poll);
        if (!first && verdicts_[k].valid == 0) return;
      }
      return;
    }
    auto before = verdicts_;
    std::atomic<size_t> next = 0, refuted = open.size();
    std::atomic<bool> stop = false;
    std::mutex mutex;
    std::condition_variable done;
    size_t running = threads;
    std::exception_ptr failed;
    auto work = [&] {
      Worker worker;
      try {
        for (size_t at; (at = next++) < open.size() && at < refuted && !stop;) {
          Poll ends = [&, at]() -> const char* {
            return stop ? "time" : at > refuted ? "stopped" : nullptr;
          };
          decide(open[at], worker, budget, first, ends);
          if (first || verdicts_[open[at]].valid != 0) continue;
          size_t known = refuted;
          while (at < known && !refuted.compare_exchange_weak(known, at)) {
          }
        }
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!failed) failed = std::current_exception();
        stop = true;
      }
      std::lock_guard lock(mutex);
      running--;
      done.notify_one();
    };
    std::vector<std::jthread> pool;
    for (size_t i = 0; i < threads; i++) pool.emplace_back(work);
    std::unique_lock lock(mutex);
    while (running > 0) {
      done.wait_for(lock, std::chrono::milliseconds(50));
      lock.unlock();
      try {
        const char* why = poll();
        if (why) stop = true;
      } catch (...) {
        stop = true;
        lock.lock();
        if (!failed) failed = std::current_exception();
        lock.unlock();
      }
      lock.lock();
    }
    lock.unlock();
    pool.clear();
    if (failed) std::rethrow_exception(failed);
    if (first) return;
    for (size_t at = refuted + 1; at < open.size(); at++) verdicts_[open[at]] = before[open[at]];
  }
};

}  // namespace harness
