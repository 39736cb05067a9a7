"""Hostile requests to a service: response statuses, and the memory of the web processes."""

from __future__ import annotations

import socket
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.calling import percentiles, timed
from benchmarks.served import DeployedService, resident_mb


def png_bomb(side: int) -> bytes:
    """An image of side × side black pixels, some kilobytes small."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        mark = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + mark

    head = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(bytes(1 + 3 * side)) for _ in range(side)) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def hostile(service: DeployedService, photo: bytes) -> dict[str, Any]:
    """{name: status and code}; and the memory of the web workers."""
    before, caller, edge = resident_mb(service.product), service.caller(), "edge"
    kind = f"multipart/form-data; boundary={edge}"

    def part(name: str, content: bytes) -> bytes:
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        return head.encode() + content + b"\r\n"

    end = f"--{edge}--\r\n".encode()
    bodies = {
        "bomb of 400 megapixels": part("images", png_bomb(20_000)) + end,
        "cut off": part("images", photo[: len(photo) // 2]) + end,
        "picture before a program": part("images", photo + b"<script>alert(1)</script>" * 100) + end,
        "wrong part": part("file", photo) + end,
        "10,000 parts": b"".join(part("images", b"x") for _ in range(10_000)) + end,
        "no end": part("images", photo),
        "nothing": b"",
    }
    found: dict[str, Any] = {}
    for name, body in bodies.items():
        status, answer = caller.send(caller.path, body, kind)
        found[name] = f"{status} {answer.get('error_code', answer.get('predicted_label'))}"
    found["60 bombs at once"] = dict(_at_once(service, bodies["bomb of 400 megapixels"], kind))
    found["slow bodies do not keep others waiting"] = _beside_slow(service, photo)
    return found | {"web_rss_mb": {"before": before, "after": resident_mb(service.product)}}


def _at_once(service: DeployedService, body: bytes, kind: str) -> Counter[str]:
    def one(_: int) -> str:
        caller = service.caller()
        return str(caller.send(caller.path, body, kind)[0])

    with ThreadPoolExecutor(60) as pool:
        return Counter(pool.map(one, range(60)))


def _beside_slow(service: DeployedService, photo: bytes) -> dict[str, Any]:
    """Twenty connections send a byte a second; others call meanwhile."""
    head = (
        f"POST /v1/infers/{service.pk} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {service.token}\r\n"
        "Content-Type: multipart/form-data; boundary=e\r\nContent-Length: 100000\r\n\r\n"
    )
    sockets = [socket.create_connection(("127.0.0.1", service.product.port)) for _ in range(20)]
    for one in sockets:
        one.sendall(head.encode())
    caller = service.caller()
    times = timed(lambda: caller.call(photo), 50)
    began, answers = time.monotonic(), Counter[str]()
    while time.monotonic() - began < 45 and sum(answers.values()) < len(sockets):
        for one in sockets:
            one.settimeout(0.01)
            try:
                one.sendall(b"x")
                if received := one.recv(200):
                    answers[received.split(b" ", 2)[1].decode()] += 1
            except TimeoutError:
                continue
            except OSError:
                continue
        time.sleep(1)
    for one in sockets:
        one.close()
    return {**percentiles(times), "their_statuses": dict(answers)}
