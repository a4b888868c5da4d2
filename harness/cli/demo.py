"""`harness demo`: the lost-read example."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.text import RESULTS
from harness.demo import run


@click.command(name="demo")
@click.option("--binary", default=None, help="The redis-server to run.")
@RESULTS
def command(binary: str | None, results_dir: Path) -> int:
    """Run the lost-read example on a real redis-server and on the reference.

    On Redis a client reads a value that a failover then loses; on the reference MemoryDB, reads
    return durable values only.
    """
    return run(results_dir, binary)
