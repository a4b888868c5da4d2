"""Commands on positions: sorted sets whose scores are geohashes.

Members within a shape are found by looking at all of them; Redis looks at the boxes around it. So
without ASC or DESC they come by score here, and by box there, and a radius that is not much less
than the earth's finds all here, and not all there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from targets.engine import geohash
from targets.engine.execution import Call, Commands
from targets.engine.parsing import floating, integer
from targets.engine.resp import NIL_ARRAY, BadSyntax, Command, Error, Formatted, number_text
from targets.engine.table import ONE
from targets.engine.values import SortedSet

COMMANDS: Commands = Commands()

UNITS: Final = {b"M": 1.0, b"KM": 1000.0, b"FT": 0.3048, b"MI": 1609.34}
NO_MEMBER = "ERR could not decode requested zset member"


def _position(longitude: bytes, latitude: bytes) -> tuple[float, float]:
    x, y = floating(longitude), floating(latitude)
    if abs(x) > geohash.LONGITUDE_MAX or abs(y) > geohash.LATITUDE_MAX:
        raise Error(f"ERR invalid longitude,latitude pair {x:.6f},{y:.6f}")
    return x, y


def _unit(call: Call, word: bytes) -> float:
    capitals = call.version.since((7, 0), (0, 0))  # 6.2 knows them in lower case only
    metres = UNITS.get(word.upper())
    if metres is None or (not capitals and not word.islower()):
        raise Error("ERR unsupported unit provided. please use M, KM, FT, MI")
    return metres


def _of(call: Call, key: bytes) -> SortedSet:
    value = call.look(key, SortedSet)
    return SortedSet() if value is None else value


def _place(value: SortedSet, member: bytes) -> tuple[float, float] | None:
    score = value.scores.get(member)
    return None if score is None else geohash.decode(geohash.of_score(score))


def _coordinate(call: Call, number: float) -> Formatted:
    if call.version.since((8, 0)):
        return Formatted(number_text(number, shortest=True))
    text = f"{number:.17f}".rstrip("0").rstrip(".")
    return Formatted((text if text not in ("-0", "") else "0").encode())


def _metres(distance: float) -> bytes:
    return b"%.4f" % distance


@COMMANDS.command("GEOADD", -5, "write denyoom", ONE)
def _geoadd(call: Call, cmd: Command) -> Any:
    i = 2
    while i < len(cmd) and cmd[i].upper() in (b"NX", b"XX", b"CH"):
        i += 1
    options = {word.upper() for word in cmd[2:i]}
    if (len(cmd) - i) % 3 or len(cmd) == i or options >= {b"NX", b"XX"}:
        raise BadSyntax
    triples = [cmd[k : k + 3] for k in range(i, len(cmd), 3)]
    scores = [float(geohash.encode(*_position(x, y))) for x, y, _ in triples]
    value = call.look(cmd[1], SortedSet)
    stored = value is not None
    value = SortedSet() if value is None else value
    added = changed = 0
    for score, (_, _, member) in zip(scores, triples, strict=True):
        before = value.scores.get(member)
        if (b"NX" in options and before is not None) or (b"XX" in options and before is None):
            continue
        added += before is None
        changed += before is not None and before != score
        value.set(member, score)
    if added or changed:
        call.put(cmd[1], value)
        words = [w for s, t in zip(scores, triples, strict=True) for w in (number_text(s), t[2])]
        call.instead((b"ZADD", cmd[1], *cmd[2:i], *words))
    elif stored:
        call.instead()
    return added + changed if b"CH" in options else added


@COMMANDS.command("GEOPOS", -2, "readonly", ONE)
def _geopos(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    places = [_place(value, member) for member in cmd[2:]]
    return [
        NIL_ARRAY if place is None else [_coordinate(call, number) for number in place]
        for place in places
    ]


@COMMANDS.command("GEOHASH", -2, "readonly", ONE)
def _geohash(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    return [
        geohash.text(geohash.of_score(value.scores[member])) if member in value.scores else None
        for member in cmd[2:]
    ]


@COMMANDS.command("GEODIST", -4, "readonly", ONE)
def _geodist(call: Call, cmd: Command) -> Any:
    if len(cmd) > 5:
        raise BadSyntax
    metres = _unit(call, cmd[4]) if len(cmd) == 5 else 1.0
    value = _of(call, cmd[1])
    one, other = (_place(value, member) for member in cmd[2:4])
    if one is None or other is None:
        return None
    return _metres(geohash.distance(*one, *other) / metres)


# --- searches


@dataclass(slots=True)
class _Search:
    """The arguments of a search in `source`. `width`, `height`: of a box in metres; a radius
    otherwise. `member`: the one whose place is the centre."""

    source: SortedSet | None
    center: tuple[float, float] | None = None
    member: bytes | None = None
    radius: float | None = None
    width: float | None = None
    height: float = 0.0
    metres: float = 1.0
    with_dist: bool = False
    with_hash: bool = False
    with_coord: bool = False
    count: int = 0
    any: bool = False
    order: bytes | None = None
    store: bytes | None = None
    store_dist: bool = False


def _number(word: bytes, what: str) -> float:
    return floating(word, f"ERR need numeric {what}")


def _radius(call: Call, s: _Search, word: bytes, unit: bytes) -> None:
    radius = _number(word, "radius")
    if radius < 0:
        raise Error("ERR radius cannot be negative")
    s.metres = _unit(call, unit)
    s.radius = radius * s.metres


def _options(
    call: Call, s: _Search, words: list[bytes], *, searching: bool, storing: bool, reading: bool
) -> None:
    """Parse what follows. `searching`: GEOSEARCH, which names the shape here, too. `storing`:
    GEOSEARCHSTORE. `reading`: the variant that can't store."""
    while words:
        word = words.pop(0).upper()
        if word in (b"WITHDIST", b"WITHHASH", b"WITHCOORD"):
            s.with_dist |= word == b"WITHDIST"
            s.with_hash |= word == b"WITHHASH"
            s.with_coord |= word == b"WITHCOORD"
        elif word in (b"ASC", b"DESC"):
            s.order = word
        elif word == b"ANY":
            s.any = True
        elif word == b"COUNT" and words:
            s.count = integer(words.pop(0))
            if s.count <= 0:
                raise Error("ERR COUNT must be > 0")
        elif not searching and not reading and word in (b"STORE", b"STOREDIST") and words:
            s.store, s.store_dist = words.pop(0), word == b"STOREDIST"
        elif storing and word == b"STOREDIST":
            s.store_dist = True
        elif searching:
            _shape(call, s, word, words)
        else:
            raise BadSyntax


