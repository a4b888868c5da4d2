// Unit tests of the search core, without Python; run by test_core.py, with sanitizers.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>

#include "containers.hpp"
#include "keys.hpp"
#include "letters.hpp"

using namespace harness;

namespace {

constexpr int64_t UNKNOWN = INT64_MAX;  // the return of an operation of unknown outcome

// Random intervals of `n` operations; one in eight never returns.
void draw_times(std::mt19937& rng, size_t n, std::vector<int64_t>& call,
                std::vector<int64_t>& ret) {
  for (size_t i = 0; i < n; i++) {
    call.push_back(static_cast<int64_t>(rng() % (2 * n)));
    ret.push_back(rng() % 8 == 0 ? UNKNOWN : call.back() + 1 + static_cast<int64_t>(rng() % n));
  }
}

struct Registers {
  std::vector<int64_t> call, ret;
  std::vector<int32_t> requires_, installs;
  int32_t states;
};

// Reads, writes and compare-and-sets of one register.
Registers draw_registers(std::mt19937& rng, size_t n, int32_t states) {
  Registers drawn{{}, {}, {}, {}, states};
  draw_times(rng, n, drawn.call, drawn.ret);
  for (size_t i = 0; i < n; i++) {
    auto state = static_cast<int32_t>(rng() % static_cast<uint32_t>(states));
    auto other = static_cast<int32_t>(rng() % static_cast<uint32_t>(states));
    switch (rng() % 4) {
      case 0:
        drawn.requires_.push_back(ANY), drawn.installs.push_back(state);
        break;
      case 1:
        drawn.requires_.push_back(other), drawn.installs.push_back(state);
        break;
      case 2:
        drawn.requires_.push_back(all_but(state)), drawn.installs.push_back(KEEP);
        break;
      default:
        drawn.requires_.push_back(state), drawn.installs.push_back(KEEP);
    }
  }
  return drawn;
}

// Whether the operations that are not in `done` can be ordered from a state; tries every order.
template <typename State, typename Step>
bool any_order(const std::vector<int64_t>& call, const std::vector<int64_t>& ret, uint32_t done,
               const State& state, const Step& step) {
  size_t n = call.size();
  int64_t first_return = UNKNOWN;
  bool complete = true;
  for (size_t i = 0; i < n; i++)
    if (!(done >> i & 1) && ret[i] != UNKNOWN)
      complete = false, first_return = std::min(first_return, ret[i]);
  if (complete) return true;
  for (size_t i = 0; i < n; i++) {
    if (done >> i & 1 || call[i] > first_return) continue;
    State next = state;
    if (step(i, next) && any_order(call, ret, done | 1u << i, next, step)) return true;
  }
  return false;
}

bool linearizable(const Registers& r) {
  return any_order(r.call, r.ret, 0, int32_t{0}, [&](size_t i, int32_t& state) {
    Op op{0, 0, r.requires_[i], r.installs[i]};
    if (!op.legal(state)) return false;
    if (op.ins != KEEP) state = op.ins;
    return true;
  });
}

std::vector<Verdict> decide(const Registers& r, const std::vector<int32_t>& key, bool zones,
                            int threads) {
  Columns columns{r.call, r.ret, key, {}, r.requires_, r.installs, r.states};
  Keys keys(columns, nullptr, {{1'000'000, 1 << 30}, zones, true, threads});
  return keys.check([]() -> const char* { return nullptr; });
}

}  // namespace

TEST_CASE("a call at the instant of a return comes before it") {
  std::vector<int64_t> call{10, 20}, ret{20, UNKNOWN};
  Ranks ranks(call, ret);
  CHECK(ranks.call(1) < ranks.ret(0));
  CHECK(ranks.ret(1) == NEVER);
}

TEST_CASE("an operation that returns before its call is an error") {
  std::vector<int64_t> call{10}, ret{9};
  CHECK_THROWS_AS(Ranks(call, ret), std::invalid_argument);
}

