// From columns of values to the input of the core: distinct operations (letters), or the states
// that each operation requires and installs.
#pragma once
#include <optional>

#include "history.hpp"

namespace harness {

struct Values {
  std::span<const int32_t> f, shape, a, b, c;
  std::span<const int64_t> ret;  // INT64_MAX: of unknown outcome
};

struct Distinct {
  std::vector<int32_t> letter, first_row;  // by row; by letter
};

// Rows that differ only in time and key have the same letter.
inline Distinct distinct(const Values& v) {
  size_t n = v.f.size(), size = 16;
  while (size < 2 * n) size *= 2;
  Distinct found;
  found.letter.resize(n);
  std::vector<int32_t> table(size, -1);
  auto same = [&](size_t i, size_t j) {
    return v.f[i] == v.f[j] && v.shape[i] == v.shape[j] && v.a[i] == v.a[j] && v.b[i] == v.b[j] &&
           v.c[i] == v.c[j] && (v.ret[i] == INT64_MAX) == (v.ret[j] == INT64_MAX);
  };
  for (size_t i = 0; i < n; i++) {
    uint64_t hash = static_cast<uint64_t>(v.f[i]) << 3 ^ static_cast<uint64_t>(v.shape[i]) ^
                    static_cast<uint64_t>(v.ret[i] == INT64_MAX) << 2;
    for (int32_t part : {v.a[i], v.b[i], v.c[i]})
      hash = mix(hash << 32 ^ hash >> 32 ^ static_cast<uint32_t>(part));
    for (size_t at = hash & (size - 1);; at = (at + 1) & (size - 1)) {
      int32_t other = table[at];
      if (other >= 0 && !same(i, static_cast<size_t>(other))) continue;
      if (other < 0) {
        table[at] = other = static_cast<int32_t>(i);
        found.letter[i] = static_cast<int32_t>(found.first_row.size());
        found.first_row.push_back(other);
      } else {
        found.letter[i] = found.letter[static_cast<size_t>(other)];
      }
      break;
    }
  }
  return found;
}

struct Joined {
  std::vector<int32_t> requires_, installs;  // by row
};

enum Role : int32_t { READ, WRITE, CAS };

// Registers: states are the values themselves. A `cas` is (old, new), or (old, new, seen) if it is
// known what it saw; `seen` is `differed` if all that is known is that it was not old. Returns
// nullopt if a value has another shape.
inline std::optional<Joined> registers(const Values& v, std::span<const int32_t> roles,
                                       int32_t differed) {
  size_t n = v.f.size();
  Joined joined;
  joined.requires_.resize(n);
  joined.installs.resize(n);
  for (size_t i = 0; i < n; i++) {
    int32_t role = roles[v.f[i]], shape = v.shape[i];
    if (role == CAS ? shape != 2 && shape != 3 : shape != 0) return {};
    bool known = v.ret[i] != INT64_MAX;
    int32_t& requires_ = joined.requires_[i];
    int32_t& installs = joined.installs[i];
    if (role == READ) {
      requires_ = known ? v.a[i] : ANY;
      installs = KEEP;
    } else if (role == WRITE) {
      requires_ = ANY;
      installs = v.a[i];
    } else if (!known || shape == 2 || v.c[i] == v.a[i]) {
      requires_ = v.a[i];
      installs = v.b[i];
    } else {
      requires_ = v.c[i] == differed ? all_but(v.a[i]) : v.c[i];
      installs = KEEP;
    }
  }
  return joined;
}

}  // namespace harness
