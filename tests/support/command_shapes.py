"""Random commands that are often valid: shapes of the arguments of the engine's commands."""

from __future__ import annotations

import random
from collections.abc import Callable

KEYS = {
    "string": ["s1", "s2", "i1"], "list": ["l1", "l2"], "set": ["c1", "c2"], "hash": ["h1", "h2"],
    "zset": ["z1", "z2"], "stream": ["t1", "t2"], "geo": ["g1", "g2"], "hll": ["p1", "p2"],
}  # fmt: skip
MEMBERS = ["a", "b", "c", "d", "1", "2", "10", "", "A", "aa", "-5", "3.5"]
NUMBERS = ["0", "1", "2", "3", "-1", "-2", "-3", "5", "10", "-100", "100"]
ODD_NUMBERS = ["9223372036854775807", "-9223372036854775808", "9223372036854775808", "01", "+1",
               "1.5", "", "x", "-0", "1e5"]  # fmt: skip
FLOATS = ["0", "1", "2.5", "-1", "3", "0.1", "1e3", "-inf", "inf", "5", "0.30000000000000004",
          "1e-7", "123456789.123", "1e15"]  # fmt: skip
VALUES = ["v1", "hello", "10", "3.0", "5.5", "", "-7", "abc", "a b\r\nc", "9223372036854775807"]

