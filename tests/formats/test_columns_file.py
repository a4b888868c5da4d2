"""The cache of columns: used for the history it was made from, and ignored for any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.checkers import files as check
from harness.checkers.files import check_file
from harness.formats import columns_file
from harness.history import History, HistoryWriter, Op
from harness.history.columns import DIFFERED, Columns, columns_of

HOW = {"independent": False, "format_name": None, "nil_is_a_value": False,
       "observe_differed": False}  # fmt: skip


@pytest.fixture(autouse=True)
def _always_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(check, "KEPT_FROM", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recorded(path: Path, *ops: tuple) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    writer = HistoryWriter(path)
    for i, op in enumerate(ops):
        writer.append(Op(i, i, *op))
    writer.close()
    return path


GOOD = [("invoke", 0, "write", 1), ("ok", 0, "write", 1), ("invoke", 1, "read", None),
        ("ok", 1, "read", 1), ("invoke", 0, "cas", [1, 2]), ("fail", 0, "cas", [1, 2])]  # fmt: skip
BAD = [*GOOD[:3], ("ok", 1, "read", None)]


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*args: object) -> None:
        raise AssertionError("the history was read")

    monkeypatch.setattr("harness.formats.read_history", read)


def valid(path: Path, **how: object) -> object:
    return check_file(path, "cas-register", **HOW | how)[0].valid


def test_a_second_check_does_not_read_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    assert valid(path) is True
    assert columns_file.kept_for(path).exists()
    assert not list(tmp_path.glob("*.partial"))
    refuse_to_read(monkeypatch)
    assert valid(path) is True
    with pytest.raises(AssertionError, match="was read"):  # made with other options
        valid(path, observe_differed=True)


def test_a_changed_history_does_not_use_the_old_columns(tmp_path: Path) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    assert valid(path) is True
    recorded(path, *BAD)
    assert valid(path) is False


def test_a_violation_is_explained_from_the_history(tmp_path: Path) -> None:
    path = recorded(tmp_path / "history.jsonl", *BAD)
    verdicts = [check_file(path, "cas-register", **HOW)[0] for _ in range(2)]
    assert verdicts[0].why == verdicts[1].why
    assert verdicts[1].evidence["witnesses"]


def test_any_byte_that_was_changed_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    assert valid(path) is True
    cached = columns_file.kept_for(path)
    content = cached.read_bytes()
    refuse_to_read(monkeypatch)
    for at in range(len(content)):
        cached.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(AssertionError, match="was read"):
            valid(path)


@pytest.mark.parametrize("changed", [b"", b"x", None])
def test_damaged_columns_are_rebuilt(tmp_path: Path, changed: bytes | None) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    assert valid(path) is True
    cached = columns_file.kept_for(path)
    content = cached.read_bytes()
    cached.write_bytes(content[: len(content) // 2] if changed is None else changed)
    assert valid(path) is True
    assert cached.read_bytes() == content


def test_a_torn_history_is_not_cached(tmp_path: Path) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    with path.open("ab") as file:
        file.write(b'{"index":6')
    verdict, warnings = check_file(path, "cas-register", **HOW)
    assert (verdict.valid, len(warnings)) == (True, 1)
    assert not columns_file.kept_for(path).exists()


def test_saved_columns_are_loaded_unchanged(tmp_path: Path) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    made = History(Op(i, i, *op) for i, op in enumerate([
        ("invoke", 0, "write", ["k", {"a": [1, None]}]), ("ok", 0, "write", ["k", {"a": [1]}]),
        ("invoke", 0, "write", [["k", 2], True]), ("info", 0, "write", None),
        ("invoke", 0, "cas", [1.5, [1, 2]]), ("fail", 0, "cas", [1.5, [1, 2]]),
        ("invoke", 0, "cas", ["k", [1, 2, 3]]), ("ok", 0, "cas", ["k", [1, 2, 3]]),
    ]))  # fmt: skip
    columns = columns_of(made.pairs(), independent=True, observe_differed=True)
    columns_file.save(path, [True], columns)
    loaded = columns_file.load(path, [True])
    assert isinstance(loaded, Columns)
    assert loaded == columns
    assert DIFFERED in loaded.values
    assert columns_file.load(path, [False]) is None


def test_a_cache_that_can_not_be_written_is_no_error(tmp_path: Path) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    columns_file.folder().mkdir(parents=True, mode=0o700)
    columns_file.kept_for(path).with_suffix(".partial").mkdir()
    assert valid(path) is True
    assert not columns_file.kept_for(path).exists()


def test_files_beside_the_history_are_neither_written_nor_read(tmp_path: Path) -> None:
    path = recorded(tmp_path / "theirs" / "history.jsonl", *BAD)
    assert valid(path) is False
    assert [p.name for p in path.parent.iterdir()] == ["history.jsonl"]
    recorded(path, *GOOD)
    assert valid(path) is True
    planted = columns_file.kept_for(path).read_bytes()
    recorded(path, *BAD)
    path.with_name("history.jsonl.columns").write_bytes(planted)
    assert valid(path) is False


def test_a_cache_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path / "history.jsonl", *GOOD)
    assert valid(path) is True
    columns_file.folder().chmod(0o777)
    refuse_to_read(monkeypatch)
    with pytest.raises(AssertionError, match="was read"):
        valid(path)


def test_the_oldest_columns_are_evicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_file, "KEPT_BYTES", 1)
    for ops in (GOOD, BAD):
        assert valid(recorded(tmp_path / "history.jsonl", *ops)) is (ops is GOOD)
    assert len(list(columns_file.folder().iterdir())) == 1