TEST_CASE("ranks keep the order of times, dense or not") {
  for (uint32_t seed = 0; seed < 50; seed++) {
    std::mt19937 rng(seed);
    std::vector<int64_t> call, ret;
    draw_times(rng, 30, call, ret);
    if (seed % 2)
      for (size_t i = 0; i < call.size(); i++)
        call[i] *= 1'000'003, ret[i] *= ret[i] == UNKNOWN ? 1 : 1'000'003;
    Ranks ranks(call, ret);
    for (size_t i = 0; i < call.size(); i++)
      for (size_t k = 0; k < call.size(); k++) {
        if (call[i] < call[k]) CHECK(ranks.call(i) < ranks.call(k));
        if (ret[i] < call[k]) CHECK(ranks.ret(i) < ranks.call(k));
        if (call[k] <= ret[i]) CHECK(ranks.call(k) < ranks.ret(i));
      }
  }
}

TEST_CASE("sorting by rank sorts") {
  std::mt19937 rng(1);
  for (int32_t spread : {1, 3, 1000})
    for (size_t disorder : {size_t{0}, size_t{2}, size_t{500}}) {
      std::vector<int32_t> items;
      for (int32_t i = 0; i < 500; i++) items.push_back(i * spread - 700);
      for (size_t i = 0; i < disorder; i++) std::swap(items[rng() % 500], items[rng() % 500]);
      std::vector<int32_t> expected = items;
      std::sort(expected.begin(), expected.end());
      sort_by_rank(items, [](int32_t item) { return item; });
      CHECK(items == expected);
    }
}

TEST_CASE("an operation is legal in the state that it requires, in any, or in all but one") {
  CHECK(Op{0, 1, 3, KEEP}.legal(3));
  CHECK_FALSE(Op{0, 1, 3, KEEP}.legal(2));
  CHECK(Op{0, 1, ANY, 5}.legal(2));
  CHECK(Op{0, 1, all_but(3), KEEP}.legal(2));
  CHECK_FALSE(Op{0, 1, all_but(3), KEEP}.legal(3));
}

TEST_CASE("states of a partition are dense, and begin anew with the next") {
  States states;
  for (int round = 0; round < 3; round++) {
    states.begin();
    CHECK(states.of(0) == 0);
    CHECK(states.of(1000) == 1);
    CHECK(states.of(7) == 2);
    CHECK(states.of(1000) == 1);
    CHECK(states.global(2) == 7);
    CHECK(states.size() == 3);
  }
}

TEST_CASE("a configuration that used more than a nogood is one") {
  Nogoods<2> nogoods(2);
  Nogoods<2>::Mask mask{5, 9}, other{5, 8};
  int64_t scanned = 0;
  nogoods.add(mask, 3, 1, {1, 2});
  CHECK(nogoods.has(mask, 3, 1, {1, 2}, scanned));
  CHECK(nogoods.has(mask, 3, 1, {4, 2}, scanned));
  CHECK_FALSE(nogoods.has(mask, 3, 1, {0, 2}, scanned));
  CHECK_FALSE(nogoods.has(mask, 3, 2, {1, 2}, scanned));
  CHECK_FALSE(nogoods.has(mask, 4, 1, {1, 2}, scanned));
  CHECK_FALSE(nogoods.has(other, 3, 1, {1, 2}, scanned));
  nogoods.add(mask, 3, 1, {0, 1});
  CHECK(nogoods.has(mask, 3, 1, {0, 2}, scanned));
  nogoods.clear(2);
  CHECK_FALSE(nogoods.has(mask, 3, 1, {1, 2}, scanned));
}

TEST_CASE("many nogoods are kept apart") {
  Nogoods<1> nogoods(0);
  int64_t scanned = 0;
  for (uint64_t i = 0; i < 5000; i++)
    nogoods.add({i}, static_cast<int32_t>(i % 7), static_cast<int32_t>(i % 11), {});
  for (uint64_t i = 0; i < 5000; i++) {
    CHECK(nogoods.has({i}, static_cast<int32_t>(i % 7), static_cast<int32_t>(i % 11), {}, scanned));
    CHECK_FALSE(nogoods.has({i}, static_cast<int32_t>(i % 7) + 7, static_cast<int32_t>(i % 11), {},
                            scanned));
  }
}

