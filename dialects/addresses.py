"""Addresses that a caller writes into a question: an upstream fetches them, never we.

An upstream may stand in our own network (vLLM, Ollama), so a URL that points into one is refused
before anybody is asked. Nothing is looked up here: a name that only resolves to a private address
passes, and whoever fetches it has to look.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from dialects.reading import bad

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 behind a translator: what is private there is private here (RFC 6052)."""
PRIVATE_NAMES: Final = ("localhost", "internal", "local", "lan", "intranet", "home.arpa")
"""Names, and all below them, that mean the network of whoever asks; cloud metadata is
metadata.google.internal (RFC 6761, 6762, 8375; ICANN keeps .internal for such use)."""
_NUMERIC: Final = re.compile(r"(?:\d+|0[xX][0-9a-fA-F]*)")
_DOTS: Final = str.maketrans({"\u3002": ".", "\uff61": "."})
"""What IDNA takes for a dot and NFKC does not."""


def public_url(url: str, where: str) -> str:
    """The URL as it is. Raises BadRequest that names `where` for one that points to a loopback,
    private, link-local (cloud metadata) or reserved address or to such a name, that holds a login,
    or that two readers may read in two ways."""
    if any(character <= " " or character in "\\\x7f" for character in url):
        bad(where, "must be a URL without blanks, backslashes and control characters.")
    try:
        split = urlsplit(url)
        host, _ = split.hostname, split.port
    except ValueError:
        bad(where, "is no URL that can be read.")
    if split.scheme not in ("http", "https") or not host or "%" in host:
        bad(where, "must begin with https:// or http:// and name a host.")
    if split.username is not None or split.password is not None:
        bad(where, "must hold no login.")
    if not _is_public(unicodedata.normalize("NFKC", host).translate(_DOTS).lower().rstrip(".")):
        bad(where, "points to an address that is not public; send the data itself.")
    return url


def is_address(url: str) -> bool:
    """Whether anybody may fetch it: not a name of one vendor's own files."""
    return url[:8].lower().startswith(("https://", "http://"))


def _is_public(host: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.split(".")
    # 2130706433, 0x7f.1 and 127.1 are addresses to most fetchers.
    # A name without a dot is one of the network's own: a container beside the upstream.
    if _NUMERIC.fullmatch(labels[-1]) or len(labels) == 1 or not all(labels):
        return False
    return not any(host == name or host.endswith("." + name) for name in PRIVATE_NAMES)


def is_public(ip: IpAddress) -> bool:
    """Also of the IPv4 address that an IPv6 one carries in itself."""
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is None and ip.teredo is not None:
            return False
        if inner is not None:
            return is_public(inner)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified
