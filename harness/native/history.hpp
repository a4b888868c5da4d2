// One partition of a history, prepared for the checkers: times become dense ranks.
#pragma once
#include <algorithm>
#include <climits>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace harness {

constexpr int32_t NEVER = INT32_MAX;  // the return of an operation of unknown outcome
constexpr int32_t ANY = -1;           // requires: legal in every state
constexpr int32_t KEEP = -1;          // installs: leaves the state as it is
constexpr int32_t OPAQUE = -2;        // requires: only the model's step knows

// A letter is a distinct (f, value, result); operations refer to letters.
// `requires_[x]`: the one state in which letter x is legal, ANY, or OPAQUE.
// `installs[x]`: the state that it leaves, or KEEP. States are ids 0..states-1.
struct Letters {
  std::vector<int32_t> requires_, installs;
  int32_t states = 0;
  int32_t init = 0;
  bool opaque(int32_t x) const { return requires_[x] == OPAQUE; }
  bool read_only(int32_t x) const { return requires_[x] >= 0 && installs[x] == KEEP; }
};

struct Operations {
  std::vector<int32_t> call, ret, letter;  // ranks; ret is NEVER for an unknown outcome
  int32_t size() const { return static_cast<int32_t>(call.size()); }
};

// Ranks keep the order of times; a call at the instant of a return comes first, so that both
// ends of an operation's interval are closed and equal stamps never order two operations.
inline Operations prepare(const int64_t* call, const int64_t* ret, const int32_t* letter,
                          int32_t n) {
  struct Event {
    int64_t time;
    int32_t is_return;
    int32_t op;
  };
  for (int32_t i = 0; i < n; i++)
    if (ret[i] < call[i]) throw std::invalid_argument("an operation returns before it is called");
  std::vector<Event> events;
  events.reserve(2 * static_cast<size_t>(n));
  for (int32_t i = 0; i < n; i++) {
    events.push_back({call[i], 0, i});
    if (ret[i] != INT64_MAX) events.push_back({ret[i], 1, i});
  }
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    if (a.time != b.time) return a.time < b.time;
    if (a.is_return != b.is_return) return a.is_return < b.is_return;
    return a.op < b.op;
  });
  Operations ops;
  ops.call.assign(n, 0);
  ops.ret.assign(n, NEVER);
  ops.letter.assign(letter, letter + n);
  for (size_t k = 0; k < events.size(); k++)
    (events[k].is_return ? ops.ret : ops.call)[events[k].op] = static_cast<int32_t>(k);
  return ops;
}

struct Verdict {
  int valid = -1;              // 1 linearizable, 0 not, -1 undecided (reason says why)
  const char* reason = "";
  std::vector<int32_t> order;  // valid: a linearization; invalid: operations of a core, if known
  int64_t configurations = 0;
  int64_t bytes = 0;
  int32_t stuck = -1;          // invalid: the operation whose return nothing explains
};

}  // namespace harness
