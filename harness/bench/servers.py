"""Starts servers side by side on this machine, without a proxy in front of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redis.exceptions as rx

from harness.binaries import find_server, version_of
from harness.errors import EnvironmentFailed, UsageError
from harness.registry import load

REFERENCE = "memorydb"
NAMES = (REFERENCE, "redis", "valkey")
START_S = 20.0


@dataclass
class Server:
    """One server under test, with its processes.

    `commands`: their command lines, by name. `folder`: their data and logs. `azs`: the options by
    which the reference's processes find the AZs. `processes`: those that were started.
    """

    name: str
    version: str
    port: int
    folder: Path
    commands: Mapping[str, Sequence[str]]
    azs: Sequence[str] = ()
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        for name, argv in self.commands.items():
            self.processes.append(self.run(name, argv))

    def run(self, name: str, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process in its own session, so that the terminal's Ctrl-C does not reach it."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                argv, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=60)

    def check(self) -> None:
        """Raise `EnvironmentFailed` if one of its processes has ended."""
        if any(process.poll() is not None for process in self.processes):
            texts = [log.read_text(errors="replace") for log in sorted(self.folder.glob("*.log"))]
            last = [text.strip().splitlines()[-1] for text in texts if text.strip()]
            raise EnvironmentFailed(f"{self.name} ended: {' | '.join(last) or 'without output'}")

    def memory_bytes(self) -> int:
        """Return the resident memory of all its processes; 0 if it is unknown."""
        total = 0
        for process in self.processes:
            with contextlib.suppress(OSError):
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                total += pages * os.sysconf("SC_PAGESIZE")
        return total


def choose(text: str) -> list[str]:
    """Return the servers of a comma-separated list. Raises `UsageError` if one can't be run."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise UsageError(f"--servers {name}: choose from {', '.join(NAMES)}")
        if name != REFERENCE:
            find_server(name)
    if not names:
        raise UsageError("--servers: name at least one")
    return list(dict.fromkeys(names))


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def running(names: Sequence[str], where: Path) -> Iterator[list[Server]]:
    """Run servers without data, and kill them when the block ends. Raises `UsageError` and
    `EnvironmentFailed`."""
    servers: list[Server] = []
    try:
        for name in names:
            folder = where / name
            folder.mkdir(parents=True)
            server = _memorydb(folder) if name == REFERENCE else _vanilla(name, folder)
            servers.append(server)
            server.start()
        for server in servers:
            _await_primary(server)
        yield servers
    finally:
        for process in [p for server in servers for p in server.processes]:
            process.kill()
            process.wait()


def _vanilla(name: str, folder: Path) -> Server:
    binary = find_server(name)
    (port,) = free_ports(1)
    argv = [
        str(binary),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    return Server(name, version_of(binary), port, folder, {name: argv})


def _command_line(role: str, name: str, port: int, azs: Sequence[str]) -> list[str]:
    program = [sys.executable, "-m", "targets.memorydb_py", role, "--name", name]
    return [*program, "--listen", f"127.0.0.1:{port}", "--dir", name, *azs]


def _memorydb(folder: Path) -> Server:
    port, *ports = free_ports(4)
    names = [f"az{i + 1}" for i in range(3)]
    addresses = [f"{name}=127.0.0.1:{p}" for name, p in zip(names, ports, strict=True)]
    azs = [word for address in addresses for word in ("--az", address)]
    commands = {
        name: [*_command_line("az", name, p, azs), "--create"]
        for name, p in zip(names, ports, strict=True)
    }
    commands["n1"] = [*_command_line("node", "n1", port, azs), "--node", f"n1=127.0.0.1:{port}"]
    version = load("harness.targets", REFERENCE).version
    return Server(REFERENCE, version, port, folder, commands, azs)


def serves(port: int) -> bool:
    """Return whether a primary serves at this port."""
    with contextlib.suppress(rx.RedisError, OSError), redis.Redis(port=port) as client:
        return bool(client.role()[0] == b"master")
    return False


def _await_primary(server: Server) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        server.check()
        if serves(server.port):
            return
        time.sleep(0.05)
    raise EnvironmentFailed(f"{server.name} did not serve within {START_S:.0f} s")


@contextlib.contextmanager
def snapshot(server: Server) -> Iterator[None]:
    """Start a snapshot, and clean up when the block ends.

    Redis forks (BGSAVE). For the reference a snapshotter is started. It would run on another
    machine, so here it has the lowest priority, and its object store is in memory if possible, so
    that it does not compete with the log for the disk.
    """
    if server.name != REFERENCE:
        with server.client() as client:
            client.bgsave()
        yield
        return
    (port,) = free_ports(1)
    # Reversed: each process follows the first AZ, so the snapshotter follows another than the node.
    azs = [w for az in reversed(server.azs[1::2]) for w in ("--az", az)]
    store = _store(server)
    argv = _command_line("snapshotter", "s1", port, azs)
    process = server.run("s1", [*argv, "--snapshots", str(store), "--every", "1"])
    server.processes.append(process)
    try:
        if hasattr(os, "SCHED_IDLE"):
            os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))
        else:
            os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        yield
    finally:
        process.kill()
        process.wait()
        server.processes.remove(process)
        shutil.rmtree(store, ignore_errors=True)


def _store(server: Server) -> Path:
    memory = Path("/dev/shm")
    return memory / server.folder.parent.name if memory.is_dir() else server.folder / "snapshots"


def snapshot_done(server: Server) -> bool:
    """Return whether the snapshot is complete. Raises `EnvironmentFailed` if a process ended."""
    server.check()
    if server.name != REFERENCE:
        with server.client() as client:
            return not client.info("persistence")["rdb_bgsave_in_progress"]
    return any(_store(server).glob("snapshot-*.rdb"))
