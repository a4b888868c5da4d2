"""Replies of COMMAND DOCS, COMMAND INFO and HELP, generated from the notation of `syntax`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from targets.engine.resp import Map, Simple
from targets.engine.syntax import GROUPS, RANDOM, UNORDERED

Argument = dict[str, Any]
_TYPES: Final = {
    "": "string", "i": "integer", "d": "double", "t": "unix-time", "p": "pattern", "k": "key",
}  # fmt: skip
_TOKENS: Final = re.compile(r"\)\+|[\[\]()|]|[^\s\[\]()|]+")


@cache
def synopses() -> dict[str, tuple[str, str]]:
    """Return {command name: (group, its arguments in the notation of `syntax`)}."""
    found = {}
    for group, text in GROUPS.items():
        for line in re.sub(r"\n {9,}(?=\S)", " ", text).split("\n"):
            name, _, notation = line.strip().partition(" ")
            if name:
                found[name] = group, notation
    return found


@cache
def arguments(name: str) -> list[Argument]:
    """Return a command's arguments, or [] if it is unknown. Each is a dict with `name`, `type` and,
    if it has them, `token`, `flags` and `arguments`."""
    _, notation = synopses().get(name, ("", ""))
    return _sequence(_Words(notation))


class _Words:
    def __init__(self, notation: str) -> None:
        self._words = _TOKENS.findall(notation)

    def peek(self) -> str:
        return self._words[0] if self._words else ""

    def take(self) -> str:
        return str(self._words.pop(0))


def _sequence(words: _Words) -> list[Argument]:
    found = []
    while words.peek() not in ("", "|", ")", ")+", "]"):
        found.append(_item(words))
    return found


def _alternatives(words: _Words) -> list[list[Argument]]:
    found = [_sequence(words)]
    while words.peek() == "|":
        words.take()
        found.append(_sequence(words))
    return found


def _grouped(words: _Words) -> Argument:
    """Parse the content of brackets as one argument."""
    options = _alternatives(words)
    if len(options) == 1:
        return options[0][0] if len(options[0]) == 1 else _block(options[0])
    return {"name": _joined(options), "type": "oneof", "arguments": [
        option[0] if len(option) == 1 else _block(option) for option in options
    ]}  # fmt: skip


def _block(parts: list[Argument]) -> Argument:
    return {"name": _joined([parts]), "type": "block", "arguments": parts}


def _joined(options: list[list[Argument]]) -> str:
    return "_".join(argument["name"] for option in options for argument in option)


def _item(words: _Words) -> Argument:
    word = words.take()
    if word == "[":
        made = dict(_grouped(words))
        words.take()
        return _flagged(made, "optional")
    if word == "(":
        made = dict(_grouped(words))
        if words.take() == ")+":
            made = _flagged(made, "multiple")
            if "token" in made:
                made = _flagged(made, "multiple_token")
        return made
    if not _is_token(word):
        return _named(word)
    follows = words.peek()
    if follows == "(" or (follows not in ("", "[", "|", ")", ")+", "]") and not _is_token(follows)):
        return {**_item(words), "token": word}
    return {"name": word.lower(), "type": "pure-token", "token": word}


def _is_token(word: str) -> bool:
    return word.isupper() or not any(c.isalnum() for c in word)


def _named(word: str) -> Argument:
    name, _, kind = word.removesuffix("+").partition(":")
    made: Argument = {"name": name, "type": "key" if name == "key" else _TYPES[kind]}
    return _flagged(made, "multiple") if word.endswith("+") else made


def _flagged(argument: Argument, flag: str) -> Argument:
    return {**argument, "flags": [*argument.get("flags", ()), flag]}


def usage(container: str) -> Iterator[str]:
    """Yield the lines of a container command's HELP."""
    yield f"{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    for name, (_, notation) in synopses().items():
        parent, _, subcommand = name.partition("|")
        if parent == container:
            notation = re.sub(r"(?<=\w):[a-z]\b", "", notation)
            notation = re.sub(r"([\w-]+)[+]", r"\1 [\1 ...]", notation)
            yield f"{subcommand} {notation}".rstrip()


# --- as replies


def described(name: str) -> Map:
    """Return the entry of COMMAND DOCS for a command."""
    group, _ = synopses().get(name, ("server", ""))
    made = Map([(b"group", group.encode())])
    if found := arguments(name):
        made.append((b"arguments", list(map(_shown, found))))
    return made


def _shown(argument: Argument) -> Map:
    made = Map([(b"name", argument["name"].encode()), (b"type", argument["type"].encode())])
    if argument["type"] == "key":
        made.append((b"key_spec_index", 0))
    if "token" in argument:
        made.append((b"token", argument["token"].encode()))
    if "flags" in argument:
        made.append((b"flags", [Simple(flag.encode()) for flag in argument["flags"]]))
    if "arguments" in argument:
        made.append((b"arguments", list(map(_shown, argument["arguments"]))))
    return made


def tips(name: str) -> Iterator[bytes]:
    """Yield the tips of COMMAND INFO: why servers with the same data may reply differently."""
    if name in RANDOM:
        yield b"nondeterministic_output"
    if name in UNORDERED:
        yield b"nondeterministic_output_order"
