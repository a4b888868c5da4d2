"""Operations, pairing, and the file of a history, also a torn one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HistoryError
from harness.history import (
    LINE_BYTES_MAX,
    NEMESIS,
    History,
    HistoryWriter,
    Op,
    encode,
    read_history,
)

json_values = st.recursive(
    st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


def write(path: Path, *ops: Op) -> None:
    writer = HistoryWriter(path)
    for op in ops:
        writer.append(op)
    writer.close()


@given(values=st.lists(json_values, max_size=5))
def test_written_operations_are_read_back(tmp_path_factory: pytest.TempPathFactory, values) -> None:
    path = tmp_path_factory.mktemp("h") / "history.jsonl"
    ops = [Op(i, i * 10, "invoke", i, "read", v) for i, v in enumerate(values)]
    write(path, *ops)
    history, warnings = read_history(path)
    assert list(history) == ops
    assert warnings == []


def test_absent_fields_are_not_written() -> None:
    assert encode(Op(0, 1, "ok", 2, "read", 3)) == (
        b'{"index":0,"time":1,"type":"ok","process":2,"f":"read","value":3}'
    )


def test_a_torn_last_line_is_dropped_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    write(path, Op(0, 1, "invoke", 0, "read"), Op(1, 2, "ok", 0, "read", 7))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    history, warnings = read_history(path)
    assert [op.index for op in history] == [0]
    assert len(warnings) == 1
    assert ":2: the last line is torn" in warnings[0]


def test_a_bad_line_in_the_middle_is_an_error_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(encode(Op(0, 1, "invoke", 0, "read")) + b"\n{nonsense}\n")
    with pytest.raises(HistoryError, match=r"history\.jsonl:2: not an operation"):
        read_history(path)


@pytest.mark.parametrize("line", [b'{"index":0}', b"[1,2]", b'{"index":0,"time":0,"type":"maybe"}'])
def test_json_that_is_not_an_operation_is_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(HistoryError, match=":1: not an operation"):
        read_history(path)


def test_out_of_order_operations_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    write(path, Op(0, 5, "invoke", 0, "read"), Op(1, 4, "ok", 0, "read"))
    with pytest.raises(HistoryError, match="out of order"):
        read_history(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"can.t read .*: No such file"):
        read_history(tmp_path / "none.jsonl")


def test_a_line_longer_than_the_limit_is_refused(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "h")
    with pytest.raises(HistoryError, match="more than the 4096"):
        writer.append(Op(0, 0, "ok", 0, "read", "x" * LINE_BYTES_MAX))
    writer.close()


def test_an_existing_history_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "h", Op(0, 0, "invoke", 0, "read"))
    with pytest.raises(HistoryError, match="File exists"):
        HistoryWriter(tmp_path / "h")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_error_and_the_writer_still_closes(tmp_path: Path) -> None:
    writer = HistoryWriter(tmp_path / "h")
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._fd)
    writer.append(Op(0, 0, "invoke", 0, "read"))
    with pytest.raises(HistoryError, match="No space left"):
        writer.flush()
    with pytest.raises(HistoryError, match="No space left"):
        writer.close()
    writer.close()


def test_pairs_join_by_process_and_keep_open_operations() -> None:
    history = History([
        Op(0, 0, "invoke", 0, "write", 1), Op(1, 1, "invoke", 1, "read"),
        Op(2, 2, "ok", 1, "read", 5), Op(3, 3, "invoke", NEMESIS, "start-kill"),
        Op(4, 4, "info", NEMESIS, "start-kill"), Op(5, 5, "invoke", 1, "read"),
        Op(6, 6, "fail", 1, "read"),
    ])  # fmt: skip
    pairs = history.pairs()
    assert [(p.invoke.index, p.type, p.value) for p in pairs] == [
        (0, "info", 1),
        (1, "ok", 5),
        (5, "fail", None),
    ]
    assert [p.invoke.f for p in history.nemesis_pairs()] == ["start-kill"]


@pytest.mark.parametrize("second", ["invoke", "ok"])
def test_a_process_has_one_operation_at_a_time(second) -> None:
    first = Op(0, 0, "invoke", 0, "read")
    history = History([first, Op(1, 1, second, 0 if second == "invoke" else 1, "read")])
    with pytest.raises(HistoryError, match="operation 1: process"):
        history.pairs()
