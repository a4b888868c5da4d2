"""How the cost of a check grows with operations and clients, drawn beside Porcupine's.

    python benchmarks/growth.py [--porcupine FOLDER] [--out docs/growth.svg]

One register, with unique written values, and with five values and compare-and-set; clients are
always busy; one thread. Porcupine's curve is measured if its source is in FOLDER, else it is that
recorded on a machine like this one. Needs `.[bench]`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl
from histories import registers
from linearizable import FIVE, measure
from peer import Porcupine

mpl.use("svg")
from matplotlib import pyplot as plt

LENGTHS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
# Seconds, by (values, clients) and length. The next length of each exceeded 20 s or 8 GB.
RECORDED = {
    ("unique", 5): {1_000: 0.0021, 10_000: 0.058, 100_000: 18.3},
    ("unique", 10): {1_000: 0.063, 10_000: 2.3},
    ("five", 5): {1_000: 0.0015, 10_000: 0.055, 100_000: 5.1},
    ("five", 10): {1_000: 0.022, 10_000: 0.97},
}
PANELS: list[tuple[str, str, tuple[int, ...], int, dict[str, Any]]] = [
    ("unique", "every written value is unique", (5, 10, 20, 50, 100), 10_000_000, {}),
    ("five", "five values, compare-and-set", (5, 10, 20), 1_000_000, FIVE),
]
COLOURS = {5: "#1b6ca8", 10: "#2a9d8f", 20: "#8a6fae", 50: "#c77d2e", 100: "#6b6b6b"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--porcupine", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/growth.svg"))
    given = parser.parse_args()
    peer = Porcupine(given.porcupine) if given.porcupine else None
    plt.rcParams.update({"font.size": 10, "svg.hashsalt": "growth", "svg.fonttype": "none"})
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    for axis, (values, title, clients, longest, more) in zip(axes, PANELS, strict=True):
        for c in clients:
            ours: dict[int, float] = {}
            theirs = {} if peer else RECORDED.get((values, c), {})
            for n in (n for n in LENGTHS if n <= longest):
                made = registers(n, c, **more)
                got = measure(made, rounds=3)
                assert got.verdict == 1, got
                ours[n] = got.seconds
                if peer and len(theirs) == LENGTHS.index(n):
                    took = peer.check(made).seconds
                    theirs |= {n: took} if took else {}
                print(f"{values} c{c} {n:,}: {got.seconds * 1e3:.2f} ms, {got.mb:.0f} MB, "
                      f"Porcupine {theirs.get(n, '-')} s", flush=True)  # fmt: skip
            axis.plot(list(ours), list(ours.values()), "o-", ms=4, color=COLOURS[c],
                      label=f"harness, {c} clients")  # fmt: skip
            if theirs:
                axis.plot(list(theirs), list(theirs.values()), "s--", ms=4, color=COLOURS[c],
                          label=f"Porcupine, {c} clients")  # fmt: skip
                axis.plot(list(theirs)[-1:], list(theirs.values())[-1:], "x", ms=11, mew=2,
                          color=COLOURS[c])  # fmt: skip
        axis.set(xscale="log", yscale="log", title=title, xlabel="operations on one register")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False)
    axes[0].set_ylabel("seconds of a check")
    figure.text(0.5, 0.005, "×: the next length took more than 20 s or 8 GB; with 20 clients and "
                "more that is already the first one", ha="center", fontsize=9)  # fmt: skip
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(given.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
