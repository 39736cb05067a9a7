"""The door of the API: so many calls at once."""

from __future__ import annotations

import pytest

from training.serving.calls.limits import CallLimit, Overloaded


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
