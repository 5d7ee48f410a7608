"""A head that comes again.

Whoever keeps his connection asks each question with the same head but for the length of its body.
Such a one is not parsed again: the request is made of the one that was, as its headers, its URL and
a stream for its body are a tenth of what a relayed request costs (docs/adr/0018). A head is known
by all its bytes, and only where they leave nothing to a parser's taste, so that nothing is read
into them that aiohttp's parser did not.
"""

from __future__ import annotations

import re

LONGEST = 4096
"""Bytes of a head that is kept with its connection."""

_HEAD = re.compile(rb"[A-Z]{1,16} [!-~]+ HTTP/1\.1\r\n(?:[A-Za-z0-9_-]+:[\t -~]*\r\n)*\r\n")
_FRAMING = re.compile(rb"\r\n(Content-Length|Transfer-Encoding|Upgrade):", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\nContent-Length:[\t ]*([0-9]{1,9})\r\n", re.IGNORECASE)
_LINE = 12
"""More than there may be of a length and its line's end."""


class Head:
    """Whole lines of ASCII, one length of the body at most."""

    __slots__ = ("_after", "_before", "length", "size")

    def __init__(self, before: bytes, digits: bytes, after: bytes) -> None:
        self._before = before
        """Up to the length; all of it where there is none."""
        self._after = after
        self.length = int(digits or b"0")
        """Of the body, in bytes."""
        self.size = len(before) + len(digits) + len(after) + self.length
        """Of the whole message, in bytes."""

    @property
    def may_come_again(self) -> bool:
        return bool(self._after) and self.size - self.length <= LONGEST

    def body_in(self, data: bytes) -> bytes | None:
        """The body, where `data` is this head but for the length, and a body of that length."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _LINE)
        digits = data[start:end]
        # Of bytes these are ASCII's ten.
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        return body if int(digits) == len(body) else None


def head_in(data: bytes) -> Head | None:
    """The head that `data` begins with; None for one that is not whole, or not so plain."""
    found = _HEAD.match(data)
    if found is None:
        return None
    head = found[0]
    framing = _FRAMING.findall(head)
    if not framing:
        return Head(head, b"", b"")
    length = _LENGTH.search(head)
    if len(framing) > 1 or length is None:
        return None
    return Head(head[: length.start(1)], length[1], head[length.end(1) :])
