"""`harness bench`: the reference beside Redis and Valkey."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from harness.bench.measure import Plan, measure
from harness.bench.page import WORDS
from harness.bench.page import write as write_bench
from harness.bench.servers import choose
from harness.bench.shapes import shapes
from harness.cli.text import RESULTS, shown
from harness.results import plan_run
from harness.spec import parse_counts


@click.command(name="bench")
@click.option("--servers", default="memorydb,redis,valkey", show_default=True, help="Side by side.")
@click.option("--clients", default="1,10,50,100", show_default=True, help="How many, each in turn.")
@click.option(
    "--sizes", default="100,1000", show_default=True, help="Bytes of a value, each in turn."
)
@click.option(
    "--keys",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="Of values of 100 bytes; of longer ones as many as take as much.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=2.0, show_default=True, help="A point."
)
@click.option(
    "--snapshot-mb",
    "spike_mb",
    type=click.IntRange(min=0),
    default=500,
    show_default=True,
    help="Data of a server when a snapshot is taken under load; 0: none is.",
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
    """Measure the reference beside Redis and Valkey, held against the paper.

    Rates and latencies, side by side on this machine.
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers end with it
    for results in measure(plan, click.echo):
        page = write_bench(folder, results)
    for shape in shapes(results):
        click.echo(f"{WORDS[shape.holds]:4} {shape.what}: {shape.here}")
    click.echo(f"page  {shown(page)}")
    return 0
