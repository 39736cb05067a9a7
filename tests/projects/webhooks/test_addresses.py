"""Which addresses webhooks may call, and that no request leaves to another one."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from exeml_site.environment import webhook_allowance
from projects.webhooks import post
from projects.webhooks.addresses import AddressRefused, find_target
from tests.projects.webhooks.receivers import Receiver, answer, names, receiver

PRIVATE = [
    "127.0.0.1",
    "127.8.9.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=[f"8.8.8.8 {address}"])
    with pytest.raises(AddressRefused, match="leads to"):
        find_target("https://hooks.example.org/x")
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        find_target(f"https://{host}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_called(address: str, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=[address])
    target = find_target("https://hooks.example.org/x?y=1")
    assert target.addresses == (ip_address(address),)
    assert (target.is_encrypted, target.host_header, target.path) == (True, "hooks.example.org", "/x?y=1")


@pytest.mark.parametrize(
    "number", ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost", "localhost."]
)
def test_other_spellings_of_this_machine_are_refused(number: str) -> None:
    with pytest.raises(AddressRefused):
        find_target(f"http://{number}/")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://hooks.example.org/", "begins with https"),
        ("file:///etc/passwd", "begins with https"),
        ("hooks.example.org", "begins with https"),
        ("https:///x", "no URL"),
        ("https://a:b@hooks.example.org/", "no username"),
        ("https://hooks.example.org:22/", "Port 22"),
        ("https://hooks.example.org:25/", "Port 25"),
        ("https://hooks.example.org:0/", "no URL"),
        ("https://hooks.example.org:99999/", "no URL"),
        ("https://hooks.example.org\\@8.8.8.8/", "no username"),
        ("https://hooks.example.org\\.evil.example/", "no URL"),
        ("https://[::1", "no URL"),
        ("https://[fe80::1%25eth0]/", "no URL"),
        ("https://hooks.example.org/ä", "without spaces"),
        ("https://hooks.example.org/\r\nX: y", "without spaces"),
        ("https://nowhere.invalid/", "not known in the network"),
        ("https://hooks.example.org/" + "x" * 1000, "at most 1000"),
    ],
)
def test_urls_that_cannot_be_called_get_a_sentence(url: str, sentence: str, monkeypatch: Any) -> None:
    names(monkeypatch, hooks_example_org=["8.8.8.8"], nowhere_invalid=[""])
    with pytest.raises(AddressRefused, match=sentence):
        find_target(url)


def test_an_operator_allows_networks_and_hosts(monkeypatch: Any, settings: Any) -> None:
    names(monkeypatch, a_corp_example=["10.1.2.3"], other_example=["10.1.2.3"], corp_example=["10.1.2.3"])
    settings.EXEML_WEBHOOK_ALLOW = [".corp.example"]
    assert find_target("http://a.corp.example:25/").port == 25
    for url in ("http://other.example/", "http://corp.example/"):
        with pytest.raises(AddressRefused):
            find_target(url)
    settings.EXEML_WEBHOOK_ALLOW = ["10.1.0.0/16"]
    assert find_target("http://other.example/").port == 80
    with pytest.raises(AddressRefused):
        find_target("http://10.2.0.1/")


def test_what_operators_allow_is_read_from_the_environment(monkeypatch: Any) -> None:
    monkeypatch.setenv("ALLOW", "10.0.0.0/8, fd00::/8, 127.0.0.1, Hooks.corp, .lan")
    assert webhook_allowance("ALLOW") == ["10.0.0.0/8", "fd00::/8", "127.0.0.1", "hooks.corp", ".lan"]
    for wrong in ("10.0.0.0/99", "http://hooks", "hooks:8080", "10.0.0", "*"):
        monkeypatch.setenv("ALLOW", wrong)
        with pytest.raises(ImproperlyConfigured, match="without ports"):
            webhook_allowance("ALLOW")


# --- requests: none leaves to a refused address ---


def test_a_name_that_leads_to_this_machine_gets_no_request(monkeypatch: Any) -> None:
    with receiver() as made:
        names(monkeypatch, hooks_example_org=["127.0.0.1"])
        sent = post.post(f"http://hooks.example.org:{made.port}/", b"{}", {})
    assert "leads to 127.0.0.1" in sent.problem and made.requests == []


def test_a_redirect_is_not_followed(local: Receiver, settings: Any) -> None:
    with receiver() as inner:
        local.answer = lambda handler: answer(handler, 307, Location=inner.url)
        sent = post.post(local.url, b"{}", {})
    assert (sent.status, sent.problem, inner.requests) == (307, post.REDIRECTED, [])


def test_the_checked_address_is_called_even_if_the_name_leads_elsewhere_later(
    local: Receiver, monkeypatch: Any
) -> None:
    """The first answer is checked, and any second one would lead to another machine."""
    asked = names(monkeypatch, hooks_example_org=["127.0.0.1", "10.9.9.9"])
    sent = post.post(f"http://hooks.example.org:{local.port}/a?b=c", b"{}", {"webhook-id": "x"})
    assert sent.status == 200 and asked == ["hooks.example.org"]
    path, headers, body = local.requests[0]
    assert (path, headers["Host"], body) == ("/a?b=c", f"hooks.example.org:{local.port}", b"{}")
    assert "Cookie" not in headers


def test_proxies_of_the_environment_are_not_used(local: Receiver, monkeypatch: Any) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post.post(local.url, b"{}", {}).status == 200


def test_a_certificate_that_nobody_trusts_is_refused(local: Receiver, tmp_path: Any) -> None:
    import ssl

    from tests.projects.webhooks.certificates import make_certificate

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    local.server.socket = context.wrap_socket(local.server.socket, server_side=True)
    sent = post.post(local.url.replace("http:", "https:"), b"{}", {})
    assert (sent.status, sent.problem, local.requests) == (None, post.WRONG_CERTIFICATE, [])


# --- limits ---


def test_a_huge_answer_is_not_read_to_its_end(local: Receiver) -> None:
    written = []

    def flood(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10_000):
            handler.wfile.write(b"x" * 100_000)
            written.append(1)

    local.answer = flood
    sent = post.post(local.url, b"{}", {})
    assert (sent.status, len(sent.answer)) == (200, post.MAX_ANSWER)
    assert len(written) < 1000  # of 1 GB; what the sockets buffer


def test_a_receiver_that_answers_byte_by_byte_gets_no_more_time(local: Receiver, monkeypatch: Any) -> None:
    monkeypatch.setattr(post, "TOTAL_S", 0.5)

    def drip(handler: Any) -> None:
        import time

        for letter in b"HTTP/1.0 200 OK\r\n" + b"X-Y: z\r\n" * 1000:
            handler.wfile.write(bytes([letter]))
            time.sleep(0.05)

    local.answer = drip
    sent = post.post(local.url, b"{}", {})
    assert sent.problem == post.NO_ANSWER and 400 < sent.ms < 3000


@pytest.mark.parametrize("content", [b"hello\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_an_answer_that_is_not_http_is_a_problem(content: bytes, local: Receiver) -> None:
    local.answer = lambda handler: handler.wfile.write(content)
    sent = post.post(local.url, b"{}", {})
    assert sent.status is None and sent.problem in (post.BROKEN_ANSWER, post.NOT_REACHED)


def test_a_port_where_nobody_listens_is_a_problem(settings: Any) -> None:
    settings.EXEML_WEBHOOK_ALLOW = ["127.0.0.1"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sent = post.post(f"http://127.0.0.1:{taken.getsockname()[1]}/", b"{}", {})
    assert (sent.status, sent.problem) == (None, post.NOT_REACHED)
