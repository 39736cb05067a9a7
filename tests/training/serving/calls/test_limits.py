"""The door of the API: so many calls at once, and bodies that come in time."""

from __future__ import annotations

import socket
import time

import pytest

from training.serving.calls.limits import BodyTooSlow, CallLimit, Overloaded, body_timeout


def test_a_full_door_opens_again_when_somebody_leaves() -> None:
    door = CallLimit(1)
    with door.passing(), pytest.raises(Overloaded), door.passing():
        pass
    with door.passing():
        pass


def test_a_call_that_breaks_leaves_too() -> None:
    door = CallLimit(1)
    with pytest.raises(ZeroDivisionError), door.passing():
        _ = 1 / 0
    with door.passing():
        pass


def test_a_body_that_never_comes_is_given_up_and_can_still_be_answered() -> None:
    ours, theirs = socket.socketpair()
    began = time.monotonic()
    with pytest.raises(BodyTooSlow), body_timeout(ours, 0.2):
        ours.recv(10)  # nothing comes: the timer ends it
    assert time.monotonic() - began < 30
    ours.sendall(b"HTTP/1.1 408")
    assert theirs.recv(20) == b"HTTP/1.1 408"


def test_a_body_in_time_is_let_through() -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"whole")
    with body_timeout(ours, 5):
        assert ours.recv(10) == b"whole"


def test_a_connection_is_read_on_when_the_limit_of_an_earlier_body_is_over() -> None:
    ours, theirs = socket.socketpair()
    with body_timeout(ours, 0.05):
        pass
    time.sleep(0.2)
    theirs.sendall(b"next")
    assert ours.recv(10) == b"next"


def test_an_error_of_a_body_in_time_stays_what_it_is() -> None:
    ours, _ = socket.socketpair()
    with pytest.raises(ZeroDivisionError), body_timeout(ours, 5):
        _ = 1 / 0


def test_without_a_connection_nothing_is_limited() -> None:
    with body_timeout(None, 0):
        pass
