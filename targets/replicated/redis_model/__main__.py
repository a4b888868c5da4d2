"""`python -m targets.replicated.redis_model`: a node of the model as a real process."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.host import Address, RealHost, run_real
from targets.replicated.redis_model.commands import COMMANDS
from targets.replicated.redis_model.node import Node
from targets.replicated.redis_model.settings import Settings


def address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m targets.replicated.redis_model", description=__doc__
    )
    parser.add_argument("--name", default="n1")
    parser.add_argument("--listen", type=address, default=("127.0.0.1", 6379))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=HOST:PORT")
    parser.add_argument("--replicaof", default=None, metavar="NAME")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dir", type=Path, default=Path())
    given = parser.parse_args()
    peers = {name: address(at) for name, _, at in (p.partition("=") for p in given.peer)}
    options = {name: value for name, _, value in (o.partition("=") for o in given.option)}
    try:
        settings = Settings.parse(options)
    except ValueError as e:
        parser.error(str(e))
    if given.replicaof is not None and given.replicaof not in peers:
        parser.error(f"--replicaof {given.replicaof}: give --peer {given.replicaof}=HOST:PORT too")
    host = RealHost(given.name, given.listen, peers, given.dir)

    async def serve() -> None:
        await Node(host, settings, COMMANDS).run(given.replicaof)

    run_real(serve())


if __name__ == "__main__":
    main()
