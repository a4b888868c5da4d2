"""Nodes as processes on this machine, every link through the fault proxy.

It needs neither root nor containers. Each process and client host reaches each process through its
own port of the proxy, so that a partition can cut any pair in either direction. No process outlives
the harness: Linux kills a node whose parent died, and when the pipe from the harness closes, the
proxy kills the process groups that it still guards.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from harness.environments import listeners
from harness.environments.nodes import node_names
from harness.environments.ports import LOOPBACK, Ports
from harness.environments.protocol import EnvironmentOptions, Exit, Grudge, ProcessSpec
from harness.errors import EnvironmentFailed, UsageError
from harness.history.record import EnvironmentInfo
from harness.host import Address
from harness.shielded import shielded

CLIENT_HOSTS = 3
_PR_SET_PDEATHSIG = 1


def _dies_with(parent: int) -> Callable[[], None]:
    """Return a function for the child to call: Linux kills it when the harness (`parent`) ends,
    and it exits if the harness already has."""

    def ask_the_kernel() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return ask_the_kernel


class ProxyControl:
    """Runs the proxy process, and implements `Network` with its commands."""

    def __init__(self, log: Path, seed: int) -> None:
        self._log = log
        self._seed = seed
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._ids = 0
        self._shaped: set[tuple[str, str]] = set()
        self.ended = False  # whether the proxy's output has ended

    async def open(self) -> None:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "harness.environments.proxy",
                str(self._seed),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # it outlives the harness, to kill the nodes
                limit=1 << 20,
            )
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            future = self._answers.pop(answer["id"], None)
            if future is None or future.done():
                continue
            if "error" in answer:
                future.set_exception(EnvironmentFailed(f"proxy: {answer['error']}"))
            else:
                future.set_result(answer["ok"])
        for future in self._answers.values():
            if not future.done():
                future.set_exception(EnvironmentFailed(f"the proxy ended; see {self._log}"))
        self._answers.clear()
        self.ended = True

    async def ask(self, do: str, **args: Any) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            raise EnvironmentFailed(f"the proxy is not running; see {self._log}")
        self._ids += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._ids] = future
        request = json.dumps({"id": self._ids, "do": do, "args": args})
        try:
            process.stdin.write(request.encode() + b"\n")
            async with asyncio.timeout(30):
                return await future
        except (TimeoutError, OSError) as e:
            raise EnvironmentFailed(f"the proxy did not answer; see {self._log}") from e

    async def apply(self, grudge: Grudge) -> None:
        flows = [(source, sink) for sink in sorted(grudge) for source in sorted(grudge[sink])]
        await self.ask("cut", flows=flows)

    async def heal(self) -> None:
        await self.ask("cut", flows=[])
        for source, sink in sorted(self._shaped):
            await self.ask("shape", source=source, sink=sink)
        self._shaped.clear()

    async def shape(
        self,
        source: str,
        sink: str,
        *,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        bytes_per_s: float = 0.0,
    ) -> None:
        self._shaped.add((source, sink))
        await self.ask(
            "shape",
            source=source,
            sink=sink,
            delay_s=delay_s,
            jitter_s=jitter_s,
            bytes_per_s=bytes_per_s,
        )

    async def reset(self, source: str, sink: str) -> int:
        return int(await self.ask("reset", source=source, sink=sink))

    async def stats(self) -> dict[tuple[str, str], dict[str, int]]:
        return {(a, b): s for a, b, s in await self.ask("stats")}

    async def close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._process = None


class _Node:
    def __init__(self, spec: ProcessSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.process = process
        self.killed = False
        self.survives = False  # whether its server still listens, although it was killed
        self.watcher: asyncio.Task[None] | None = None


class LocalEnvironment:
    """An environment of processes on this machine, which it can kill, pause and partition."""

    name = "local"
    simulated = False

    def __init__(self, options: EnvironmentOptions) -> None:
        options.refuse_addresses(self.name)
        self.nodes = node_names(options.nodes)
        self.processes: dict[str, str] = {node: node for node in self.nodes}
        self.client_hosts = tuple(f"c{i + 1}" for i in range(CLIENT_HOSTS))
        self.exits: list[Exit] = []
        self._run_dir = options.run_dir
        self._first_port = options.first_port
        self._started = time.monotonic_ns()
        self._reserved = Ports()
        self._ports: dict[str, int] = {}
        self._links: dict[tuple[str, str], int] = {}
        self._running: dict[str, _Node] = {}
        self._logged: dict[str, tuple[int, int]] = {}  # inode and size of each log, when last read
        self._proxy = ProxyControl(options.run_dir / "logs" / "proxy.log", options.seed)

    @property
    def network(self) -> ProxyControl:
        return self._proxy

    def now(self) -> int:
        return time.monotonic_ns() - self._started

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)

    def declare(self, process: str, host: str) -> None:
        self.processes[process] = host

    async def open(self) -> None:
        (self._run_dir / "logs").mkdir(parents=True, exist_ok=True)
        for i, node in enumerate(self.processes):
            given = self._first_port is not None and i < len(self.nodes)
            port = self._first_port + i if given and self._first_port is not None else None
            try:
                self._ports[node] = self._reserved.take(port)
            except OSError as e:
                raise UsageError(
                    f"port {port}, meant for {node}, is taken: choose another --port, or leave it "
                    "out"
                ) from e
        await self._proxy.open()
        for source in (*self.processes, *self.client_hosts):
            for sink in self.processes:
                if source != sink:
                    self._links[source, sink] = await self._proxy.ask(
                        "link", source=source, sink=sink, host=LOOPBACK, port=self._ports[sink]
                    )

    def address(self, process: str, *, seen_from: str) -> Address:
        return LOOPBACK, self._links[seen_from, process]

    def control_address(self, process: str) -> Address:
        return LOOPBACK, self._ports[process]

    def data_dir(self, process: str) -> str:
        path = (self._run_dir / "data" / process).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    async def wipe(self, process: str) -> None:
        shutil.rmtree(self._run_dir / "data" / process, ignore_errors=True)

    async def start(self, spec: ProcessSpec) -> None:
        if not spec.argv:
            raise EnvironmentFailed(f"{spec.name} can't run as a real process")
        logs = self._run_dir / "logs" / spec.node
        logs.mkdir(parents=True, exist_ok=True)
        try:
            with (logs / f"{spec.name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *spec.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.data_dir(spec.name),
                    env={**os.environ, **spec.env},
                    start_new_session=True,
                    preexec_fn=_dies_with(os.getpid()),
                )
        except OSError as e:
            raise EnvironmentFailed(f"{spec.name}: can't run {spec.argv[0]}: {e.strerror}") from e
        self._log_began(spec.name, logs / f"{spec.name}.log")
        node = self._running[spec.name] = _Node(spec, process)
        node.watcher = asyncio.create_task(self._watch(node))
        await self._proxy.ask("guard", pid=process.pid, guard=True)
        await self._proxy.ask("refuse", sink=spec.name, refuse=False)

    def _log_began(self, process: str, path: Path) -> None:
        with contextlib.suppress(OSError):
            self._logged.setdefault(process, (path.stat().st_ino, 0))

    async def _watch(self, node: _Node) -> None:
        code = await node.process.wait()
        self.exits.append(
            Exit(process=node.spec.name, code=code, time=self.now(), expected=node.killed)
        )

    async def log_tail(self, process: str, lines: int = 2) -> str:
        text = self._log(process) or ""
        shown = [line for line in text.strip().splitlines() if "WARNING" not in line]
        return " | ".join(line.partition("# ")[2] or line for line in shown[-lines:])

    async def logs(self) -> dict[str, str | None]:
        return {process: self._log(process) for process in self._running}

    def _log(self, process: str) -> str | None:
        """Return what a process has logged; None if its file is gone, or was cut short."""
        node = self._running[process]
        path = self._run_dir / "logs" / node.spec.node / f"{process}.log"
        try:
            found = path.stat()
            text = path.read_text(errors="replace")
        except OSError:
            return None
        before = self._logged.get(process, (found.st_ino, 0))
        if found.st_ino != before[0] or found.st_size < before[1]:
            return None
        self._logged[process] = found.st_ino, found.st_size
        return text

    async def kill(self, process: str, *, drop_held: bool = False) -> None:
        node = self._running[process]
        node.killed = True
        self._signal(node, signal.SIGKILL)
        if node.watcher is not None:
            await node.watcher
        await self._proxy.ask("guard", pid=node.process.pid, guard=False)
        node.survives = await listeners.answers(self._ports[process])
        if node.survives:  # its launcher put it into a process group of its own
            return
        await self._proxy.ask("refuse", sink=process, refuse=True)
        if drop_held:
            await self._proxy.ask("drop", source=process)

    async def pause(self, process: str) -> None:
        self._signal(self._running[process], signal.SIGSTOP)
        for _ in range(200):  # a stop takes effect with a short delay
            if await self.state(process) != "running":
                return
            await asyncio.sleep(0.005)

    async def resume(self, process: str) -> None:
        self._signal(self._running[process], signal.SIGCONT)

    @staticmethod
    def _signal(node: _Node, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.process.pid, number)

    async def state(self, process: str) -> str:
        node = self._running.get(process)
        if node is not None and node.survives:
            return "running"
        if node is None or node.process.returncode is not None:
            return "dead"
        state = _process_state(node.process.pid)
        if state in ("", "Z"):
            return "dead"
        return "paused" if state in ("T", "t") else "running"

    async def close(self) -> None:
        await shielded(self._stop_all())

    async def _stop_all(self) -> None:
        for node in self._running.values():
            node.killed = node.killed or node.process.returncode is None
            self._signal(node, signal.SIGKILL)  # the group: a dead server may have left a child
        watchers = [n.watcher for n in self._running.values() if n.watcher is not None]
        await asyncio.gather(*watchers, return_exceptions=True)
        for name in self._running:  # also where a launcher's end was no end of its server
            await listeners.kill(self._ports[name], self._run_dir)
        with contextlib.suppress(EnvironmentFailed):
            for node in self._running.values():
                await self._proxy.ask("guard", pid=node.process.pid, guard=False)
        await self._proxy.close()
        self._reserved.close()

    async def helpers_ended(self) -> list[str]:
        return ["the fault proxy"] if self._proxy.ended else []

    def describe(self) -> EnvironmentInfo:
        return EnvironmentInfo(
            environment=self.name,
            addresses={process: f"{LOOPBACK}:{port}" for process, port in self._ports.items()},
        )


def _process_state(pid: int) -> str:
    """Return the kernel's state letter of a process; "" if it does not exist."""
    if Path("/proc/self/stat").exists():
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:  # it ended before or while it was read
            return ""
    ps = ["ps", "-o", "stat=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip()[:1]
