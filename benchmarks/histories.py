"""Histories whose verdicts are known by construction, as columns, for the checkers' benchmarks.

A linearizable store is simulated: each operation takes effect at one instant within its interval.
Clients are always busy, or think for a while. A share `unknown` of the operations that write has an
unknown outcome: half of them take effect, some late, and their client continues as a new process.
`stale_at`: one read, after that share of the reads, returns a value that had been overwritten
before it was called. The families are those of published benchmarks and of Porcupine's own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

READ, WRITE, CAS = 0, 1, 2
OPEN = (1 << 63) - 1
NOTHING = -1


@dataclass
class Columns:
    """One row an operation, in order of call. `call`, `ret`: positions of events, from 0; `ret` is
    OPEN if the outcome is unknown. `a`: the value written, read, or compared with; `b`: the value
    that a cas sets; `swapped`: whether it succeeded. NOTHING: the initial value."""

    process: np.ndarray
    call: np.ndarray
    ret: np.ndarray
    key: np.ndarray
    f: np.ndarray
    a: np.ndarray
    b: np.ndarray
    swapped: np.ndarray
    valid: bool = True
    about: dict[str, object] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.call)


def registers(
    n: int,
    clients: int,
    *,
    keys: int = 1,
    values: int | None = None,
    writes: float = 0.5,
    swaps: float = 0.0,
    unknown: float = 0.0,
    think: float = 0.0,
    stale_at: float | None = None,
    phantom_at: float | None = None,
    seed: int = 1,
) -> Columns:
    """Return `n` register operations. `values`: how many; None: each value is written once."""
    rng = np.random.default_rng(seed)
    each = n // clients + 1
    shape = (clients, each)
    f = np.full(shape, READ, np.int8)
    draw = rng.random(shape)
    f[draw < writes + swaps] = CAS
    f[draw < writes] = WRITE
    takes = rng.exponential(1.0, shape) + 0.05
    lost = (f != READ) & (rng.random(shape) < unknown)
    pause = rng.exponential(think, shape) if think else 1e-6 * (0.1 + rng.random(shape))
    step = np.where(lost, 5.0, takes) + pause
    call = np.cumsum(step, axis=1) - step + rng.random((clients, 1))
    ret = call + takes
    effect = call + takes * rng.random(shape)
    lag = rng.exponential(1.0, shape) * np.where(rng.random(shape) < 0.1, 50, 1)
    effect = np.where(lost, np.where(rng.random(shape) < 0.5, call + lag, np.inf), effect)
    ret = np.where(lost, np.inf, ret)
    process = np.arange(clients)[:, None] + clients * np.cumsum(lost, axis=1) - clients * lost
    order = np.argsort(call, axis=None, kind="stable")[:n]
    f, call, ret, effect, process, lost = (
        x.reshape(-1)[order] for x in (f, call, ret, effect, process, lost)
    )
    key = rng.integers(keys, size=n, dtype=np.int32) if keys > 1 else np.zeros(n, np.int32)
    a, b = np.full(n, NOTHING, np.int64), np.full(n, NOTHING, np.int64)
    if values is None:
        a = np.where(f == WRITE, np.arange(n), a)
        b = np.where(f == CAS, np.arange(n), b)
    else:
        a = np.where(f != READ, rng.integers(values, size=n), a)
        b = np.where(f == CAS, rng.integers(values, size=n), b)
    swapped = np.zeros(n, bool)
    if swaps:
        _apply(
            np.argsort(effect, kind="stable"), effect, f, key, a, b, swapped, values is None, rng
        )
    else:
        _read_back(effect, f, key, a)
    call, ret = _positions(call, ret)
    made = Columns(process, call, ret, key, f, a, b, swapped)
    if stale_at is not None:
        _make_stale(made, stale_at)
    if phantom_at is not None:
        reads = np.flatnonzero((f == READ) & (ret != OPEN))
        a[reads[int(len(reads) * phantom_at)]] = n + 1
        made.valid = False
    keep = (f != READ) | (ret != OPEN)
    assert keep.all()
    return made


INSERT, REMOVE = 0, 1


@dataclass
class Contents:
    """One row an operation on a container, in order of call. `value`: NOTHING if a removal found
    the container empty. `goes_next`: which value a removal takes: first, last or least."""

    call: np.ndarray
    ret: np.ndarray
    kind: np.ndarray
    value: np.ndarray
    goes_next: str
    valid: bool = True

    def __len__(self) -> int:
        return len(self.call)


def contents(
    n: int, clients: int, goes_next: str, *, swapped_at: float | None = None, seed: int = 1
) -> Contents:
    """Return `n` insertions and removals, half of each, of values inserted once; clients are always
    busy. `goes_next`: first, last or least. `swapped_at`: after that share of the removals, the
    results of one and of an earlier one, at which both values were inside, are exchanged."""
    rng = np.random.default_rng(seed)
    each = n // clients + 1
    takes = rng.exponential(1.0, (clients, each)) + 0.05
    step = takes + 1e-6 * (0.1 + rng.random((clients, each)))
    call = np.cumsum(step, axis=1) - step + rng.random((clients, 1))
    effect = call + takes * rng.random((clients, each))
    ret = call + takes
    order = np.argsort(call, axis=None, kind="stable")[:n]
    call, ret, effect = (x.reshape(-1)[order] for x in (call, ret, effect))
    kind = (rng.random(n) < 0.5).astype(np.int32)
    value = np.where(kind == INSERT, rng.permutation(n), NOTHING)
    values, kinds = value.tolist(), kind.tolist()
    inside: deque[int] | list[int] = deque() if goes_next == "first" else []
    for i in np.argsort(effect, kind="stable").tolist():
        if kinds[i] == INSERT:
            heappush(inside, values[i]) if goes_next == "least" else inside.append(values[i])
        elif inside:
            values[i] = (
                heappop(inside) if goes_next == "least"
                else inside.popleft() if goes_next == "first" else inside.pop()
            )  # fmt: skip
    value = np.array(values, np.int64)
    valid = swapped_at is None
    if swapped_at is not None:
        inserted = np.full(n, n, np.int64)
        inserted[value[kind == INSERT]] = np.flatnonzero(kind == INSERT)
        taken = np.flatnonzero((kind == REMOVE) & (value != NOTHING))
        for at in range(int(len(taken) * swapped_at), len(taken)):
            a, earlier = taken[at], taken[max(0, at - 100 * clients) : at]
            since = ret[inserted[value[a]]]  # its value is inside from then on
            others = earlier[(call[earlier] > since) & (ret[earlier] < call[a])]
            came = inserted[value[others]]
            above = (call[came] > since) & (ret[came] < call[others])
            others = others[above if goes_next == "last" else ret[came] < since]
            if len(others) and (goes_next != "least" or value[others[-1]] < value[a]):
                value[a], value[others[-1]] = value[others[-1]], value[a]
                break
    call, ret = _positions(call, ret)
    return Contents(call, ret, kind, value, goes_next, valid)


def _read_back(effect: np.ndarray, f: np.ndarray, key: np.ndarray, a: np.ndarray) -> None:
    """Fill in the results of reads, where every other operation is a write."""
    order = np.lexsort((effect, key))
    order = order[np.isfinite(effect[order])]
    place = np.arange(len(order))
    first = np.r_[True, key[order][1:] != key[order][:-1]]
    begin = np.maximum.accumulate(np.where(first, place, 0))
    last = np.maximum.accumulate(np.where(f[order] == WRITE, place, -1))
    seen = np.where(last >= begin, a[order[np.maximum(last, 0)]], NOTHING)
    reads = f[order] == READ
    a[order[reads]] = seen[reads]


def _apply(
    order: np.ndarray,
    effect: np.ndarray,
    f: np.ndarray,
    key: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    swapped: np.ndarray,
    unique: bool,
    rng: np.random.Generator,
) -> None:
    """Apply operations one after the other. With unique values, 60 % of the comparisons are with
    the value before the present one, and so mostly fail."""
    state: dict[int, int] = {}
    before: dict[int, int] = {}
    stale = rng.random(len(order)) < 0.6
    kinds, keys_of, compared, new = f.tolist(), key.tolist(), a.tolist(), b.tolist()
    never = ~np.isfinite(effect)
    late = never.tolist()
    for i in order.tolist():
        k = keys_of[i]
        now = state.get(k, NOTHING)
        if kinds[i] == READ:
            compared[i] = now
            continue
        if kinds[i] == CAS:
            if unique:
                compared[i] = before.get(k, NOTHING) if stale[i] else now
            if late[i] or compared[i] != now:
                continue
            swapped[i] = True
        elif late[i]:
            continue
        before[k] = now
        state[k] = new[i] if kinds[i] == CAS else compared[i]
    a[:] = compared


def _positions(call: np.ndarray, ret: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(call)
    times = np.concatenate([call, ret])
    order = np.argsort(times, kind="stable")
    rank = np.empty(2 * n, np.int64)
    rank[order] = np.arange(2 * n)
    return rank[:n].copy(), np.where(np.isfinite(ret), rank[n:], OPEN)


def _make_stale(made: Columns, at: float) -> None:
    """Let one read, of a key that was written often, return an overwritten value."""
    reads = np.flatnonzero((made.f == READ) & (made.ret != OPEN))
    for i in reads[int(len(reads) * at) :]:
        writes = (
            (made.key[:i] == made.key[i]) & (made.f[:i] == WRITE) & (made.ret[:i] < made.call[i])
        )
        done = np.flatnonzero(writes)
        if len(done) < 4:
            continue
        last = done[np.argmax(made.call[done])]
        earlier = done[made.ret[done] < made.call[last]]
        if len(earlier):
            made.a[i] = made.a[earlier[np.argmax(made.ret[earlier])]]
            made.valid = False
            return
    raise ValueError("no read could be made stale")
