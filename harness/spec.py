"""The specification of a test: a validated record that suffices to repeat the run."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from harness.errors import UsageError

NODES = 3


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a simulated world, drawn from the seed before the target exists.

    `client_hosts`: number of hosts that clients connect from. `service_ns`: time a server needs for
    a command. A segment takes `low_ns` to `high_ns`, and 2 to 17 times that for `slow_per_1024` of
    1024 segments; a link carries `bytes_per_s`. `reads_percent`: share of the operations; None: the
    workload's own. `drawn`: fields of the spec that the seed filled in, too."""

    client_hosts: int = 3
    service_ns: int = 20_000
    low_ns: int = 50_000
    high_ns: int = 250_000
    slow_per_1024: int = 10
    bytes_per_s: int = 125_000_000
    reads_percent: int | None = None
    drawn: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fits = (
            1 <= self.client_hosts <= 100
            and self.service_ns >= 0
            and 0 <= self.low_ns <= self.high_ns
            and 0 <= self.slow_per_1024 <= 1024
            and self.bytes_per_s > 0
            and (self.reads_percent is None or 0 <= self.reads_percent <= 100)
        )
        if not fits:
            raise UsageError(f"invalid parameters of the simulated world: {self}")


class Spec(msgspec.Struct, kw_only=True, frozen=True):
    """A test. `concurrency`: workers. `rate`: invocations a second over all of them, 0 for no
    limit. `time_limit_s`: length of the phase with faults. `interval_s`: mean wait between the
    steps of a fault cycle; None: 1.5, less in short runs, which need room for a whole cycle.
    `nodes`: None for three, or as many as the seed draws. `addresses`: host:port,… of servers that
    already run. `beyond_tolerance`: allow faults beyond the tolerance that the target declares.
    `plan`: a file with the faults to inject instead of a drawn plan. `world`: the parameters of a
    simulated world, if the seed has drawn them."""

    target: str = "redis"
    workload: str = "register"
    nemesis: str = "none"
    environment: str = "local"
    nodes: int | None = None
    addresses: str | None = None
    concurrency: int = 10
    rate: float = 500.0
    time_limit_s: float = 30.0
    interval_s: float | None = None
    timeout_s: float = 1.0
    seed: int = 0
    binary: str | None = None
    first_port: int | None = None
    options: dict[str, str] = {}
    username: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    expect: Literal["valid", "invalid"] = "valid"
    beyond_tolerance: bool = False
    plan: str | None = None
    world: World | None = None

    def __post_init__(self) -> None:
        checks = [
            (1 <= self.node_count <= 20, "--nodes must be between 1 and 20"),
            (1 <= self.concurrency <= 1000, "--concurrency must be between 1 and 1000"),
            (
                self.rate == 0 or 0.001 <= self.rate <= 1e9,
                "--rate must be 0, or between 0.001 and 1e9 a second",
            ),
            (0 < self.time_limit_s <= 1e6, "--time-limit must be between 0 and 1e6 seconds"),
            (
                self.interval_s is None or 0 < self.interval_s <= 1e6,
                "--interval must be between 0 and 1e6 seconds",
            ),
            (
                0.01 <= self.timeout_s <= 1e4,
                "--timeout must be between 0.01 and 1e4 seconds",
            ),
            (
                self.plan is None or self.nemesis in ("none", "all"),
                "--plan names the faults: leave out --nemesis, or give `all` to have a simulation "
                "draw its world",
            ),
            (
                self.first_port is None or 0 < self.first_port <= 65535 - self.node_count,
                "--port must be between 1 and 65535 less the number of nodes",
            ),
        ]
        for holds, message in checks:
            if not holds:
                raise UsageError(message)

    @property
    def node_count(self) -> int:
        if self.addresses is not None:
            return len(self.addresses.split(","))
        return NODES if self.nodes is None else self.nodes

    @property
    def fault_interval_s(self) -> float:
        """Mean wait between the steps of a fault cycle."""
        return self.interval_s or min(1.5, self.time_limit_s / 10)

    @property
    def directory_name(self) -> str:
        faults = self.nemesis if self.plan is None else "plan"
        return f"{self.target}-{self.workload}-{faults}".replace(":", ".").replace("/", "_")

    def command(self) -> str:
        """The command line that repeats this test (a password is never part of it)."""
        words = [
            "harness",
            "run",
            "--target",
            self.target,
            "--workload",
            self.workload,
            "--nemesis",
            self.nemesis,
            "--seed",
            str(self.seed),
        ]
        flags = {
            "concurrency": "concurrency",
            "rate": "rate",
            "time_limit_s": "time-limit",
            "interval_s": "interval",
            "timeout_s": "timeout",
            "environment": "env",
            "binary": "binary",
            "first_port": "port",
            "username": "user",
            "expect": "expect",
            "tls_ca": "tls-ca",
            "plan": "plan",
        }
        defaults = Spec()
        drawn = self.world.drawn if self.world is not None else ()
        if self.addresses is not None:
            words += ["--nodes", str(self.addresses)]
        elif self.nodes is not None and "nodes" not in drawn:
            words += ["--nodes", str(self.nodes)]
        for name, flag in flags.items():
            value = getattr(self, name)
            if value != getattr(defaults, name) and name not in drawn:
                words += [f"--{flag}", f"{value:.15g}" if isinstance(value, float) else str(value)]
        if self.beyond_tolerance:
            words.append("--beyond-tolerance")
        if self.tls:
            words.append("--tls")
        for name, value in self.options.items():
            words += ["--option", f"{name}={value}"]
        return shlex.join(words)


def parse_concurrency(text: str, nodes: int) -> int:
    """Return the number in `10`, or in `3n` three times the nodes; raises `UsageError`."""
    number = text.removesuffix("n")
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(
            f"--concurrency {text}: give a number such as 10, or 3n for three "
            "times the number of nodes"
        )
    return int(number) * (nodes if text.endswith("n") else 1)


def parse_counts(option: str, text: str) -> list[int]:
    """Return the numbers in `1,10,50`, sorted; raises `UsageError`."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 0 < int(word) <= 10**6 for word in words):
        raise UsageError(f"{option} {text}: give whole numbers such as 1,10,50")
    return sorted({int(word) for word in words})


def parse_options(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the options in `name=value` texts; raises `UsageError`."""
    options: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {text}: give name=value, as in appendonly=yes")
        options[name] = value
    return options