TEST_CASE("a register is decided as by trying every order") {
  int valid = 0, invalid = 0;
  for (uint32_t seed = 0; seed < 1500; seed++) {
    std::mt19937 rng(seed);
    Registers drawn = draw_registers(rng, 3 + seed % 6, 2 + static_cast<int32_t>(seed % 3));
    bool expected = linearizable(drawn);
    for (bool zones : {false, true}) {
      CAPTURE(seed);
      CAPTURE(zones);
      Verdict verdict = decide(drawn, {}, zones, 1)[0];
      REQUIRE(verdict.valid == (expected ? 1 : 0));
    }
    (expected ? valid : invalid)++;
  }
  CHECK(valid > 200);
  CHECK(invalid > 200);
}

TEST_CASE("keys are decided by several threads as by one") {
  std::mt19937 rng(7);
  Registers all{{}, {}, {}, {}, 3};
  std::vector<int32_t> key;
  std::vector<int> expected;
  for (int32_t k = 0; k < 300; k++) {
    Registers one = draw_registers(rng, 8, 3);
    expected.push_back(linearizable(one) ? 1 : 0);
    for (size_t i = 0; i < one.call.size(); i++) {
      all.call.push_back(one.call[i]);
      all.ret.push_back(one.ret[i]);
      all.requires_.push_back(one.requires_[i]);
      all.installs.push_back(one.installs[i]);
      key.push_back(k);
    }
  }
  for (int threads : {1, 4}) {
    std::vector<Verdict> verdicts = decide(all, key, true, threads);
    REQUIRE(verdicts.size() == expected.size());
    for (size_t k = 0; k < expected.size(); k++) CHECK(verdicts[k].valid == expected[k]);
  }
}

TEST_CASE("a search ends at its budget, undecided") {
  std::mt19937 rng(3);
  Registers drawn = draw_registers(rng, 24, 2);
  for (int64_t& time : drawn.ret) time = 100;  // all overlap
  for (int64_t& time : drawn.call) time = 0;
  drawn.requires_.assign(24, 1), drawn.installs.assign(24, 1);  // nothing is legal first
  drawn.requires_[0] = ANY, drawn.installs[0] = 0;
  Columns columns{drawn.call, drawn.ret, {}, {}, drawn.requires_, drawn.installs, drawn.states};
  Keys keys(columns, nullptr, {{1, 1 << 30}, false, false, 1});
  CHECK(keys.check([]() -> const char* { return nullptr; })[0].valid != 1);
}

TEST_CASE("containers are decided as by trying every order") {
  for (Discipline discipline : {FIRST, LAST, LEAST}) {
    int decided[2] = {0, 0};
    for (uint32_t seed = 0; seed < 1500; seed++) {
      std::mt19937 rng(seed);
      size_t n = 3 + seed % 5;
      std::vector<int64_t> call, ret;
      draw_times(rng, n, call, ret);
      std::vector<int32_t> kind, value, key;
      int32_t inserted = 0;
      for (size_t i = 0; i < n; i++) {
        bool insert = rng() % 2 == 0;
        kind.push_back(insert ? INSERT : REMOVE);
        value.push_back(insert ? inserted++ : static_cast<int32_t>(rng() % 4) - 1);
      }
      bool expected = any_order(
          call, ret, 0, std::vector<int32_t>{}, [&](size_t i, std::vector<int32_t>& held) {
            if (kind[i] == INSERT) {
              held.push_back(value[i]);
              return true;
            }
            if (held.empty()) return ret[i] == UNKNOWN || value[i] < 0;
            auto next = discipline == FIRST  ? held.begin()
                        : discipline == LAST ? held.end() - 1
                                             : std::min_element(held.begin(), held.end());
            if (ret[i] != UNKNOWN && *next != value[i]) return false;
            held.erase(next);
            return true;
          });
      for (size_t i = 0; i < n; i++)
        if (kind[i] == REMOVE && ret[i] == UNKNOWN) value[i] = -1;
      Verdict verdict = check_containers(discipline, call, ret, key, kind, value, 1)[0];
      CAPTURE(seed);
      CAPTURE(static_cast<int>(discipline));
      if (verdict.valid >= 0) {
        REQUIRE(verdict.valid == (expected ? 1 : 0));
        decided[verdict.valid]++;
      }
    }
    CHECK(decided[0] > 200);
    CHECK(decided[1] > 100);
  }
}
