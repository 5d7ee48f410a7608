"""Addresses that others gave us: nobody may point us at our own network.

A name is resolved once, every address that it has is looked at, and the caller connects to one of
these and to no other: a name that says something else a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from dialects.addresses import is_public

RESOLVE_S = 5.0
MAX_URL = 2048


class RefusedAddressError(ValueError):
    """The URL must not be asked; says why."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """`addresses`: where to connect, and nowhere else."""

    url: str
    host: str
    port: int
    tls: bool
    addresses: tuple[str, ...]


async def resolve_public(url: str, allow: Sequence[str] = ()) -> Resolved:
    """The addresses of an http(s) URL, all of them public. `allow`: hosts ("hooks.lan"), with a
    port ("127.0.0.1:9000") or networks ("10.1.0.0/16") that are fine though they are not.

    Raises RefusedAddressError for a private, loopback, link-local (cloud metadata), shared,
    multicast or reserved address, and for what is no such URL or resolves to nothing.
    """
    host, port, tls = parts(url)
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError):
        raise RefusedAddressError(f"the host {host[:100]!r} cannot be resolved") from None
    addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    if not addresses:
        raise RefusedAddressError(f"the host {host[:100]!r} has no address")
    named = {host.lower(), f"{host.lower()}:{port}"} & {one.lower() for one in allow}
    if not named:
        for address in addresses:
            if not _allowed(address, port, allow):
                raise RefusedAddressError(
                    f"the host {host[:100]!r} is at an address that is not public"
                )
    return Resolved(url, host, port, tls, addresses)


def parts(url: str) -> tuple[str, int, bool]:
    """Host, port, whether TLS. Raises RefusedAddressError."""
    if len(url) > MAX_URL:
        raise RefusedAddressError(f"the URL must have at most {MAX_URL} characters")
    if any(character <= " " or character == "\\" or character == "\x7f" for character in url):
        raise RefusedAddressError("the URL must hold no spaces and no control characters")
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        raise RefusedAddressError("the URL cannot be read") from None
    if split.scheme not in ("http", "https") or not host:
        raise RefusedAddressError("the URL must start with http:// or https:// and name a host")
    if split.username is not None or split.password is not None:
        raise RefusedAddressError("the URL must not hold a login")
    if port == 0:
        raise RefusedAddressError("the URL's port must be from 1 to 65535")
    tls = split.scheme == "https"
    return host.rstrip("."), port or (443 if tls else 80), tls


def _allowed(address: str, port: int, allow: Sequence[str]) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if is_public(ip):
        return True
    for one in allow:
        if one in (str(ip), f"{ip}:{port}", f"[{ip}]:{port}"):
            return True
        try:
            network = ipaddress.ip_network(one, strict=False)
        except ValueError:
            # It is a name, and names were looked at before.
            continue
        if ip.version == network.version and ip in network:
            return True
    return False
