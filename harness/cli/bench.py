"""`harness bench`: benchmarks of the reference, Redis and Valkey, side by side."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from harness.bench.measure import Plan, measure
from harness.bench.page import YES_NO
from harness.bench.page import write as write_bench
from harness.bench.servers import choose
from harness.bench.shapes import shapes
from harness.cli.text import RESULTS, shown
from harness.results import plan_run
from harness.spec import parse_counts


@click.command(name="bench")
@click.option(
    "--servers", default="memorydb,redis,valkey", show_default=True, help="Servers to compare."
)
@click.option(
    "--clients", default="1,10,50,100", show_default=True, help="Numbers of clients, each in turn."
)
@click.option(
    "--sizes", default="100,1000", show_default=True, help="Value sizes in bytes, each in turn."
)
@click.option(
    "--keys",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Number of keys; fewer if values exceed 100 bytes, so that the total size is the same.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds per point.",
)
@click.option(
    "--snapshot-mb",
    "spike_mb",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="MB of data added to a server before a snapshot under load; 0: no snapshot.",
)
@RESULTS
def command(
    servers: str,
    clients: str,
    sizes: str,
    keys: int,
    seconds: float,
    spike_mb: int,
    results_dir: Path,
) -> int:
    """Compare the reference MemoryDB with Redis, Valkey and the MemoryDB paper.

    Measures rates and latencies on this machine. The paper is "Amazon MemoryDB: A Fast and Durable
    Memory-First Cloud Database", SIGMOD 2024.
    """
    plan = Plan(
        servers=choose(servers),
        clients=parse_counts("--clients", clients),
        sizes=parse_counts("--sizes", sizes),
        keys=keys,
        seconds=seconds,
        spike_mb=spike_mb,
    )
    folder = plan_run(results_dir, "bench")
    folder.create()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers are stopped
    for results in measure(plan, click.echo):
        page = write_bench(folder, results)
    for shape in shapes(results):
        click.echo(f"{YES_NO[shape.holds]:4} {shape.what}: {shape.here}")
    click.echo(f"page  {shown(page)}")
    return 0
