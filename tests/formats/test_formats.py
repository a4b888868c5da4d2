"""Formats of other tools: read, written, and read back; errors name the line of the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import run_command
from harness.errors import HistoryError
from harness.formats import FORMATS, edn, jepsen, porcupine
from harness.history import History, HistoryWriter, Op

DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
                                                                      allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


def one(text: str) -> object:
    ((_, form),) = edn.read(text)
    return form


@given(DATA)
def test_data_written_as_edn_is_read_back(data: object) -> None:
    assert one(edn.write(data)) == data


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{:f :read, :value nil}", {"f": "read", "value": None}),
        ("; a comment\n[1 2, 3N 4.5M -7 +8 1/2]", [1, 2, 3, 4.5, -7, 8, 0.5]),
        ("#{1 2}", [1, 2]),
        ("(1 #_ 2 #_ {:a 3} 4)", [1, 4]),
        ('#jepsen.history.Op{:f :txn, :value #inst "2020-01-01"}',
         {"f": "txn", "value": "2020-01-01"}),
        (r'"a\"b\\c\n\u0041"', 'a"b\\c\nA'),
        (r"[\a \newline \u0041 \)]", ["a", "\n", "A", ")"]),
        (":jepsen.txn/rw", "jepsen.txn/rw"),
        ("{[1 2] 3}", {(1, 2): 3}),
        ("1e3", 1000.0),
        ("[##Inf ##-Inf]", [float("inf"), float("-inf")]),
        ("{{:a [1]} 2, {:a 1, 2 3} 4}", {(("a", (1,)),): 2, (("a", 1), (2, 3)): 4}),
        ('"a\u2028b"', "a\u2028b"),
    ],
)  # fmt: skip
def test_edn(text: str, expected: object) -> None:
    assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("[1\n2", 1, r"unclosed \["),
        ("1\n}", 2, "unmatched }"),
        ("{:a\n1 :b}", 2, "a key that has no value"),
        ("[1\n2}", 2, r"} where \] was expected"),
        ("\n12x", 2, "12x is not a number"),
        ('\n\n"abc', 3, "can't read"),
        ("#_", 1, "ends where a value was expected"),
        (r"\hello", 1, "hello is not a character"),
    ],
)
def test_malformed_edn_is_an_error_with_its_line(text: str, line: int, why: str) -> None:
    with pytest.raises(edn.EdnError, match=why) as error:
        list(edn.read(text))
    assert error.value.line == line


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def rows(history: History) -> list[tuple]:
    return [(op.type, op.process, op.f, op.value) for op in history]


def test_jepsen_as_lines_and_as_a_list(tmp_path: Path) -> None:
    lines = """
    {:index 5, :time 10, :process 0, :type :invoke, :f :cas, :value [1 2]}
    {:process :nemesis, :type :info, :f :start, :value nil}
    {:process 0, :type :fail, :f :cas, :value [1 2], :error :timeout, :time 12}
    """
    expected = [("invoke", 0, "cas", [1, 2]), ("fail", 0, "cas", [1, 2])]
    history = jepsen.read_edn(written(tmp_path, "a.edn", lines))
    assert rows(history) == expected
    assert [(op.index, op.time, op.error) for op in history] == [(0, 10, None), (1, 12, "timeout")]
    assert rows(jepsen.read_edn(written(tmp_path, "b.edn", f"[{lines}]"))) == expected


def test_fields_that_are_left_out_have_elles_defaults(tmp_path: Path) -> None:
    text = '[{"type":"invoke","value":[["r",1,null]]},\n{"type":"ok","value":[["r",1,2]]}]'
    assert rows(jepsen.read_json(written(tmp_path, "a.json", text))) == [
        ("invoke", 0, "txn", [["r", 1, None]]),
        ("ok", 0, "txn", [["r", 1, 2]]),
    ]


def test_a_read_of_nil_is_left_out_unless_nil_is_a_value(tmp_path: Path) -> None:
    path = written(
        tmp_path, "a.edn", "{:process 0 :type :invoke :f :read} {:process 0 :type :ok :f :read}"
    )
    assert rows(jepsen.read_edn(path)) == []
    assert len(jepsen.read_edn(path, nil_is_a_value=True)) == 2


def test_a_read_of_nil_of_a_key_is_left_out_too(tmp_path: Path) -> None:
    path = written(tmp_path, "a.edn",
                   "{:process 0 :type :invoke :f :write :value [7 1]}"
                   "{:process 0 :type :ok :f :write :value [7 1]}"
                   "{:process 0 :type :invoke :f :read :value [7 nil]}"
                   "{:process 0 :type :ok :f :read :value [7 nil]}")  # fmt: skip
    check = ["check", "--model", "register", "--independent", str(path)]
    assert run_command(check) == 0
    assert run_command([*check, "--nil-is-a-value"]) == 1


def test_the_pair_of_a_cas_is_not_taken_for_a_key_and_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, "a.edn",
                   "{:process 0 :type :invoke :f :cas :value [nil 1]}"
                   "{:process 0 :type :ok :f :cas :value [nil 1]}")  # fmt: skip
    assert run_command(["check", "--model", "cas-register", str(path)]) == 0


@pytest.mark.parametrize("value", ["[1]", "[]", "7"])
def test_a_value_that_the_model_does_not_accept_is_wrong_usage(
    tmp_path: Path, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "a.edn", f"{{:process 0 :type :invoke :f :cas :value {value}}}")
    assert run_command(["check", "--model", "cas-register", str(path)]) == 254
    assert "not valid for model cas-register: " in capsys.readouterr().err


def test_decreasing_times_are_replaced_by_positions(tmp_path: Path) -> None:
    text = "{:process 0 :type :invoke :f :read :time 9}{:process 1 :type :invoke :f :read :time 3}"
    assert [op.time for op in jepsen.read_edn(written(tmp_path, "a.edn", text))] == [0, 1]


def test_processes_may_be_names_and_the_nemesis_is_left_out(tmp_path: Path) -> None:
    text = '{:process "a" :type :invoke :f :read} {:process :nemesis :type :info :f :kill}'
    assert rows(jepsen.read_edn(written(tmp_path, "a.edn", text))) == [
        ("invoke", "a", "read", None)
    ]


def test_lock_operations_have_their_process_as_value(tmp_path: Path) -> None:
    text = "{:process 7 :type :invoke :f :acquire}{:process 7 :type :ok :f :acquire}"
    assert [op.value for op in jepsen.read_edn(written(tmp_path, "a.edn", text))] == [7, 7]


def test_a_log_of_etcd(tmp_path: Path) -> None:
    text = (
        "some header\nINFO  jepsen.util - 0\t:invoke\t:write\t3\n"
        "INFO  jepsen.util - :nemesis\t:info\t:start\tnil\n"
        "INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]\n"
        "INFO  jepsen.util - 0\t:info\t:write\t:timed-out\n"
        "INFO  jepsen.util - 1\t:ok\t:cas\t[1 2]\n"
    )
    history = porcupine.read_log(written(tmp_path, "a.log", text))
    assert rows(history) == [
        ("invoke", 0, "write", 3), ("invoke", 1, "cas", [1, 2]),
        ("info", 0, "write", None), ("ok", 1, "cas", [1, 2]),
    ]  # fmt: skip


def test_a_text_of_keys_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        '{:process 0, :type :invoke, :f :append, :key "k", :value "x"}\n'
        '{:process 0, :type :ok, :f :append, :key "k", :value "x"}\n'
        '{:process 0, :type :invoke, :f :get, :key "k", :value nil}\n'
        '{:process 0, :type :ok, :f :get, :key "k", :value "x"}\n'
    )
    path = written(tmp_path, "a.txt", text)
    assert run_command(["check", "--model", "text", str(path)]) == 0
    assert capsys.readouterr().out.startswith("valid ")
    path.write_text(text[: text.rindex('"x"')] + '"z"}\n')
    assert run_command(["check", "--model", "text", str(path)]) == 1
    assert "key k: process 0 got z" in capsys.readouterr().out
    assert run_command(["check", "--model", "text", "--explain", "--seconds", "5", "--memory", "64",
                        str(path)]) == 1  # fmt: skip
    line, *explanation = capsys.readouterr().out.splitlines()
    assert line.startswith("invalid ")
    assert explanation[0] == "    event 2 to event 3: process 0 got z"
    assert explanation[-1].startswith(
        "    longest linearizable prefix: empty; cannot be extended by process 0 got"
    )


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.edn", "{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :read}",
         "a.edn:2: process 0 invokes read while its operation of line 1 is still open"),
        ("a.edn", "\n{:process 0 :type :ok :f :read :value 1}",
         "a.edn:2: process 0 completes read, which it never invoked"),
        ("a.edn", "{:process 0 :type :invoked :f :read}",
         "a.edn:1: expected an operation with :type invoke, ok, fail or info"),
        ("a.edn", "\n[1 2", "a.edn:2: not EDN"),
        ("a.json", '{"type":"invoke","process":0}\n{"type"', "a.json:2: not JSON"),
        ("a.json", "[" * 20_000, "a.json: not JSON"),
        ("a.edn", "[" * 20_000, "a.edn: can't read this EDN"),
        ("a.edn", "{:type :invoke :process [1]}", r"a.edn:1: \[1\] is not a valid :process"),
        ("a.txt", '{:process 0, :type :okay, :f :put, :key "k", :value "x"}', "a.txt:1: expected"),
        ("a.txt", '{:process [1], :type :ok, :f :put, :key "k", :value "x"}', "a.txt:1: expected"),
        ("a.json", '[{"type"', "a.json: not JSON"),
        ("a.log", "nothing", "expected lines like"),
        ("a.log", "INFO  jepsen.util - 0\t:invoke\t:write\t(", "a.log:1: '\\(' is not a value"),
        ("a.txt", "{:process 0}", "a.txt:1: expected an operation with :process, :type"),
        ("a.jsonl", "x\n", "a.jsonl:1: not an operation"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_an_error_with_its_line(
    tmp_path: Path, name: str, text: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, name, text)
    read = next(f for f in FORMATS.values() if f.suffix == path.suffix).read
    with pytest.raises(HistoryError, match=why):
        read(path, False, False)
    assert run_command(["check", "--model", "register", str(path)]) == 254
    assert re.search(why, capsys.readouterr().err)


def test_a_missing_file_and_an_unknown_suffix_are_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["check", "--model", "register", str(tmp_path / "no.edn")]) == 254
    assert "can't read" in capsys.readouterr().err
    path = written(tmp_path, "a.xyz", "")
    assert run_command(["check", "--model", "register", str(path)]) == 254
    assert "unknown suffix: give --format" in capsys.readouterr().err


OPS = [
    Op(0, 5, "invoke", 0, "write", 3),
    Op(1, 6, "invoke", "nemesis", "start-partition", {"n1": ["n2"]}),
    Op(2, 7, "fail", 0, "write", 3, "no-route"),
    Op(3, 7, "info", "nemesis", "start-partition", "done"),
    Op(4, 9, "invoke", 1, "cas-watch", [1, "a b"]),
    Op(5, 11, "ok", 1, "cas-watch", [1, "a b", 1]),
]


def test_exported_histories_are_read_back(tmp_path: Path) -> None:
    clients = [(op.type, op.process, op.f, op.value) for op in OPS if op.process != "nemesis"]
    path = written(tmp_path, "a.edn", "\n".join(jepsen.write_edn(OPS)))
    history = jepsen.read_edn(path)
    assert rows(history) == clients
    assert history[1].error == "no-route"
    assert ":process :nemesis, :f :start-partition" in path.read_text()
    path = written(tmp_path, "a.json", "\n".join(jepsen.write_json(OPS)))
    assert rows(jepsen.read_json(path)) == clients


def test_export_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["export", str(tmp_path / "no.jsonl")]) == 254
    assert "can't read" in capsys.readouterr().err


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path)
    for op in OPS:
        writer.append(op)
    writer.close()
    for name, write in (("edn", jepsen.write_edn), ("json", jepsen.write_json)):
        assert run_command(["export", str(path), "--format", name]) == 0
        assert capsys.readouterr().out.splitlines() == list(write(OPS))
