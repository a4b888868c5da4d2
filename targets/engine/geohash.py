"""Positions on the earth as 52-bit numbers, as Redis interleaves them, and distances."""

from __future__ import annotations

import math
from typing import Final

LONGITUDE_MAX: Final = 180.0
LATITUDE_MAX: Final = 85.05112878  # of the Mercator projection
EARTH_M: Final = 6372797.560856
STEPS: Final = 26  # bits of each coordinate
_ALPHABET: Final = b"0123456789bcdefghjkmnpqrstuvwxyz"


def _spread(bits: int) -> int:
    """Return a 32-bit number with a zero after every bit."""
    bits = (bits | bits << 16) & 0x0000FFFF0000FFFF
    bits = (bits | bits << 8) & 0x00FF00FF00FF00FF
    bits = (bits | bits << 4) & 0x0F0F0F0F0F0F0F0F
    bits = (bits | bits << 2) & 0x3333333333333333
    return (bits | bits << 1) & 0x5555555555555555


def _gathered(bits: int) -> int:
    """Return every second bit of a 64-bit number, from the lowest on."""
    bits &= 0x5555555555555555
    bits = (bits | bits >> 1) & 0x3333333333333333
    bits = (bits | bits >> 2) & 0x0F0F0F0F0F0F0F0F
    bits = (bits | bits >> 4) & 0x00FF00FF00FF00FF
    bits = (bits | bits >> 8) & 0x0000FFFF0000FFFF
    return (bits | bits >> 16) & 0x00000000FFFFFFFF


def encode(longitude: float, latitude: float, latitude_max: float = LATITUDE_MAX) -> int:
    """Return the number of a position: bits of the latitude at even places, of the longitude at odd
    ones."""
    across = (longitude + LONGITUDE_MAX) / (2 * LONGITUDE_MAX)
    up = (latitude + latitude_max) / (2 * latitude_max)
    scale = 1 << STEPS
    return _spread(int(up * scale) & 0xFFFFFFFF) | _spread(int(across * scale) & 0xFFFFFFFF) << 1


def decode(number: int) -> tuple[float, float]:
    """Return (longitude, latitude): the middle of the box that a number names."""
    up, across = _gathered(number), _gathered(number >> 1)
    scale = float(1 << STEPS)
    low = -LATITUDE_MAX + up / scale * (2 * LATITUDE_MAX)
    high = -LATITUDE_MAX + (up + 1) / scale * (2 * LATITUDE_MAX)
    left = -LONGITUDE_MAX + across / scale * (2 * LONGITUDE_MAX)
    right = -LONGITUDE_MAX + (across + 1) / scale * (2 * LONGITUDE_MAX)
    longitude = max(-LONGITUDE_MAX, min((left + right) / 2, LONGITUDE_MAX))
    return longitude, max(-LATITUDE_MAX, min((low + high) / 2, LATITUDE_MAX))


def of_score(score: float) -> int:
    """Return the number that a score of a sorted set holds, converted as C does: to 64 bits."""
    if not math.isfinite(score):
        return 0 if score > 0 else 1 << 63
    return int(score) & 0xFFFFFFFFFFFFFFFF


def text(number: int) -> bytes:
    """Return the standard geohash of 11 characters, whose latitudes range to 90 degrees."""
    longitude, latitude = decode(number)
    bits = encode(longitude, latitude, 90.0)
    places = [bits >> (52 - 5 * (i + 1)) & 31 for i in range(10)]
    return bytes(_ALPHABET[place] for place in [*places, 0])


def latitude_distance(one: float, other: float) -> float:
    return EARTH_M * abs(math.radians(other) - math.radians(one))


def distance(
    longitude: float, latitude: float, other_longitude: float, other_latitude: float
) -> float:
    """Return the distance of two positions in metres, on a sphere (the haversine formula)."""
    lon1, lon2 = math.radians(longitude), math.radians(other_longitude)
    v = math.sin((lon2 - lon1) / 2)
    if v == 0.0:
        return latitude_distance(latitude, other_latitude)
    lat1, lat2 = math.radians(latitude), math.radians(other_latitude)
    u = math.sin((lat2 - lat1) / 2)
    return 2.0 * EARTH_M * math.asin(math.sqrt(u * u + math.cos(lat1) * math.cos(lat2) * v * v))
