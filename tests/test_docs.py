"""What the documents show runs."""

from __future__ import annotations

import re
from pathlib import Path

from harness.history import History, HistoryWriter, Op

DOCS = Path(__file__).parents[1] / "docs"


def test_the_examples_of_the_checker_run(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path)
    for op in History([Op(0, 0, "invoke", 0, "write", 1), Op(1, 1, "ok", 0, "write", 1)]):
        writer.append(op)
    writer.close()
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "checking.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {"path": path, "__name__": "docs"}
    for block in blocks:
        exec(compile(block, "checking.md", "exec"), names)
    assert names["verdict"].valid is False  # type: ignore[attr-defined]
