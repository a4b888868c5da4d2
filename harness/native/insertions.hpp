// Histories of containers whose values are inserted once: which operation brought a value in and
// which took it out.
#pragma once
#include "history.hpp"

namespace harness {

enum Kind : int32_t { INSERT, REMOVE };

struct ContainerOp {
  int32_t call, ret, kind, value;  // value: from 0, or -1 for a container that was empty
};

// Bounds of when a value came in and of when it went out; operations, or -1.
struct Stay {
  int32_t insert = -1, remove = -1;
  int32_t in_call = 0, in_ret = NEVER;
  int32_t out_call = NEVER, out_ret = NEVER;
};

class Insertions {
 public:
  // False where the verdict is known: a violation, or undecided as a value is inserted twice.
  bool match(std::span<const ContainerOp> ops, int32_t values, Verdict& verdict) {
    ops_ = ops;
    verdict_ = &verdict;
    stays.assign(values, {});
    open_removals = false;
    return find() && bound();
  }

  std::vector<Stay> stays;     // by value; one without `insert` never came in, for all that is known
  bool open_removals = false;  // some removals may have taken what nobody was told of

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
      if (out.ret < in.call) return refute("removed before it was inserted", {v.insert, v.remove}, v.remove);
      v.in_ret = std::min(in.ret, out.ret);
      v.out_call = std::max(out.call, in.call);
      v.out_ret = out.ret;
    }
    return true;
  }
};

// Times as dense ranks from 0, each an event's; a slot is what lies between two of them, and an
// operation may take effect in those from its call to the one before its return.
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
