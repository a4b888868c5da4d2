"""EDN (https://github.com/edn-format/edn) as JSON-like data, and back.

Keywords, symbols and characters become strings; lists, vectors and sets become lists; rationals and
numbers with N or M become numbers. Tags are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

_TOKEN = re.compile(
    r"""[\s,]+ | ;[^\n]*
    | (?P<string>"(?:[^"\\]|\\.)*") | (?P<char>\\(?:u[0-9a-fA-F]{4}|[a-z]{2,}|.))
    | (?P<symbolic>\#\#-?(?:Inf|NaN)) | (?P<discard>\#_)
    | (?P<open>\#?\{|[\[\(]) | (?P<close>[\]\)\}]) | (?P<tag>\#[^\s,;"\[\](){}]+)
    | (?P<atom>[^\s,;"\[\](){}\\\#][^\s,;"\[\](){}\\]*)""",
    re.VERBOSE | re.DOTALL,
)
_INTEGER = re.compile(r"[+-]?\d+N?\Z")
_RATIO = re.compile(r"([+-]?\d+)/(\d+)\Z")
_FLOAT = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?M?\Z")
_WORDS = {"nil": None, "true": True, "false": False}
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "b": "\b", "f": "\f"}
_CHARS = {
    "newline": "\n",
    "return": "\r",
    "space": " ",
    "tab": "\t",
    "formfeed": "\f",
    "backspace": "\b",
}
_CLOSING = {"(": ")", "[": "]", "{": "}", "#{": "}"}


class EdnError(ValueError):
    """The text is not EDN. `line`: of the error, from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def read(text: str) -> Iterator[tuple[int, Any]]:
    """Yield (line where it begins, value) of each form of a text; raises `EdnError`."""
    return _Reader(text).forms()


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0

    def forms(self) -> Iterator[tuple[int, Any]]:
        while (token := self._next()) is not None:
            line = self._line_of(token.start())
            if token.lastgroup == "discard":
                self._form()
            elif token.lastgroup == "close":
                raise EdnError(line, f"unmatched {token.group()}")
            else:
                yield line, self._value(token)

    def _form(self) -> Any:
        """Return the value of the next form that is not discarded by #_."""
        while (token := self._next()) is not None:
            if token.lastgroup == "discard":
                self._form()
            elif token.lastgroup == "close":
                raise self._error(token.start(), f"{token.group()} where a value was expected")
            else:
                return self._value(token)
        raise self._error(self._at, "the text ends where a value was expected")

    def _value(self, token: re.Match[str]) -> Any:
        text = token.group()
        match token.lastgroup:
            case "open":
                return self._sequence(text, token.start())
            case "string":
                return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", _unescape, text[1:-1], flags=re.DOTALL)
            case "char":
                return self._char(text[1:], token.start())
            case "symbolic":
                return float(text[2:].lower())
            case "tag":
                return self._form()
        return self._atom(text, token.start())

    def _char(self, name: str, start: int) -> str:
        if len(name) == 1 or name in _CHARS:
            return _CHARS.get(name, name)
        if len(name) != 5 or name[0] != "u":
            raise self._error(start, f"\\{name} is not a character")
        return chr(int(name[1:], 16))

    def _sequence(self, opening: str, start: int) -> Any:
        items = []
        while (token := self._next()) is not None:
            if token.lastgroup == "discard":
                self._form()
            elif token.lastgroup != "close":
                items.append(self._value(token))
            elif token.group() != _CLOSING[opening]:
                raise self._error(
                    token.start(), f"{token.group()} where {_CLOSING[opening]} was expected"
                )
            else:
                return self._map(items, token.start()) if opening == "{" else items
        raise self._error(start, f"unclosed {opening}")

    def _map(self, items: list[Any], end: int) -> dict[Any, Any]:
        if len(items) % 2:
            raise self._error(end, "a map with a key that has no value")
        return {_as_key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}

    def _atom(self, text: str, start: int) -> Any:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] == ":":
            return text[1:]
        if _INTEGER.match(text):
            return int(text.rstrip("N"))
        if _FLOAT.match(text):
            return float(text.rstrip("M"))
        ratio = _RATIO.match(text)
        if ratio and int(ratio.group(2)):
            return float(Fraction(int(ratio.group(1)), int(ratio.group(2))))
        if text[0].isdigit():
            raise self._error(start, f"{text} is not a number")
        return text

    def _next(self) -> re.Match[str] | None:
        text, size = self._text, len(self._text)
        while self._at < size:
            token = _TOKEN.match(text, self._at)
            if token is None:
                raise self._error(self._at, f"can't read {text[self._at : self._at + 20]!r}")
            self._at = token.end()
            if token.lastgroup is not None:
                return token
        return None

    def _line_of(self, at: int) -> int:
        """Return the line of a position, which must not be before that of the last call."""
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def _error(self, at: int, why: str) -> EdnError:
        return EdnError(1 + self._text.count("\n", 0, at), why)


def _as_key(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_as_key(v) for v in value)
    if isinstance(value, dict):
        return tuple((k, _as_key(v)) for k, v in value.items())
    return value


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)


def write(value: Any, *, keyword: bool = False) -> str:
    """Return JSON data as EDN; `keyword`: write a string as a keyword if it can be one."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if keyword and re.fullmatch(r"[A-Za-z][\w.*+!?-]*", value):
            return f":{value}"
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{write(k)} {write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(write(v) for v in value) + "]"
    return str(value)
