"""The limits of checking five-valued registers with compare-and-set.

    python benchmarks/grid.py [--longest 1000000] [--seeds 1]

Clients are always busy; 1 % and 5 % of the writes have an unknown outcome. Each cell: the time of a
check with the default budget on one thread, the growth of the process, and the verdict; with
several seeds, those of the slowest. Needs `.[bench]`.
"""

from __future__ import annotations

import argparse

from histories import registers
from linearizable import FIVE, measure

from harness.checkers.linearizability.entries import budget_of

CLIENTS = (5, 10, 20, 50)
WORDS = {1: "valid", 0: "invalid", -1: "unknown"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--longest", type=int, default=1_000_000)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    lengths = [n for n in (1_000, 10_000, 100_000, 1_000_000) if n <= given.longest]
    print(f"{'unknown':>8}{'operations':>12}" + "".join(f"{f'c{c}':>42}" for c in CLIENTS))
    for unknown in (0.01, 0.05):
        for n in lengths:
            cells = []
            for clients in CLIENTS:
                runs = []
                for seed in range(1, given.seeds + 1):
                    made = registers(n, clients, unknown=unknown, seed=seed, **FIVE)
                    got = measure(made, rounds=1, configurations=budget_of(n).configurations)
                    assert got.verdict != 0, "a linearizable history was refuted"
                    runs.append(got)
                worst = max(runs, key=lambda r: (r.verdict < 0, r.seconds))
                word = WORDS[worst.verdict] + (f" ({worst.how})" if worst.verdict < 0 else "")
                cells.append(f"{worst.seconds * 1e3:,.1f} ms {worst.mb:,.0f} MB {word}")
            print(f"{unknown:>8.0%}{n:>12,}" + "".join(f"{c:>42}" for c in cells), flush=True)


if __name__ == "__main__":
    main()
