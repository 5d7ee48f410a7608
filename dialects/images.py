"""Pictures and other bytes as base64: whether it is base64, and what picture it is."""

from __future__ import annotations

import binascii
import re
from typing import Final, NamedTuple

from dialects.reading import bad

LARGEST: Final = 32 * 2**20
"""Bytes of one picture. The vendors take 5 to 20 MB of them; what a question may hold in all is a
setting (`body_limit`)."""

_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)
_MAGIC: Final = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


class Data(NamedTuple):
    media_type: str
    """In lower case; "" where the URL names none."""
    data: str
    """Not checked."""


def is_base64(data: str) -> bool:
    """Standard base64 with its padding, nothing else in it, and not empty."""
    try:
        return bool(binascii.a2b_base64(data, strict_mode=True))
    except ValueError:
        return False


def check_size(data: str, param: str) -> None:
    """Of base64. Raises BadRequest naming `param`."""
    if len(data) // 4 * 3 - 2 > LARGEST:
        bad(param, f"has more than {LARGEST // 2**20} MiB, too large for a picture.")


def of_data_url(url: str) -> Data | None:
    """The parts of data:image/png;base64,...; None for any other URL."""
    head = _DATA_URL.match(url)
    return None if head is None else Data(head[1].strip().lower(), url[head.end() :])


def image_type(data: str) -> str | None:
    """The media type by the first bytes; None where they say nothing."""
    try:
        head = binascii.a2b_base64(data[:16])
    except ValueError:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
