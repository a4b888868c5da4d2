"""How long a node takes to recover a million keys, from a snapshot and the tail of the log.

    python benchmarks/recovery.py [keys]

Real processes: three AZs, a node, the snapshotter. For comparison: the same node without snapshots,
from the whole log.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis

from harness.bench.servers import free_ports, serves

KEYS = 1_000_000
TAIL = 50_000  # SETs after the snapshot
VALUE_BYTES = 100


class Shard:
    """The processes of a shard by name, on ports of this machine."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self.node, *azs = free_ports(4)
        self._azs = [f"az{i + 1}=127.0.0.1:{port}" for i, port in enumerate(azs)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for az in self._azs:
            self._start("az", az[:3], az[4:], "--create")

    def _start(self, role: str, name: str, listen: str, *more: str) -> None:
        argv = [sys.executable, "-m", "targets.memorydb_py", role, "--name", name]
        argv += ["--listen", listen, "--dir", str(self._where / name)]
        for az in self._azs:
            argv += ["--az", az]
        with (self._where / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([*argv, *more], stdout=log, stderr=log)

    def start_node(self, *more: str) -> float:
        """Start the node; return the seconds until it serves."""
        began = time.monotonic()
        address = f"127.0.0.1:{self.node}"
        self._start("node", "n1", address, "--node", f"n1={address}", *more)
        while not serves(self.node):
            time.sleep(0.05)
        return time.monotonic() - began

    def start_snapshotter(self) -> None:
        self._start("snapshotter", "s1", "127.0.0.1:1", "--snapshots", self.snapshots,
                    "--every", "1000")  # fmt: skip

    @property
    def snapshots(self) -> str:
        return str(self._where / "snapshots")

    def kill(self, name: str) -> None:
        self._processes[name].kill()
        self._processes[name].wait()

    def kill_all(self) -> None:
        for name in self._processes:
            self.kill(name)

    def peak_mb(self, name: str) -> int:
        """Return the peak memory of a process so far."""
        status = Path(f"/proc/{self._processes[name].pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) // 1024

    def fill(self, first: int, count: int) -> None:
        value = b"x" * VALUE_BYTES
        with redis.Redis(port=self.node) as client:
            for start in range(first, first + count, 10_000):
                pipe = client.pipeline(transaction=False)
                for i in range(start, min(start + 10_000, first + count)):
                    pipe.set(f"key:{i}", value)
                pipe.execute()

    def keys(self) -> int:
        with redis.Redis(port=self.node) as client:
            return int(client.dbsize())


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    with tempfile.TemporaryDirectory() as folder:
        shard = Shard(Path(folder))
        try:
            shard.start_node()
            shard.fill(0, keys)
            began = time.monotonic()
            shard.start_snapshotter()
            found: list[Path] = []
            while not found:
                time.sleep(0.1)
                found = sorted(Path(shard.snapshots).glob("*.rdb"))
            took = time.monotonic() - began
            size = found[-1].stat().st_size >> 20
            print(f"{keys:,} keys of {VALUE_BYTES} bytes, in a log of {keys:,} entries")
            print(f"snapshot             {took:6.1f} s   {shard.peak_mb('s1'):6,} MB   "
                  f"{size} MB in the store")  # fmt: skip
            shard.kill("s1")
            shard.fill(keys, TAIL)
            shard.kill("n1")
            for what, more in (("snapshot and tail", ("--snapshots", shard.snapshots)),
                               ("the whole log", ())):  # fmt: skip
                took = shard.start_node(*more)
                assert shard.keys() == keys + TAIL
                print(f"{what:20} {took:6.1f} s   {shard.peak_mb('n1'):6,} MB   until it serves")
                shard.kill("n1")
        finally:
            shard.kill_all()


if __name__ == "__main__":
    main()
