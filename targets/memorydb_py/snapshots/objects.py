"""An object store: named objects, each stored once and as a whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Protocol


class ObjectStore(Protocol):
    """An object store. Its methods raise OSError when it is not available."""

    async def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        ...

    async def get(self, name: str) -> bytes: ...

    async def put(self, name: str, data: bytes) -> None:
        """Store an object, atomically and durably."""
        ...

    async def delete(self, name: str) -> None: ...


class Directory:
    """An object store in a folder that all processes of the shard can access."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def names(self) -> list[str]:
        return await asyncio.to_thread(self._names)

    def _names(self) -> list[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return sorted(p.name for p in self._folder.iterdir() if p.suffix != ".part")

    async def get(self, name: str) -> bytes:
        return await asyncio.to_thread((self._folder / name).read_bytes)

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, name, data)

    def _put(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{name}.{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread((self._folder / name).unlink, missing_ok=True)


class MemoryStore:
    """An object store in memory for the processes of one simulated world. It never fails; every
    call takes `MOMENT_S`."""

    MOMENT_S = 0.01

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def names(self) -> list[str]:
        await asyncio.sleep(self.MOMENT_S)
        return sorted(self.objects)

    async def get(self, name: str) -> bytes:
        await asyncio.sleep(self.MOMENT_S)
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name]

    async def put(self, name: str, data: bytes) -> None:
        await asyncio.sleep(self.MOMENT_S)
        self.objects[name] = data

    async def delete(self, name: str) -> None:
        await asyncio.sleep(self.MOMENT_S)
        self.objects.pop(name, None)