def _shape(call: Call, s: _Search, word: bytes, words: list[bytes]) -> None:
    center = s.center is not None or s.member is not None
    shape = s.radius is not None or s.width is not None
    if word == b"FROMMEMBER" and words and not center:
        _from_member(s, words.pop(0))
    elif word == b"FROMLONLAT" and len(words) >= 2 and not center:
        s.center = _position(words.pop(0), words.pop(0))
    elif word == b"BYRADIUS" and len(words) >= 2 and not shape:
        _radius(call, s, words.pop(0), words.pop(0))
    elif word == b"BYBOX" and len(words) >= 3 and not shape:
        width = _number(words.pop(0), "width")
        height = _number(words.pop(0), "height")
        if width < 0 or height < 0:
            raise Error("ERR height or width cannot be negative")
        s.metres = _unit(call, words.pop(0))
        s.width, s.height = width * s.metres, height * s.metres
    else:
        raise BadSyntax


def _inside(s: _Search, x: float, y: float, place: tuple[float, float]) -> float | None:
    """Return the distance of a place from the centre, None if it is outside the shape."""
    if s.width is not None:
        if geohash.latitude_distance(place[1], y) > s.height / 2:
            return None
        if geohash.distance(place[0], place[1], x, place[1]) > s.width / 2:
            return None
        return geohash.distance(x, y, *place)
    distance = geohash.distance(x, y, *place)
    return distance if s.radius is not None and distance <= s.radius else None


def _found(s: _Search, value: SortedSet) -> list[tuple[float, float, bytes]]:
    """Return (distance in metres, score, member) of what is inside, in the order asked for."""
    assert s.center is not None
    x, y = s.center
    found = []
    for score, member in value.order:
        if not 0 <= score < 1 << 2 * geohash.STEPS:
            continue  # Redis looks in ranges of scores, all of them of positions
        place = geohash.decode(geohash.of_score(score))
        if x == geohash.LONGITUDE_MAX and place[0] < 0:
            continue  # Redis takes a cell past the last one, and does not look into the first
        distance = _inside(s, x, y, place)
        if distance is not None:
            found.append((distance, score, member))
            if s.any and len(found) == s.count:
                break
    if s.order is not None or (s.count and not s.any):
        found.sort(key=lambda each: each[0], reverse=s.order == b"DESC")
    return found[: s.count] if s.count else found


def _from_member(s: _Search, member: bytes) -> None:
    """Search around a member; one of an existing key is looked for at once."""
    s.member = member
    if s.source is not None:
        s.center = _place(s.source, member)
        if s.center is None:
            raise Error(NO_MEMBER)


