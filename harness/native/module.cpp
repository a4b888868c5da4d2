// Python bindings: the search core, columns in and plain tuples out; the load generator.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <optional>
#include <stdexcept>

#include "containers.hpp"
#include "keys.hpp"
#include "letters.hpp"
#include "load.hpp"
#include "texts.hpp"

namespace nb = nanobind;
using namespace harness;

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

template <typename T>
std::span<const T> rows(const Column<T>& column, size_t n) {
  if (column.size() != n) throw std::invalid_argument("the columns differ in length");
  return {column.data(), n};
}

nb::list as_tuples(const std::vector<Verdict>& verdicts) {
  nb::list all;
  for (const Verdict& v : verdicts)
    all.append(nb::make_tuple(v.valid, v.how, v.order, v.configurations, v.bytes, v.stuck));
  return all;
}

nb::bytes as_bytes(const std::vector<int32_t>& column) {
  return nb::bytes(reinterpret_cast<const char*>(column.data()), column.size() * sizeof(int32_t));
}

Values values_of(const Column<int32_t>& f, const Column<int32_t>& shape, const Column<int32_t>& a,
                 const Column<int32_t>& b, const Column<int32_t>& c, const Column<int64_t>& ret) {
  size_t n = f.size();
  return {rows(f, n), rows(shape, n), rows(a, n), rows(b, n), rows(c, n), rows(ret, n)};
}

nb::tuple letters(Column<int32_t> f, Column<int32_t> shape, Column<int32_t> a, Column<int32_t> b,
                  Column<int32_t> c, Column<int64_t> ret) {
  Distinct found = distinct(values_of(f, shape, a, b, c, ret));
  return nb::make_tuple(as_bytes(found.letter), found.first_row);
}

nb::object register_states(Column<int32_t> roles, Column<int32_t> f, Column<int32_t> shape,
                           Column<int32_t> a, Column<int32_t> b, Column<int32_t> c,
                           Column<int64_t> ret, int32_t differed) {
  Values values = values_of(f, shape, a, b, c, ret);
  for (int32_t name : values.f)
    if (name < 0 || name >= static_cast<int32_t>(roles.size()))
      throw std::out_of_range("an operation without a role");
  auto joined = registers(values, {roles.data(), roles.size()}, differed);
  if (!joined) return nb::none();
  return nb::make_tuple(as_bytes(joined->requires_), as_bytes(joined->installs));
}

// Whether an operation requires and installs states below `states`; `opaque`: how many opaque
// operations the model has.
bool names_known_states(int32_t requires_, int32_t installs, int32_t states, int64_t opaque) {
  if (requires_ == OPAQUE) return installs >= 0 && installs < opaque;
  if (installs < KEEP || installs >= states || requires_ >= states) return false;
  if (!is_all_but(requires_)) return true;
  return requires_ > all_but(states) && installs == KEEP;
}

nb::tuple check(
    Column<int64_t> call, Column<int64_t> ret, std::optional<Column<int32_t>> key,
    std::optional<Column<int32_t>> letter, Column<int32_t> requires_, Column<int32_t> installs,
    int32_t states, bool recurs, const nb::object& step, const nb::object& reaches,
    const std::optional<std::pair<std::vector<std::string>, std::vector<std::string>>>& texts,
    int64_t configurations, int64_t bytes, std::optional<double> seconds, bool zones, bool orders,
    int threads) {
  size_t n = call.size();
  if (n >= NEVER / 2) throw std::invalid_argument("more than a billion operations");
  size_t letters = letter ? requires_.size() : n;
  Columns columns{rows(call, n),           rows(ret, n), {}, {}, rows(requires_, letters),
                  rows(installs, letters), states};
  if (key) columns.key = rows(*key, n);
  if (letter) columns.letter = rows(*letter, n);
  if (states < 1) throw std::out_of_range("no initial state");
  for (int32_t k : columns.key)
    if (k < 0 || k == INT32_MAX) throw std::out_of_range("a key out of range");
  for (int32_t x : columns.letter)
    if (x < 0 || x >= static_cast<int32_t>(letters))
      throw std::out_of_range("a letter out of range");
  auto opaque_letters = texts ? static_cast<int64_t>(texts->second.size()) : int64_t{NEVER};
  if (step.is_none() && !texts) opaque_letters = 0;
  for (size_t i = 0; i < letters; i++)
    if (!names_known_states(requires_.data()[i], installs.data()[i], states, opaque_letters))
      throw std::out_of_range("an operation names an unknown state");
  if (texts && texts->first.size() != static_cast<size_t>(states))
    throw std::invalid_argument("the number of texts differs from that of states");
  std::optional<Texts> native;
  Asked asked;
  if (texts) asked = native.emplace(texts->first, columns.requires_, texts->second).asked();
  asked.recurs = recurs;
  if (!step.is_none())
    asked.step = [&](int32_t state, int32_t operation) {
      nb::gil_scoped_acquire python;
      return nb::cast<int32_t>(step(state, operation));
    };
  if (!reaches.is_none())
    asked.reaches = [&](int32_t state, int32_t later) {
      nb::gil_scoped_acquire python;
      return nb::cast<bool>(reaches(state, later));
    };
  using Clock = std::chrono::steady_clock;
  auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                  std::chrono::duration<double>(seconds.value_or(0)));
  Poll poll = [&]() -> const char* {
    nb::gil_scoped_acquire python;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    return seconds && Clock::now() >= until ? "time" : nullptr;
  };
  std::vector<Verdict> verdicts;
  size_t operations;
  {
    nb::gil_scoped_release released;
    Keys keys(columns, step.is_none() && !texts ? nullptr : &asked,
              {{configurations, bytes}, zones, orders, threads});
    operations = keys.operations();
    verdicts = keys.check(poll);
  }
  return nb::make_tuple(operations, as_tuples(verdicts));
}

