"""A measured share as the API answers it."""

from __future__ import annotations

from typing import Any

from ninja import Schema


class RateOut(Schema):
    """A share with its 95 % interval; nulls where nothing was counted."""

    value: float | None
    low: float | None
    high: float | None
    hits: int
    support: int

    @classmethod
    def of(cls, rate: Any) -> RateOut:
        """Of a Rate of the engine, whose modules the API does not import."""
        return cls(value=rate.value, low=rate.low, high=rate.high, hits=rate.hits, support=rate.support)
