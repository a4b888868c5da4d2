"""DEBUG: for tests, and for the harness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from targets.engine.digest import digest
from targets.engine.resp import Command, Simple
from targets.memorydb_py.node.own import own, own_container

if TYPE_CHECKING:
    from targets.memorydb_py.node.commands import Commands
    from targets.memorydb_py.node.session import Session

own_container("DEBUG")


@own("DEBUG|DIGEST", 2, "admin noscript loading stale")
def _digest(commands: Commands, session: Session, command: Command) -> None:
    """Return a checksum of all that is there, when it is committed."""
    shard = commands.node.shard
    session.reply(Simple(digest(shard.state)), shard.tracker.last)