def _answer(call: Call, s: _Search) -> Any:
    """Search, and return or store what was found."""
    if s.any and not s.count:
        raise Error("ERR the ANY argument requires COUNT argument")
    shows = s.with_dist or s.with_hash or s.with_coord
    if s.store is not None and shows:
        raise Error("ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and "
                    "WITHCOORD options")  # fmt: skip
    found = [] if s.source is None else _found(s, s.source)
    if s.store is not None:
        return _stored(call, s, found)
    return [_shown(call, s, *each) for each in found]


def _shown(call: Call, s: _Search, distance: float, score: float, member: bytes) -> Any:
    shown: list[Any] = [member]
    if s.with_dist:
        shown.append(_metres(distance / s.metres))
    if s.with_hash:
        shown.append(geohash.of_score(score))
    if s.with_coord:
        place = geohash.decode(geohash.of_score(score))
        shown.append([_coordinate(call, number) for number in place])
    return shown if len(shown) > 1 else member


def _stored(call: Call, s: _Search, found: list[tuple[float, float, bytes]]) -> int:
    assert s.store is not None
    if not found:
        if call.remove(s.store):
            call.instead((b"DEL", s.store))
        return 0
    made = SortedSet()
    for distance, score, member in found:
        made.set(member, distance / s.metres if s.store_dist else score)
    call.peek(s.store)
    call.put(s.store, made, keep_ttl=False)
    words = [word for score, member in made.order for word in (number_text(score), member)]
    call.instead((b"DEL", s.store), (b"ZADD", s.store, *words))
    return len(found)


def _georadius(*, reading: bool, by_member: bool) -> Callable[[Call, Command], Any]:
    def run(call: Call, cmd: Command) -> Any:
        value = call.look(cmd[1], SortedSet)
        s = _Search(value)
        rest = 3 if by_member else 4
        if by_member and value is not None:
            _from_member(s, cmd[2])
        if not by_member:
            s.center = _position(cmd[2], cmd[3])
        if not by_member or value is not None:  # of a missing key not even the radius is looked at
            _radius(call, s, cmd[rest], cmd[rest + 1])
        _options(call, s, list(cmd[rest + 2 :]), searching=False, storing=False, reading=reading)
        return _answer(call, s)

    return run


def _target(words: Sequence[bytes], *, reading: bool) -> bytes | None:
    """Return the key that GEORADIUS stores to, None without one."""
    found = None
    for i, word in enumerate(words[:-1]):
        if not reading and word.upper() in (b"STORE", b"STOREDIST"):
            found = words[i + 1]
    return found


def _keys_of(by_member: bool) -> Callable[[Command], Sequence[bytes]]:
    def keys(cmd: Command) -> Sequence[bytes]:
        stored = _target(cmd[5 if by_member else 6 :], reading=False)
        return [cmd[1]] if stored is None else [cmd[1], stored]

    return keys


COMMANDS.command("GEORADIUS", -6, "write denyoom", ONE, _keys_of(False))(
    _georadius(reading=False, by_member=False)
)
COMMANDS.command("GEORADIUS_RO", -6, "readonly", ONE)(_georadius(reading=True, by_member=False))
COMMANDS.command("GEORADIUSBYMEMBER", -5, "write denyoom", ONE, _keys_of(True))(
    _georadius(reading=False, by_member=True)
)
COMMANDS.command("GEORADIUSBYMEMBER_RO", -5, "readonly", ONE)(
    _georadius(reading=True, by_member=True)
)


def _search(call: Call, key: bytes, words: list[bytes], store: bytes | None) -> Any:
    s = _Search(call.look(key, SortedSet))
    _options(call, s, words, searching=True, storing=store is not None, reading=False)
    s.store = store
    if s.center is None and s.member is None:
        raise Error("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH")
    if s.radius is None and s.width is None:
        raise Error("ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH")
    if store is not None and (s.with_dist or s.with_hash or s.with_coord):
        raise Error("ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD "
                    "options")  # fmt: skip
    return _answer(call, s)


@COMMANDS.command("GEOSEARCH", -7, "readonly", ONE)
def _geosearch(call: Call, cmd: Command) -> Any:
    return _search(call, cmd[1], list(cmd[2:]), None)


@COMMANDS.command("GEOSEARCHSTORE", -8, "write denyoom", (1, 2, 1))
def _geosearchstore(call: Call, cmd: Command) -> Any:
    return _search(call, cmd[2], list(cmd[3:]), cmd[1])