# Lower case: a kind of argument. `?x`: optional. `x*`: one to three. Upper case: a literal.
SHAPES = {
    "GET": "string", "STRLEN": "string", "MGET": "string*", "SET": "string value ?setopt",
    "SETEX": "string seconds value", "PSETEX": "string ms value", "SETNX": "string value",
    "GETSET": "string value", "GETDEL": "string", "GETEX": "string ?getexopt",
    "MSET": "pair*", "MSETNX": "pair*", "APPEND": "string value", "GETRANGE": "string n n",
    "SUBSTR": "string n n", "SETRANGE": "string small value", "INCR": "string",
    "INCRBY": "string n", "DECR": "string", "DECRBY": "string n", "INCRBYFLOAT": "string f",
    "LCS": "string1 string1 ?lcsopt",
    "HSET": "hash field*", "HMSET": "hash field*", "HSETNX": "hash m value", "HGET": "hash m",
    "HMGET": "hash m*", "HGETALL": "hash", "HKEYS": "hash", "HVALS": "hash", "HLEN": "hash",
    "HEXISTS": "hash m", "HSTRLEN": "hash m", "HDEL": "hash m*", "HINCRBY": "hash m n",
    "HINCRBYFLOAT": "hash m finite",
    "DEL": "any*", "UNLINK": "any*", "EXISTS": "any*", "TOUCH": "any*", "TYPE": "any",
    "DBSIZE": "", "KEYS": "pattern", "RENAME": "any any", "RENAMENX": "any any",
    "COPY": "any any ?REPLACE", "EXPIRE": "any seconds ?expopt", "PEXPIRE": "any ms ?expopt",
    "EXPIREAT": "any at_s ?expopt", "PEXPIREAT": "any at_ms ?expopt", "PERSIST": "any",
    "TTL": "any", "PTTL": "any", "EXPIRETIME": "any", "PEXPIRETIME": "any",
    "XADD": "stream ?xaddopt xid field*", "XLEN": "stream", "XRANGE": "stream xlow xhigh ?xcount",
    "XREVRANGE": "stream xhigh xlow ?xcount", "XDEL": "stream xone*",
    "XTRIM": "stream xtrim", "XSETID": "stream xid ?xsetopt",
    "XREAD": "?xcount ?NOACK1 STREAMS stream xid1",
    "XREADGROUP": "GROUP group consumer ?xcount ?NOACK STREAMS stream xread",
    "XACK": "stream group xone*", "XCLAIM": "stream group consumer idle xone* ?xclaimopt",
    "XAUTOCLAIM": "stream group consumer idle xlow ?xcount ?JUSTID",
    "XPENDING": "stream group ?xpending", "XGROUP|CREATE": "stream group xcreate ?xgroupopt",
    "XGROUP|SETID": "stream group xcreate ?xgroupopt1", "XGROUP|DESTROY": "stream group",
    "XGROUP|CREATECONSUMER": "stream group consumer",
    "XGROUP|DELCONSUMER": "stream group consumer", "XINFO|STREAM": "stream",
    "XINFO|GROUPS": "stream", "XINFO|CONSUMERS": "stream group",
    "PUBLISH": "CHANNEL value", "SPUBLISH": "CHANNEL value",
    "GETBIT": "string place", "SETBIT": "string place bit", "BITCOUNT": "string ?bitrange",
    "BITPOS": "string bit ?bitspan", "BITOP": "bitop string string*",
    "BITFIELD": "string bitwork*", "BITFIELD_RO": "string bitget*",
    "SCAN": "0 COUNT 1000 ?MATCH1 ?TYPE1", "HSCAN": "hash 0 ?MATCH1", "SSCAN": "set 0 ?MATCH1",
    "ZSCAN": "zset 0 ?MATCH1", "SORT": "any ?sortby ?sortget ?sortopt ?ALPHA ?sortstore",
    "SORT_RO": "any ?sortby ?sortget ?sortopt ?ALPHA", "OBJECT|REFCOUNT": "coll",
    "OBJECT|IDLETIME": "none", "OBJECT|FREQ": "any",
    "GEOADD": "geo ?geoaddopt located*", "GEOPOS": "geo m*", "GEOHASH": "geo m*",
    "GEODIST": "geo m m ?unit", "GEORADIUS": "geo spot radius unit ?geoshow ASC ?geocount",
    "GEORADIUS_RO": "geo spot radius unit ?geoshow ASC ?geocount",
    "GEORADIUSBYMEMBER": "geo m radius unit ?geoshow ASC ?geocount",
    "GEORADIUSBYMEMBER_RO": "geo m radius unit ?geoshow DESC ?geocount",
    "GEOSEARCH": "geo from shape ?geoshow ASC ?geocount",
    "GEOSEARCHSTORE": "geo geo from shape ASC ?geocount ?STOREDIST",
    "PFADD": "hll m*", "PFCOUNT": "hll*", "PFMERGE": "hll hll*",
    "PING": "?m", "ECHO": "m", "FLUSHALL": "?SYNC", "FLUSHDB": "?ASYNC",
    "RPUSH": "list m*", "LPUSH": "list m*", "RPUSHX": "list m*", "LPUSHX": "list m*",
    "LPOP": "list ?n", "RPOP": "list ?n", "LLEN": "list", "LRANGE": "list n n",
    "LINDEX": "list n", "LSET": "list n m", "LINSERT": "list where m m", "LREM": "list n m",
    "LTRIM": "list n n", "LPOS": "list m ?lposopt", "LMOVE": "list list side side",
    "RPOPLPUSH": "list list", "LMPOP": "2 list list side ?count", "BLPOP": "list* wait",
    "BRPOP": "list* wait", "BLMOVE": "list list side side wait", "BRPOPLPUSH": "list list wait",
    "BLMPOP": "wait 2 list list side ?count",
    "SADD": "set m*", "SREM": "set m*", "SCARD": "set", "SISMEMBER": "set m",
    "SMISMEMBER": "set m*", "SMEMBERS": "set", "SMOVE": "set set m", "SINTER": "set*",
    "SUNION": "set*", "SDIFF": "set*", "SINTERSTORE": "set set*", "SUNIONSTORE": "set set*",
    "SDIFFSTORE": "set set*", "SINTERCARD": "2 set set ?limit1",
    "ZADD": "zset ?zaddopt scored*", "ZINCRBY": "zset f m", "ZSCORE": "zset m",
    "ZMSCORE": "zset m*", "ZCARD": "zset", "ZRANK": "zset m", "ZREVRANK": "zset m",
    "ZREM": "zset m*", "ZRANGE": "zset n n ?REV ?WITHSCORES", "ZREVRANGE": "zset n n ?WITHSCORES",
    "ZRANGEBYSCORE": "zset bound bound ?WITHSCORES ?limit",
    "ZREVRANGEBYSCORE": "zset bound bound ?WITHSCORES ?limit",
    "ZRANGEBYLEX": "lexset lex lex ?limit", "ZREVRANGEBYLEX": "lexset lex lex ?limit",
    "ZRANGESTORE": "zset zset n n ?REV", "ZCOUNT": "zset bound bound",
    "ZLEXCOUNT": "lexset lex lex",
    "ZREMRANGEBYSCORE": "zset bound bound", "ZREMRANGEBYRANK": "zset n n",
    "ZREMRANGEBYLEX": "lexset lex lex", "ZPOPMIN": "zset ?n", "ZPOPMAX": "zset ?n",
    "BZPOPMIN": "zset* wait", "BZPOPMAX": "zset* wait", "ZMPOP": "2 zset zset end ?count",
    "BZMPOP": "wait 2 zset zset end ?count", "ZUNION": "2 zs zs ?weights ?agg ?WITHSCORES",
    "ZINTER": "2 zs zs ?weights ?agg ?WITHSCORES", "ZDIFF": "2 zs zs ?WITHSCORES",
    "ZINTERCARD": "2 zs zs ?limit1", "ZUNIONSTORE": "zset 2 zs zs ?weights ?agg",
    "ZINTERSTORE": "zset 2 zs zs ?weights ?agg", "ZDIFFSTORE": "zset 2 zs zs",
}  # fmt: skip
# Other tests cover commands whose replies depend on randomness or time, and a few others.
LEFT_OUT = {"SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "RANDOMKEY", "TIME", "EVAL",
            "EVALSHA", "EVAL_RO", "EVALSHA_RO", "SCRIPT|LOAD", "SCRIPT|EXISTS", "SCRIPT|FLUSH",
            "SCRIPT|KILL", "DUMP", "RESTORE", "OBJECT|ENCODING", "MEMORY|USAGE",
            "OBJECT|HELP", "MEMORY|HELP", "SCRIPT|HELP", "XGROUP|HELP", "XINFO|HELP"}  # fmt: skip


