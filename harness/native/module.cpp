// The Python face: the search core, columns in and a plain tuple out; a load of clients.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "load.hpp"
#include "search.hpp"
#include "zones.hpp"

namespace nb = nanobind;
using namespace harness;

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

template <int WORDS>
Verdict search(const Operations& ops, const Letters& letters, const Plan& plan, bool recurs,
               const nb::callable& step, const nb::object& reaches, Budget budget) {
  auto ask = [&](int32_t state, int32_t letter) { return nb::cast<int32_t>(step(state, letter)); };
  typename Search<WORDS>::Reaches reach;
  if (!reaches.is_none())
    reach = [&](int32_t state, int32_t later) { return nb::cast<bool>(reaches(state, later)); };
  auto poll = [] {
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  };
  return Search<WORDS>(ops, letters, plan, recurs, ask, reach, poll, budget).run();
}

Verdict search_any_width(const Operations& ops, const Letters& letters, bool recurs,
                         const nb::callable& step, const nb::object& reaches, Budget budget) {
  Plan plan(ops);
  if (plan.slots <= 64) return search<1>(ops, letters, plan, recurs, step, reaches, budget);
  if (plan.slots <= 256) return search<4>(ops, letters, plan, recurs, step, reaches, budget);
  if (plan.slots <= 1024) return search<16>(ops, letters, plan, recurs, step, reaches, budget);
  Verdict verdict;
  verdict.reason = "more than 1024 operations open at once";
  return verdict;
}

nb::tuple check(Column<int64_t> call, Column<int64_t> ret, Column<int32_t> letter,
                Column<int32_t> requires_, Column<int32_t> installs, int32_t states, int32_t init,
                bool recurs, const nb::callable& step, const nb::object& reaches, int64_t configurations, int64_t bytes,
                bool zones) {
  if (call.size() != ret.size() || call.size() != letter.size())
    throw std::invalid_argument("call, ret and letter differ in length");
  if (requires_.size() != installs.size())
    throw std::invalid_argument("requires and installs differ in length");
  auto n = static_cast<int32_t>(call.size());
  Letters letters{{requires_.data(), requires_.data() + requires_.size()},
                  {installs.data(), installs.data() + installs.size()},
                  states,
                  init};
  for (int32_t i = 0; i < n; i++)
    if (letter.data()[i] < 0 || letter.data()[i] >= static_cast<int32_t>(requires_.size()))
      throw std::out_of_range("letter out of range");
  Operations ops = prepare(call.data(), ret.data(), letter.data(), n);
  std::vector<int32_t> nothing;
  bool completed = false;
  for (int32_t i = 0; i < n; i++) completed = completed || ops.ret[i] != NEVER;
  if (!completed) return nb::make_tuple(1, "nothing completed", nothing, 0, 0, -1);
  Verdict v;
  if (zones) v = Zones(ops, letters).check();
  const char* by = "zones";
  if (v.valid < 0) {
    v = search_any_width(ops, letters, recurs, step, reaches, {configurations, bytes});
    by = v.valid < 0 ? v.reason : "search";
  } else if (v.valid == 0) {
    by = v.reason;
  }
  return nb::make_tuple(v.valid, by, v.order, v.configurations, v.bytes, v.stuck);
}

nb::tuple quantiles(std::vector<uint32_t>& took) {
  return nb::make_tuple(took.size(), quantile_ms(took, 0.5), quantile_ms(took, 0.99), quantile_ms(took, 1));
}

nb::tuple load(const std::string& host, int port, int clients, double seconds, int read_percent,
               int value_bytes, int64_t keys, double rate, uint64_t seed) {
  if (clients < 1 || keys < 1 || value_bytes < 0 || seconds <= 0)
    throw std::invalid_argument("clients, keys and seconds must be more than 0");
  Measured measured;
  {
    nb::gil_scoped_release others_may_work;
    auto heed = [] {
      nb::gil_scoped_acquire for_a_moment;
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    };
    measured = LoadRun({host, port, clients, seconds, read_percent, value_bytes, keys, rate, seed}, heed).run();
  }
  nb::list slices;
  for (const Slice& slice : measured.slices)
    slices.append(nb::make_tuple(slice.count, static_cast<double>(slice.longest_ns) / 1e6));
  return nb::make_tuple(measured.seconds, quantiles(measured.reads), quantiles(measured.writes), slices,
                        measured.errors, measured.first_error);
}

}  // namespace

NB_MODULE(_core, m) {
  m.def("check", &check, nb::arg("call"), nb::arg("ret"), nb::arg("letter"), nb::arg("requires"),
        nb::arg("installs"), nb::arg("states"), nb::arg("init"), nb::arg("recurs"),
        nb::arg("step"), nb::arg("reaches").none(), nb::arg("configurations"), nb::arg("bytes"), nb::arg("zones"),
        "Decide one partition; returns (valid, how, order, configurations, bytes, stuck).");
  m.def("load", &load, nb::arg("host"), nb::arg("port"), nb::arg("clients"), nb::arg("seconds"),
        nb::arg("read_percent"), nb::arg("value_bytes"), nb::arg("keys"), nb::arg("rate"), nb::arg("seed"),
        "Clients that GET and SET; returns (seconds, reads, writes, slices of 50 ms, errors, first error): of "
        "reads and of writes (how many, p50, p99 and p100 in ms), of slices (how many, the longest in ms).");
}