nb::list containers(int discipline, Column<int64_t> call, Column<int64_t> ret,
                    std::optional<Column<int32_t>> key, Column<int32_t> kind, Column<int32_t> value,
                    int32_t keys) {
  size_t n = call.size();
  if (discipline < FIRST || discipline > LEAST) throw std::out_of_range("unknown discipline");
  std::span<const int32_t> key_of;
  if (key) key_of = rows(*key, n);
  for (int32_t k : key_of)
    if (k < 0 || k >= keys) throw std::out_of_range("a key out of range");
  auto kinds = rows(kind, n), values = rows(value, n);
  for (size_t i = 0; i < n; i++)
    if ((kinds[i] != INSERT && kinds[i] != REMOVE) || values[i] < -1 || values[i] >= NEVER / 2)
      throw std::out_of_range("not an operation of a container");
  std::vector<Verdict> verdicts;
  {
    nb::gil_scoped_release released;
    verdicts = check_containers(static_cast<Discipline>(discipline), rows(call, n), rows(ret, n),
                                key_of, kinds, values, keys);
  }
  return as_tuples(verdicts);
}

nb::tuple quantiles(std::vector<uint32_t>& took) {
  return nb::make_tuple(took.size(), quantile_ms(took, 0.5), quantile_ms(took, 0.99),
                        quantile_ms(took, 1));
}

nb::tuple load(const std::string& host, int port, int clients, double seconds, int read_percent,
               int value_bytes, int64_t keys, double rate, uint64_t seed) {
  if (clients < 1 || keys < 1 || value_bytes < 0 || seconds <= 0)
    throw std::invalid_argument("clients, keys and seconds must be more than 0");
  Measured measured;
  {
    nb::gil_scoped_release released;
    auto check_signals = [] {
      nb::gil_scoped_acquire python;
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    };
    measured = LoadRun({host, port, clients, seconds, read_percent, value_bytes, keys, rate, seed},
                       check_signals)
                   .run();
  }
  nb::list slices;
  for (const Slice& slice : measured.slices)
    slices.append(nb::make_tuple(slice.count, static_cast<double>(slice.longest_ns) / 1e6));
  return nb::make_tuple(measured.seconds, quantiles(measured.reads), quantiles(measured.writes),
                        slices, measured.errors, measured.first_error);
}

}  // namespace

NB_MODULE(_core, m) {
  m.def("check", &check, nb::arg("call"), nb::arg("ret"), nb::arg("key").none(),
        nb::arg("letter").none(), nb::arg("requires"), nb::arg("installs"), nb::arg("states"),
        nb::arg("recurs"), nb::arg("step").none(), nb::arg("reaches").none(),
        nb::arg("texts").none(), nb::arg("configurations"), nb::arg("bytes"),
        nb::arg("seconds").none(), nb::arg("zones"), nb::arg("orders"), nb::arg("threads"),
        "Decide every key. Returns (how many operations constrain the result, for each key (valid, "
        "how, order, "
        "configurations, bytes, stuck)).");
  m.def("containers", &containers, nb::arg("discipline"), nb::arg("call"), nb::arg("ret"),
        nb::arg("key").none(), nb::arg("kind"), nb::arg("value"), nb::arg("keys"),
        "Decide every key of queues, stacks or priority queues; returns for each key what `check` "
        "does.");
  m.def("letters", &letters, nb::arg("f"), nb::arg("shape"), nb::arg("a"), nb::arg("b"),
        nb::arg("c"), nb::arg("ret"),
        "Find distinct operations: (the letter of each row, the first row of each letter).");
  m.def("registers", &register_states, nb::arg("roles"), nb::arg("f"), nb::arg("shape"),
        nb::arg("a"), nb::arg("b"), nb::arg("c"), nb::arg("ret"), nb::arg("differed"),
        "Return (requires, installs) of each row of a register, or None if a value has another "
        "shape.");
  m.def(
      "load", &load, nb::arg("host"), nb::arg("port"), nb::arg("clients"), nb::arg("seconds"),
      nb::arg("read_percent"), nb::arg("value_bytes"), nb::arg("keys"), nb::arg("rate"),
      nb::arg("seed"),
      "Run clients that GET and SET. Returns (seconds, reads, writes, slices of 50 ms, errors, "
      "first error): "
      "reads and writes are (count, p50, p99 and p100 in ms), a slice is (count, longest in ms).");
}