class Shapes:
    """Draws commands from a random stream; `now_ms` returns the time."""

    def __init__(self, rng: random.Random, now_ms: Callable[[], int]) -> None:
        self._rng = rng
        self._now_ms = now_ms
        self._tick = 0

    def draw(self) -> list[str]:
        rng = self._rng
        name = rng.choice(list(SHAPES))
        if name.startswith("FLUSH") and rng.random() < 0.9:
            name = "DBSIZE"
        name, *words = self.draw_of(name)
        if rng.random() < 0.02:
            words = words[:-1]
        if rng.random() < 0.05:
            name = name.lower()
        return [name, *words]

    def draw_of(self, name: str) -> list[str]:
        """Draw a command of this name, with all its arguments."""
        words = [word for shape in SHAPES[name].split() for word in self._argument(shape)]
        return [*name.split("|"), *words]

    def _argument(self, shape: str) -> list[str]:
        rng = self._rng
        if shape[0] == "?":
            return self._argument(shape[1:]) if rng.random() < 0.35 else []
        if shape[-1] == "*":
            return [w for _ in range(rng.randint(1, 3)) for w in self._argument(shape[:-1])]
        if shape.isupper() or shape.isdigit():
            return [shape]
        made = getattr(self, f"_{shape}", None)
        return [self._key(shape)] if made is None else made()

    def _key(self, kind: str) -> str:
        if self._rng.random() < 0.06:
            kind = self._rng.choice(list(KEYS))
        return self._rng.choice(KEYS[kind])

    def _any(self) -> list[str]:
        return [self._rng.choice([k for keys in KEYS.values() for k in keys])]

    def _string1(self) -> list[str]:
        return [self._rng.choice(KEYS["string"])]

    def _lexset(self) -> list[str]:
        return ["x1"]  # its scores are equal; otherwise the order is undefined

    def _zs(self) -> list[str]:
        return [self._rng.choice(KEYS["zset"] + KEYS["set"])]

    def _choice(self, *words: str) -> list[str]:
        return self._rng.choice(words).split()

    def _m(self) -> list[str]:
        return [self._rng.choice(MEMBERS)]

    def _n(self) -> list[str]:
        return [self._rng.choice(NUMBERS if self._rng.random() < 0.9 else ODD_NUMBERS)]

    def _small(self) -> list[str]:
        return [self._rng.choice(["0", "1", "5", "20", "-1", "x"])]

    def _f(self) -> list[str]:
        return [self._rng.choice(FLOATS if self._rng.random() < 0.95 else ["x", "", "nan"])]

    def _finite(self) -> list[str]:
        return [self._rng.choice([f for f in FLOATS if "inf" not in f])]

    def _value(self) -> list[str]:
        return [self._rng.choice(VALUES)]

    def _pair(self) -> list[str]:
        return [self._key("string"), *self._value()]

    def _field(self) -> list[str]:
        return [*self._m(), *self._value()]

    def _scored(self) -> list[str]:
        return [self._rng.choice([f for f in FLOATS if "inf" not in f]), *self._m()]

    def _seconds(self) -> list[str]:
        return self._choice("100", "1000", "-1", "x", "0")

    def _ms(self) -> list[str]:
        return self._choice("100000", "1000000", "-1", "x", "0")

    def _at_s(self) -> list[str]:
        return [str(self._now_ms() // 1000 + self._rng.choice([1000, -5]))]

    def _at_ms(self) -> list[str]:
        return [str(self._now_ms() + self._rng.choice([1_000_000, -5000]))]

    def _setopt(self) -> list[str]:
        return self._choice("NX", "XX", "GET", "KEEPTTL", "EX 100", "PX 100000", "NX GET", "XX GET",
                            "XX EX 500 GET", "NX XX", "EX", "foo", "EX 0")  # fmt: skip

    def _getexopt(self) -> list[str]:
        return self._choice("PERSIST", "EX 100", "PX 100000", "EX 0", "foo")

    def _lcsopt(self) -> list[str]:
        return self._choice("LEN", "IDX", "IDX WITHMATCHLEN", "IDX MINMATCHLEN 2", "LEN IDX")

    def _expopt(self) -> list[str]:
        return self._choice("NX", "XX", "GT", "LT", "NX GT", "foo")

    def _spot(self) -> list[str]:
        """Draw a longitude and a latitude. All are at different distances from each other."""
        return self._choice("13.361389 38.115556", "15.087269 37.502669", "12.758489 38.788135",
                            "17.24151 39.1", "-70.5 -33.25", "0 0", "179.9 85", "-180 -85.05112878",
                            "2.5 10", "200 1", "x 1", "1 inf")  # fmt: skip

    def _located(self) -> list[str]:
        return [*self._spot(), *self._m()]

    def _geoaddopt(self) -> list[str]:
        return self._choice("NX", "XX", "CH", "XX CH", "NX XX", "foo")

    def _radius(self) -> list[str]:
        return self._choice("0", "150", "200.5", "2000", "-1", "x")

    def _unit(self) -> list[str]:
        return self._choice("m", "km", "KM", "ft", "mi", "km", "yard")

    def _from(self) -> list[str]:
        return [*self._choice("FROMLONLAT"), *self._spot()] if self._rng.random() < 0.5 else [
            "FROMMEMBER", *self._m()]  # fmt: skip

    def _shape(self) -> list[str]:
        if self._rng.random() < 0.5:
            return ["BYRADIUS", *self._radius(), *self._unit()]
        return ["BYBOX", *self._radius(), *self._radius(), *self._unit()]

    def _geoshow(self) -> list[str]:
        return self._choice("WITHDIST", "WITHHASH", "WITHCOORD", "WITHCOORD WITHDIST WITHHASH")

    def _geocount(self) -> list[str]:
        return self._choice("COUNT 1", "COUNT 2", "COUNT 0", "COUNT x", "ANY", "COUNT 9 foo")

    def _xone(self) -> list[str]:
        return self._choice("1-1", "1-2", "2-0", "2-1", "3-1", "5-0", "5-5", "7-1", "9-9", "x", "5")

    def _xid(self) -> list[str]:
        rng = self._rng
        if rng.random() < 0.7:
            self._tick = self._tick % 40 + rng.randint(0, 1)
            ms, seq = divmod(self._tick, 3)
            return [f"{ms}-{seq + 1}" if rng.random() < 0.8 else f"{ms}-*"]
        return self._choice(
            "0-0", "0-1", "5", "1-*", "x", "1-x", "+", "-", "18446744073709551616-0"
        )

    def _xid1(self) -> list[str]:
        return self._choice("0", "0-0", "1-1", "2", "$", ">", "5-3", "20-1", "x")

    def _xread(self) -> list[str]:
        return self._choice(">", ">", ">", ">", "0", "0", "1-2", "5", "$", "x")

    def _xlow(self) -> list[str]:
        return self._choice("-", "-", "0", "1-1", "(1-1", "2", "(2", "5-1", "x", "+")

    def _xhigh(self) -> list[str]:
        return self._choice("+", "+", "9", "5-1", "(5-1", "(3", "20", "3-0", "(0-0", "x", "-")

    def _xcount(self) -> list[str]:
        return self._choice("COUNT 1", "COUNT 2", "COUNT 0", "COUNT -1", "COUNT 10", "COUNT x")

    def _xbound(self) -> list[str]:
        return self._choice("MAXLEN 3", "MAXLEN = 5", "MAXLEN ~ 4", "MAXLEN 0", "MINID 3-1",
                            "MINID = 2", "MINID ~ 4", "MAXLEN -1", "MAXLEN x", "MINID x",
                            "MAXLEN ~ 2 LIMIT 2", "MAXLEN 2 LIMIT 1", "MAXLEN ~ 1 LIMIT 0",
                            "MAXLEN 5 MINID 5")  # fmt: skip

    def _xaddopt(self) -> list[str]:
        return self._xbound() if self._rng.random() < 0.5 else self._choice("NOMKSTREAM", "LIMIT 5")

    def _xtrim(self) -> list[str]:
        return self._xbound() if self._rng.random() < 0.9 else self._choice("LIMIT 5", "x 1")

    def _xsetopt(self) -> list[str]:
        return self._choice("ENTRIESADDED 20", "ENTRIESADDED 1", "MAXDELETEDID 2-1", "x", "x 1",
                            "ENTRIESADDED -1")  # fmt: skip

    def _group(self) -> list[str]:
        return self._choice("g", "g", "g", "h")

    def _consumer(self) -> list[str]:
        return self._choice("alice", "bob", "carol")

    def _idle(self) -> list[str]:
        return self._choice("0", "0", "0", "100000", "-1", "x")

    def _xclaimopt(self) -> list[str]:
        return self._choice("JUSTID", "FORCE", "FORCE JUSTID", "RETRYCOUNT 7", "IDLE 100000",
                            "LASTID 5-1", "TIME 5", "x", "RETRYCOUNT", "IDLE x")  # fmt: skip

    def _xpending(self) -> list[str]:
        words = self._choice("", "", "", "IDLE 0", "IDLE 100000", "IDLE x")
        words += [*self._xlow(), *self._xhigh(), *self._choice("10", "1", "0", "-1", "x")]
        return words + (self._consumer() if self._rng.random() < 0.4 else [])

    def _xcreate(self) -> list[str]:
        return self._choice("$", "0", "0-0", "3-1", "5", "x", "-")

    def _xgroupopt(self) -> list[str]:
        return self._choice("MKSTREAM", "MKSTREAM", "ENTRIESREAD 3", "ENTRIESREAD -1",
                            "ENTRIESREAD x", "ENTRIESREAD -2", "x")  # fmt: skip

    def _xgroupopt1(self) -> list[str]:
        return self._choice("ENTRIESREAD 3", "ENTRIESREAD -1", "x", "MKSTREAM")

    def _NOACK1(self) -> list[str]:
        return ["NOACK"] if self._rng.random() < 0.2 else []

    def _place(self) -> list[str]:
        return self._choice(
            "0", "1", "7", "8", "9", "15", "16", "31", "100", "-1", "x", "4294967296"
        )

    def _bit(self) -> list[str]:
        return self._choice("0", "1", "0", "1", "0", "1", "2", "x")

    def _bitrange(self) -> list[str]:
        unit = self._choice("", "BYTE", "BIT", "bit", "x") if self._rng.random() < 0.6 else []
        return [*self._n(), *(self._n() if self._rng.random() < 0.95 else []), *unit]

    def _bitspan(self) -> list[str]:
        return self._n() if self._rng.random() < 0.3 else self._bitrange()

    def _bitop(self) -> list[str]:
        return self._choice("AND", "OR", "XOR", "NOT", "and", "x")

    def _width(self) -> list[str]:
        return self._choice(
            "u8", "i8", "u4", "i5", "u1", "i64", "u63", "i16", "u64", "x", "i0", "u13"
        )

    def _at(self) -> list[str]:
        return self._choice("0", "#0", "1", "#1", "3", "7", "9", "#2", "20", "#x", "-1")

    def _bitget(self) -> list[str]:
        return ["GET" if self._rng.random() < 0.95 else "SET", *self._width(), *self._at()]

    def _bitwork(self) -> list[str]:
        overflow = self._choice(
            "", "", "OVERFLOW WRAP", "OVERFLOW SAT", "OVERFLOW FAIL", "OVERFLOW x"
        )
        kind = self._rng.choice(["GET", "SET", "INCRBY"])
        value = [] if kind == "GET" else self._choice("0", "1", "-1", "5", "100", "300", "-200",
                                                      "9223372036854775807")  # fmt: skip
        return [*overflow, kind, *self._width(), *self._at(), *value]

    def _MATCH1(self) -> list[str]:
        return ["MATCH", *self._pattern()]

    def _TYPE1(self) -> list[str]:
        return [
            "TYPE",
            *self._choice("string", "list", "set", "zset", "hash", "stream", "x", "LIST"),
        ]

    def _sortby(self) -> list[str]:
        return ["BY", *self._choice("nosort", "s*", "h*->a", "*", "i*")]

    def _sortget(self) -> list[str]:
        return self._choice("GET #", "GET s*", "GET h1->*", "GET # GET s*", "GET x")

    def _sortopt(self) -> list[str]:
        return self._choice("ASC", "DESC", "LIMIT 0 2", "LIMIT 1 1", "LIMIT -1 5", "LIMIT 1 -1",
                            "DESC LIMIT 0 3", "LIMIT 5 1", "x")  # fmt: skip

    def _sortstore(self) -> list[str]:
        return ["STORE", *self._any()]

    def _coll(self) -> list[str]:
        return [self._rng.choice([k for kind in ("list", "set", "hash") for k in KEYS[kind]])]

    def _none(self) -> list[str]:
        return ["nothing"]

    def _pattern(self) -> list[str]:
        return self._choice("*", "s*", "?1", "[a-z]1", "[^s]*", "l[12]", "*1*", "x")

    def _where(self) -> list[str]:
        return self._choice("BEFORE", "AFTER", "x")

    def _side(self) -> list[str]:
        return self._choice("LEFT", "RIGHT")

    def _end(self) -> list[str]:
        return self._choice("MIN", "MAX")

    def _wait(self) -> list[str]:
        return self._choice("0.001", "0.002", "x", "-1")

    def _count(self) -> list[str]:
        return self._choice("COUNT 1", "COUNT 2", "COUNT 0")

    def _limit(self) -> list[str]:
        return self._choice("LIMIT 0 1", "LIMIT 1 2", "LIMIT 0 -1", "LIMIT -1 1")

    def _limit1(self) -> list[str]:
        return self._choice("LIMIT 1", "LIMIT 0", "LIMIT 5")

    def _lposopt(self) -> list[str]:
        return self._choice("RANK 1", "RANK -1", "RANK 2 COUNT 0", "COUNT 1", "MAXLEN 2", "RANK 0",
                            "COUNT -1")  # fmt: skip

    def _zaddopt(self) -> list[str]:
        return self._choice("NX", "XX", "GT", "LT", "CH", "XX CH", "NX GT", "GT CH")

    def _bound(self) -> list[str]:
        return self._choice("-inf", "+inf", "0", "1", "(1", "2.5", "(3", "x", "(0.1")

    def _lex(self) -> list[str]:
        return self._choice("-", "+", "[a", "(a", "[c", "(b", "[aa", "x")

    def _weights(self) -> list[str]:
        return self._choice("WEIGHTS 1 2", "WEIGHTS 0.5 -1", "WEIGHTS 1 1")

    def _agg(self) -> list[str]:
        return self._choice("AGGREGATE SUM", "AGGREGATE MIN", "AGGREGATE MAX")
