// Histories of containers whose values are inserted once: which operation inserted each value and
// which removed it.
#pragma once
#include "history.hpp"

namespace harness {

enum Kind : int32_t { INSERT, REMOVE };

struct ContainerOp {
  int32_t call, ret, kind, value;  // value: from 0, or -1 if the container was empty
};

// The operations that insert and remove a value, or -1, and bounds of when they take effect.
struct Stay {
  int32_t insert = -1, remove = -1;
  int32_t in_call = 0, in_ret = NEVER;
  int32_t out_call = NEVER, out_ret = NEVER;
};

class Insertions {
 public:
  // False if `verdict` is final: a violation, or undecided as a value is inserted twice.
  bool match(std::span<const ContainerOp> ops, int32_t values, Verdict& verdict) {
    ops_ = ops;
    verdict_ = &verdict;
    stays.assign(values, {});
    open_removals = false;
    return find() && bound();
  }

  std::vector<Stay> stays;     // by value; without `insert`: not known to have been inserted
  bool open_removals = false;  // there are removals of unknown outcome

  static void refute(Verdict& verdict, const char* how, std::vector<int32_t> core, int32_t stuck) {
    std::erase_if(core, [](int32_t i) { return i < 0; });
    std::sort(core.begin(), core.end());
    core.erase(std::unique(core.begin(), core.end()), core.end());
    verdict.valid = 0;
    verdict.how = how;
    verdict.order = std::move(core);
    verdict.stuck = stuck;
  }

 private:
  std::span<const ContainerOp> ops_;
  Verdict* verdict_ = nullptr;

  bool refute(const char* how, std::vector<int32_t> core, int32_t stuck) {
    refute(*verdict_, how, std::move(core), stuck);
    return false;
  }

  bool find() {
    auto n = static_cast<int32_t>(ops_.size());
    for (int32_t i = 0; i < n; i++) {
      const ContainerOp& op = ops_[i];
      if (op.kind != INSERT) continue;
      if (op.value < 0 || stays[op.value].insert >= 0) {
        verdict_->how = "not unique";
        return false;
      }
      stays[op.value].insert = i;
    }
    for (int32_t i = 0; i < n; i++) {
      const ContainerOp& op = ops_[i];
      if (op.kind != REMOVE) continue;
      if (op.ret == NEVER) {
        open_removals = true;
      } else if (op.value >= 0) {
        Stay& v = stays[op.value];
        if (v.remove >= 0) return refute("removed twice", {v.insert, v.remove, i}, i);
        v.remove = i;
      }
    }
    return true;
  }

  bool bound() {
    for (Stay& v : stays) {
      if (v.remove >= 0 && v.insert < 0) return refute("never inserted", {v.remove}, v.remove);
      if (v.insert < 0) continue;
      const ContainerOp& in = ops_[v.insert];
      if (in.ret == NEVER && v.remove < 0) {
        v.insert = -1;
        continue;
      }
      v.in_call = in.call;
      v.in_ret = in.ret;
      if (v.remove < 0) continue;
      const ContainerOp& out = ops_[v.remove];
      if (out.ret < in.call)
        return refute("removed before it was inserted", {v.insert, v.remove}, v.remove);
      v.in_ret = std::min(in.ret, out.ret);
      v.out_call = std::max(out.call, in.call);
      v.out_ret = out.ret;
    }
    return true;
  }
};

// Replaces times by dense ranks from 0, one an event; returns their number. Slot r lies between the
// events r and r + 1; an operation may take effect in the slots from its call to before its return.
inline int32_t make_dense(std::vector<ContainerOp>& ops) {
  struct Event {
    int32_t rank;
    int32_t* time;
  };
  std::vector<Event> events;
  events.reserve(2 * ops.size());
  for (ContainerOp& op : ops) {
    events.push_back({op.call, &op.call});
    if (op.ret != NEVER) events.push_back({op.ret, &op.ret});
  }
  sort_by_rank(events, [](const Event& e) { return e.rank; });
  int32_t slots = 0;
  for (const Event& e : events) *e.time = slots++;
  return slots;
}

}  // namespace harness
