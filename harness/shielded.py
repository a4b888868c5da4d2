"""Steps that Ctrl-C must not cut off in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def shielded(step: Coroutine[Any, Any, None]) -> None:
    """Await a step to its end, even if the caller is cancelled meanwhile; raise that only then."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
