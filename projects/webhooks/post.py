"""One POST to a receiver: to a checked address, within limits of time and size.

The client of the standard library follows no redirect, keeps no cookie and knows no proxy.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import certifi
from django.utils.translation import gettext_noop

from projects.webhooks.addresses import AddressRefused, IpAddress, Target, find_target

CONNECT_S, READ_S = 5.0, 10.0
TOTAL_S = 15.0  # a receiver that sends a byte now and then gets no more
MAX_ANSWER = 1000  # bytes that are read and kept
NO_ANSWER = gettext_noop("The receiver did not answer in time.")
NOT_REACHED = gettext_noop("The receiver could not be reached.")
WRONG_CERTIFICATE = gettext_noop("The certificate of the receiver is not valid.")
BROKEN_ANSWER = gettext_noop("The receiver did not answer as HTTP wants it.")
REDIRECTED = gettext_noop("The receiver redirects to another address, which is not followed. Change the URL.")
REFUSED = gettext_noop("The receiver did not accept it.")


@dataclass(frozen=True)
class ReceiverAnswer:
    """What came of an attempt. `status`: None without an answer; `problem`: empty where it was accepted."""

    status: int | None = None
    ms: int = 0
    answer: str = ""
    problem: str = ""
    retry_after_s: int = 0

    @property
    def is_accepted(self) -> bool:
        return not self.problem

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "retry_after_s"}


class PinnedConnection(http.client.HTTPConnection):
    """A connection to one checked address, for the host of a target. The name is not resolved again."""

    def __init__(self, target: Target, address: IpAddress) -> None:
        super().__init__(target.host, target.port)
        self.target, self.address = target, address

    def connect(self) -> None:
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_S)
        self.sock.connect((str(self.address), self.target.port))
        if self.target.is_encrypted:
            self.sock = _tls().wrap_socket(self.sock, server_hostname=self.target.host)
        self.sock.settimeout(READ_S)

    def abort(self) -> None:
        """End it from another thread: what waits for the socket goes on at once."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def post(url: str, body: bytes, headers: Mapping[str, str]) -> ReceiverAnswer:
    """Send `body` to the URL. Never raises for what the receiver or the network does."""
    began = time.monotonic()
    try:
        target = find_target(url)
    except AddressRefused as refused:
        return ReceiverAnswer(problem=str(refused), ms=_ms_since(began))
    answer = ReceiverAnswer(problem=NOT_REACHED)
    for address in _one_of_each_family(target.addresses):
        answer = _post_to(target, address, body, headers, began)
        if answer.problem != NOT_REACHED:
            break
    return answer


def _one_of_each_family(addresses: Iterable[IpAddress]) -> list[IpAddress]:
    """The first of IPv4 and of IPv6: often only one of the two is reachable."""
    first: dict[int, IpAddress] = {}
    for address in addresses:
        first.setdefault(address.version, address)
    return list(first.values())


def _post_to(
    target: Target, address: IpAddress, body: bytes, headers: Mapping[str, str], began: float
) -> ReceiverAnswer:
    connection = PinnedConnection(target, address)
    limit = threading.Timer(max(began + TOTAL_S - time.monotonic(), 0.1), connection.abort)
    limit.daemon = True
    limit.start()
    try:
        return _answer_of(connection, target, body, headers, began)
    except ssl.SSLCertVerificationError:
        problem = WRONG_CERTIFICATE
    except (TimeoutError, ssl.SSLError) as error:
        problem = NO_ANSWER if isinstance(error, TimeoutError) else BROKEN_ANSWER
    except OSError:
        problem = NOT_REACHED
    except (http.client.HTTPException, ValueError):
        problem = BROKEN_ANSWER
    finally:
        limit.cancel()
        connection.close()
    if time.monotonic() - began >= TOTAL_S:
        problem = NO_ANSWER
    return ReceiverAnswer(problem=problem, ms=_ms_since(began))


def _answer_of(
    connection: PinnedConnection, target: Target, body: bytes, headers: Mapping[str, str], began: float
) -> ReceiverAnswer:
    sent = {"Host": target.host_header, "User-Agent": "exeml-webhooks", "Connection": "close", **headers}
    connection.request("POST", target.path, body, sent)
    response = connection.getresponse()
    content = b""
    with contextlib.suppress(OSError, http.client.HTTPException):  # the status alone tells
        content = response.read1(MAX_ANSWER)
    if response.status in range(200, 300):
        problem = ""
    else:
        problem = REDIRECTED if response.status in range(300, 400) else REFUSED
    retry_after = response.headers.get("Retry-After", "")[:6]
    return ReceiverAnswer(
        status=response.status,
        ms=_ms_since(began),
        answer=content.decode(errors="replace").replace("\x00", "\N{REPLACEMENT CHARACTER}"),
        problem=problem,
        retry_after_s=int(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0,
    )


@cache
def _tls() -> ssl.SSLContext:
    """Certificates that this machine trusts, and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _ms_since(began: float) -> int:
    return int(1000 * (time.monotonic() - began))
