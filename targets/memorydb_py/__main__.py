"""`python -m targets.memorydb_py`: a node, an AZ of the log, or a snapshotter as a real process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.host import Address, Host, RealHost, run_real
from targets.memorydb_py.log.service import AzSettings, serve_az
from targets.memorydb_py.node.context import NodeContext, Usage
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.processes import PASSWORD, SECRET, Parts
from targets.memorydb_py.snapshots.objects import Directory, ObjectStore
from targets.memorydb_py.snapshots.snapshotter import SnapshotSettings, serve_snapshotter


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text}: give HOST:PORT; the host 0.0.0.0 serves on every interface"
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def secret_of(given: Path | None, variable: str) -> str:
    """Return a secret from a file, else from an environment variable, else an empty one."""
    if given is None:
        return os.environ.get(variable, "")
    return given.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")


def named(texts: list[str]) -> dict[str, Address]:
    return {name: address(at) for name, _, at in (text.partition("=") for text in texts)}


def usage() -> Usage:
    """Return the resource usage of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    memory = peak
    with contextlib.suppress(OSError):  # not everywhere
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        memory = pages * resource.getpagesize()
    return Usage(os.getpid(), memory, max(peak, memory), used.ru_utime, used.ru_stime)


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments, with what `check` adds."""
    parser = argparse.ArgumentParser(prog="python -m targets.memorydb_py", description=__doc__)
    parser.add_argument("role", choices=["node", "az", "snapshotter"])
    parser.add_argument("--name", required=True)
    parser.add_argument("--listen", type=address, required=True, metavar="HOST:PORT")
    parser.add_argument("--az", action="append", default=[], metavar="NAME=HOST:PORT",
                        help="an AZ; give all three, nearest first")  # fmt: skip
    parser.add_argument("--node", action="append", default=[], metavar="NAME=HOST:PORT",
                        help="a node's address for clients; give all nodes")  # fmt: skip
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dir", type=Path, default=Path())
    parser.add_argument("--snapshots", type=Path, metavar="FOLDER",
                        help="the object store, from which nodes recover")  # fmt: skip
    parser.add_argument("--every", type=int, default=100_000, metavar="ENTRIES",
                        help="how far the newest snapshot may be behind the log")  # fmt: skip
    parser.add_argument("--secret-file", type=Path, metavar="FILE",
                        help="the secret that all processes of the log share "
                        f"[the environment variable {SECRET}]")  # fmt: skip
    parser.add_argument("--password-file", type=Path, metavar="FILE",
                        help="the password of clients "
                        f"[the environment variable {PASSWORD}]")  # fmt: skip
    parser.add_argument("--create", action="store_true", help="create a new, empty log")
    given = parser.parse_args(argv)
    try:
        check(given)
    except ValueError as e:
        parser.error(str(e))
    return given


def check(given: argparse.Namespace) -> None:
    """Add addresses by name (`azs`, `nodes`), `secret`, `password` and `settings` to the arguments.
    Raises ValueError for what can't be, or would not be safe."""
    try:
        given.azs, given.nodes = named(given.az), named(given.node)
        given.secret = secret_of(given.secret_file, SECRET)
        given.password = secret_of(given.password_file, PASSWORD) if given.role == "node" else ""
    except argparse.ArgumentTypeError as e:
        raise ValueError(str(e)) from e
    except OSError as e:
        raise ValueError(f"{e.filename}: {e.strerror}") from e
    needs = {"node": ("--password-file", given.password), "az": ("--secret-file", given.secret)}
    option, has = needs.get(given.role, ("", "none needed"))
    if not has and not is_loopback(given.listen[0]):
        raise ValueError(
            f"--listen {given.listen[0]}: other machines reach this address: give {option} too"
        )
    options = dict(o.partition("=")[::2] for o in given.option)
    if "requirepass" in options:
        raise ValueError(
            "--option requirepass: every user of this machine sees arguments: give --password-file"
        )
    if given.password:
        options["requirepass"] = given.password
    try:
        given.settings = Settings.parse(options)
    except ValueError as e:
        raise ValueError(f"--option {e}") from e
    if given.role == "az" and given.name not in given.azs:
        raise ValueError(f"--az must name {given.name} too")
    if given.role == "snapshotter" and given.snapshots is None:
        raise ValueError("a snapshotter requires --snapshots")


def main(parts: Parts | None = None) -> None:
    """Run a process. `parts`: makes the parts of a node."""
    given = parsed()
    parts = parts or Parts()
    parts.secret = given.secret.encode(errors="surrogateescape")
    given.dir.mkdir(parents=True, exist_ok=True)
    azs, settings = given.azs, given.settings
    host = RealHost(given.name, given.listen, azs, given.dir)
    if given.role == "az":
        wanted = AzSettings(azs=sorted(azs), create=given.create, secret=parts.secret)
        run_real(serve_az(host, wanted))
        return
    objects = None if given.snapshots is None else Directory(given.snapshots)
    if given.role == "snapshotter":
        assert objects is not None
        run_real(_snapshotter(parts, host, list(azs), objects, given.every, settings))
        return
    context = NodeContext(nodes=given.nodes, objects=objects, usage=usage)

    async def serve() -> None:
        node = parts.node(host, list(azs), settings, context)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, node.shut_down)
        await node.run()

    run_real(serve())


async def _snapshotter(
    parts: Parts, host: Host, azs: list[str], objects: ObjectStore, every: int, settings: Settings
) -> None:
    wanted = SnapshotSettings(every=every, version=settings.engine_version)
    await serve_snapshotter(host, parts.log(host, azs), objects, wanted)


if __name__ == "__main__":
    main()
