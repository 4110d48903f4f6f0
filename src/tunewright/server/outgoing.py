"""Requests to addresses that somebody named: sent once, within a limit of time, and only to where they may go.

Who has a key of a project must not reach through the server what its machine can reach. So an address set over the API
is looked up, every answer of the look-up is checked, and the request goes to one of those very answers: a second
look-up could say something else. Redirects are not followed, and proxies of the environment are not used: either would
lead to an address that nobody named.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any

from tunewright.core.errors import DataError, EndpointError

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10  # for an address to be found, reached and to answer
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052, section 2.1
INSIDE = "webhooks_inside: true in workspace.yaml allows it"


async def post(url: str, body: bytes, headers: dict[str, str], *, inside: bool) -> int:
    """The status that an address answers with. inside: whether it may be on this machine or in its network. Raises
    EndpointError.
    """
    import httpx

    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            parts = httpx.URL(url)
            to = {"url": parts} if inside else await _found(parts)
            headers = headers | {"host": parts.netloc.decode("ascii")}
            options: dict[str, Any] = {"timeout": TIMEOUT_SECONDS, "follow_redirects": False, "trust_env": False}
            async with (
                httpx.AsyncClient(verify=_certificates(), **options) as client,
                client.stream("POST", **to, content=body, headers=headers) as answer,
            ):
                return answer.status_code
    except TimeoutError:
        raise EndpointError(f"no answer within {TIMEOUT_SECONDS} seconds") from None
    except (httpx.HTTPError, OSError, UnicodeError) as error:
        if isinstance(error, EndpointError):
            raise
        raise EndpointError(f"{type(error).__name__}: {error}"[:300]) from None


@cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust: read once, since reading takes as long as many answers."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def check(url: str, *, inside: bool) -> None:
    """Raises DataError for an address that nothing is ever sent to, as far as it can be told without a look-up."""
    import httpx

    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DataError(f"The url cannot be read: {error}. Give an address such as https://example.com/hook.") from None
    schemes = ("http", "https") if inside else ("https",)
    if parts.scheme not in schemes or not parts.host or not 0 < (parts.port or 1) < 2**16:
        hint = "" if inside else f" ({INSIDE} to be http://)"
        raise DataError(
            f"The url must begin with https://{hint}, a host and perhaps a port. Give an address such as https://example.com/hook."
        )
    if parts.userinfo:
        raise DataError("The url holds a user or a password. Leave them out; the secret signs what is sent.")
    if not inside and (parts.host == "localhost" or parts.host.endswith(".localhost") or _is_inner_number(parts.host)):
        raise _refused(parts.host, DataError)


async def _found(url: httpx.URL) -> dict[str, Any]:
    """Where a request to an address is to go, and by what name its certificate is checked."""
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.raw_host.decode("ascii")
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    numbers = [str(answer[4][0]) for answer in answers]
    if any(is_inner(number) for number in numbers):
        raise _refused(host, EndpointError)
    return {"url": url.copy_with(host=numbers[0]), "extensions": {"sni_hostname": host}}


def is_inner(number: str) -> bool:
    """Whether an IP address is of this machine, of its network, or of anything else but the public net."""
    ip = ipaddress.ip_address(number.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        through = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            through = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if through:
            return is_inner(str(through))
    return not ip.is_global or ip.is_multicast


def _is_inner_number(host: str) -> bool:
    """Whether a host is an inner address in any way of writing numbers that a look-up takes (2130706433, 0x7f.1)."""
    try:
        answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return any(is_inner(str(answer[4][0])) for answer in answers)


def _refused(host: str, kind: type[DataError | EndpointError]) -> DataError | EndpointError:
    return kind(
        f"{host} is on the server's own machine or network, where nothing is sent for a key. Give a public address "
        f"({INSIDE})."
    )
