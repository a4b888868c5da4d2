"""The arguments of all commands, for COMMAND DOCS, in a short notation.

`name` is a string, `name:i` an integer, `name:d` a double, `name:t` a Unix time, `name:p` a
pattern, `name:k` and `key` a key. Words in capitals and signs are literal tokens; a token before an
argument belongs to it. `[…]` is optional, `a | b` is a choice, `…+` occurs once or more.
"""

from __future__ import annotations

from typing import Final

GROUPS: Final = {
    "bitmap": """
        BITCOUNT key [start:i end:i [BYTE | BIT]]
        BITFIELD key [(GET (encoding offset:i) | ([OVERFLOW (WRAP | SAT | FAIL)]
            (SET (encoding offset:i value:i) | INCRBY (encoding offset:i increment:i))))+]
        BITFIELD_RO key [(GET (encoding offset:i))+]
        BITOP operation destkey:k key+
        BITPOS key bit:i [start:i [end:i [BYTE | BIT]]]
        GETBIT key offset:i
        SETBIT key offset:i value:i
    """,
    "connection": """
        ECHO message
        PING [message]
    """,
    "generic": """
        COPY source:k destination:k [DB destination-db:i] [REPLACE]
        DEL key+
        DUMP key
        EXISTS key+
        EXPIRE key seconds:i [NX | XX | GT | LT]
        EXPIREAT key unix-time-seconds:t [NX | XX | GT | LT]
        EXPIRETIME key
        KEYS pattern:p
        OBJECT|ENCODING key
        OBJECT|FREQ key
        OBJECT|HELP
        OBJECT|IDLETIME key
        OBJECT|REFCOUNT key
        PERSIST key
        PEXPIRE key milliseconds:i [NX | XX | GT | LT]
        PEXPIREAT key unix-time-milliseconds:t [NX | XX | GT | LT]
        PEXPIRETIME key
        PTTL key
        RANDOMKEY
        RENAME key newkey:k
        RENAMENX key newkey:k
        RESTORE key ttl:i serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds:i] [FREQ
            frequency:i]
        SCAN cursor:i [MATCH pattern:p] [COUNT count:i] [TYPE type]
        SORT key [BY pattern:p] [LIMIT (offset:i count:i)] [(GET pattern:p)+] [ASC | DESC] [ALPHA]
            [STORE destination:k]
        SORT_RO key [BY pattern:p] [LIMIT (offset:i count:i)] [(GET pattern:p)+] [ASC | DESC]
            [ALPHA]
        TOUCH key+
        TTL key
        TYPE key
        UNLINK key+
    """,
    "geo": """
        GEOADD key [NX | XX] [CH] (longitude:d latitude:d member)+
        GEODIST key member1 member2 [M | KM | FT | MI]
        GEOHASH key member+
        GEOPOS key member+
        GEORADIUS key longitude:d latitude:d radius:d (M | KM | FT | MI) [WITHCOORD] [WITHDIST]
            [WITHHASH] [COUNT count:i [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]
        GEORADIUSBYMEMBER key member radius:d (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH]
            [COUNT count:i [ANY]] [ASC | DESC] [STORE key] [STOREDIST key]
        GEORADIUSBYMEMBER_RO key member radius:d (M | KM | FT | MI) [WITHCOORD] [WITHDIST]
            [WITHHASH] [COUNT count:i [ANY]] [ASC | DESC]
        GEORADIUS_RO key longitude:d latitude:d radius:d (M | KM | FT | MI) [WITHCOORD] [WITHDIST]
            [WITHHASH] [COUNT count:i [ANY]] [ASC | DESC]
        GEOSEARCH key (FROMMEMBER member | FROMLONLAT (longitude:d latitude:d)) ((BYRADIUS radius:d
            (M | KM | FT | MI)) | (BYBOX width:d height:d (M | KM | FT | MI))) [ASC | DESC] [COUNT
            count:i [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
        GEOSEARCHSTORE destination:k source:k (FROMMEMBER member | FROMLONLAT (longitude:d
            latitude:d)) ((BYRADIUS radius:d (M | KM | FT | MI)) | (BYBOX width:d height:d (M | KM |
            FT | MI))) [ASC | DESC] [COUNT count:i [ANY]] [STOREDIST]
    """,
    "hash": """
        HDEL key field+
        HEXISTS key field
        HGET key field
        HGETALL key
        HINCRBY key field increment:i
        HINCRBYFLOAT key field increment:d
        HKEYS key
        HLEN key
        HMGET key field+
        HMSET key (field value)+
        HRANDFIELD key [count:i [WITHVALUES]]
        HSCAN key cursor:i [MATCH pattern:p] [COUNT count:i]
        HSET key (field value)+
        HSETNX key field value
        HSTRLEN key field
        HVALS key
    """,
    "hyperloglog": """
        PFADD key [element+]
        PFCOUNT key+
        PFMERGE destkey:k sourcekey:k+
    """,
    "list": """
        BLMOVE source:k destination:k (LEFT | RIGHT) (LEFT | RIGHT) timeout:d
        BLMPOP timeout:d numkeys:i key+ (LEFT | RIGHT) [COUNT count:i]
        BLPOP key+ timeout:d
        BRPOP key+ timeout:d
        BRPOPLPUSH source:k destination:k timeout:d
        LINDEX key index:i
        LINSERT key (BEFORE | AFTER) pivot element
        LLEN key
        LMOVE source:k destination:k (LEFT | RIGHT) (LEFT | RIGHT)
        LMPOP numkeys:i key+ (LEFT | RIGHT) [COUNT count:i]
        LPOP key [count:i]
        LPOS key element [RANK rank:i] [COUNT num-matches:i] [MAXLEN len:i]
        LPUSH key element+
        LPUSHX key element+
        LRANGE key start:i stop:i
        LREM key count:i element
        LSET key index:i element
        LTRIM key start:i stop:i
        RPOP key [count:i]
        RPOPLPUSH source:k destination:k
        RPUSH key element+
        RPUSHX key element+
    """,
    "pubsub": """
        PUBLISH channel message
        SPUBLISH shardchannel message
    """,
    "scripting": """
        EVAL script numkeys:i [key+] [arg+]
        EVALSHA sha1 numkeys:i [key+] [arg+]
        EVALSHA_RO sha1 numkeys:i [key+] [arg+]
        EVAL_RO script numkeys:i [key+] [arg+]
        SCRIPT|EXISTS sha1+
        SCRIPT|FLUSH [ASYNC | SYNC]
        SCRIPT|HELP
        SCRIPT|KILL
        SCRIPT|LOAD script
    """,
    "server": """
        DBSIZE
        FLUSHALL [ASYNC | SYNC]
        FLUSHDB [ASYNC | SYNC]
        MEMORY|HELP
        MEMORY|USAGE key [SAMPLES count:i]
        TIME
    """,
    "set": """
        SADD key member+
        SCARD key
        SDIFF key+
        SDIFFSTORE destination:k key+
        SINTER key+
        SINTERCARD numkeys:i key+ [LIMIT limit:i]
        SINTERSTORE destination:k key+
        SISMEMBER key member
        SMEMBERS key
        SMISMEMBER key member+
        SMOVE source:k destination:k member
        SPOP key [count:i]
        SRANDMEMBER key [count:i]
        SREM key member+
        SSCAN key cursor:i [MATCH pattern:p] [COUNT count:i]
        SUNION key+
        SUNIONSTORE destination:k key+
    """,
    "sorted-set": """
        BZMPOP timeout:d numkeys:i key+ (MIN | MAX) [COUNT count:i]
        BZPOPMAX key+ timeout:d
        BZPOPMIN key+ timeout:d
        ZADD key [NX | XX] [GT | LT] [CH] [INCR] (score:d member)+
        ZCARD key
        ZCOUNT key min:d max:d
        ZDIFF numkeys:i key+ [WITHSCORES]
        ZDIFFSTORE destination:k numkeys:i key+
        ZINCRBY key increment:i member
        ZINTER numkeys:i key+ [WEIGHTS weight:i+] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
        ZINTERCARD numkeys:i key+ [LIMIT limit:i]
        ZINTERSTORE destination:k numkeys:i key+ [WEIGHTS weight:i+] [AGGREGATE (SUM | MIN | MAX)]
        ZLEXCOUNT key min max
        ZMPOP numkeys:i key+ (MIN | MAX) [COUNT count:i]
        ZMSCORE key member+
        ZPOPMAX key [count:i]
        ZPOPMIN key [count:i]
        ZRANDMEMBER key [count:i [WITHSCORES]]
        ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT (offset:i count:i)] [WITHSCORES]
        ZRANGEBYLEX key min max [LIMIT (offset:i count:i)]
        ZRANGEBYSCORE key min:d max:d [WITHSCORES] [LIMIT (offset:i count:i)]
        ZRANGESTORE dst:k src:k min max [BYSCORE | BYLEX] [REV] [LIMIT (offset:i count:i)]
        ZRANK key member
        ZREM key member+
        ZREMRANGEBYLEX key min max
        ZREMRANGEBYRANK key start:i stop:i
        ZREMRANGEBYSCORE key min:d max:d
        ZREVRANGE key start:i stop:i [WITHSCORES]
        ZREVRANGEBYLEX key max min [LIMIT (offset:i count:i)]
        ZREVRANGEBYSCORE key max:d min:d [WITHSCORES] [LIMIT (offset:i count:i)]
        ZREVRANK key member
        ZSCAN key cursor:i [MATCH pattern:p] [COUNT count:i]
        ZSCORE key member
        ZUNION numkeys:i key+ [WEIGHTS weight:i+] [AGGREGATE (SUM | MIN | MAX)] [WITHSCORES]
        ZUNIONSTORE destination:k numkeys:i key+ [WEIGHTS weight:i+] [AGGREGATE (SUM | MIN | MAX)]
    """,
    "stream": """
        XACK key group id+
        XADD key [NOMKSTREAM] [(MAXLEN | MINID) [= | ~] threshold [LIMIT count:i]] (* | id) (field
            value)+
        XAUTOCLAIM key group consumer min-idle-time start [COUNT count:i] [JUSTID]
        XCLAIM key group consumer min-idle-time id+ [IDLE ms:i] [TIME unix-time-milliseconds:t]
            [RETRYCOUNT count:i] [FORCE] [JUSTID] [LASTID id]
        XDEL key id+
        XGROUP|CREATE key groupname (id | $) [MKSTREAM] [ENTRIESREAD entries_read:i]
        XGROUP|CREATECONSUMER key groupname consumername
        XGROUP|DELCONSUMER key groupname consumername
        XGROUP|DESTROY key groupname
        XGROUP|HELP
        XGROUP|SETID key groupname (id | $) [ENTRIESREAD entries_read:i]
        XINFO|CONSUMERS key groupname
        XINFO|GROUPS key
        XINFO|HELP
        XINFO|STREAM key [FULL [COUNT count:i]]
        XLEN key
        XPENDING key group [[IDLE min-idle-time:i] start end count:i [consumer]]
        XRANGE key start end [COUNT count:i]
        XREAD [COUNT count:i] [BLOCK milliseconds:i] STREAMS (key+ id+)
        XREADGROUP GROUP (group consumer) [COUNT count:i] [BLOCK milliseconds:i] [NOACK] STREAMS
            (key+ id+)
        XREVRANGE key end start [COUNT count:i]
        XSETID key last-id [ENTRIESADDED entries_added:i] [MAXDELETEDID max_deleted_entry_id]
        XTRIM key ((MAXLEN | MINID) [= | ~] threshold [LIMIT count:i])
    """,
    "string": """
        APPEND key value
        DECR key
        DECRBY key decrement:i
        GET key
        GETDEL key
        GETEX key [EX seconds:i | PX milliseconds:i | EXAT unix-time-seconds:t | PXAT
            unix-time-milliseconds:t | PERSIST]
        GETRANGE key start:i end:i
        GETSET key value
        INCR key
        INCRBY key increment:i
        INCRBYFLOAT key increment:d
        LCS key1:k key2:k [LEN] [IDX] [MINMATCHLEN len:i] [WITHMATCHLEN]
        MGET key+
        MSET (key value)+
        MSETNX (key value)+
        PSETEX key milliseconds:i value
        SET key value [NX | XX] [GET] [EX seconds:i | PX milliseconds:i | EXAT unix-time-seconds:t
            | PXAT unix-time-milliseconds:t | KEEPTTL]
        SETEX key seconds:i value
        SETNX key value
        SETRANGE key offset:i value
        STRLEN key
        SUBSTR key start:i end:i
    """,
}
# Commands whose replies may differ between servers with the same data (RANDOM), or differ in
# order (UNORDERED).
RANDOM: Final = (
    "DUMP",
    "HRANDFIELD",
    "HSCAN",
    "OBJECT|ENCODING",
    "OBJECT|FREQ",
    "OBJECT|IDLETIME",
    "OBJECT|REFCOUNT",
    "PTTL",
    "RANDOMKEY",
    "SCAN",
    "SPOP",
    "SRANDMEMBER",
    "SSCAN",
    "TIME",
    "TTL",
    "XADD",
    "XAUTOCLAIM",
    "XCLAIM",
    "XINFO|CONSUMERS",
    "XPENDING",
    "XTRIM",
    "ZRANDMEMBER",
    "ZSCAN",
)
UNORDERED: Final = (
    "HGETALL",
    "HKEYS",
    "HVALS",
    "KEYS",
    "SDIFF",
    "SINTER",
    "SMEMBERS",
    "SUNION",
)
