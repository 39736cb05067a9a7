"""Which errors are an outage, and of which part."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from django.db import InterfaceError, OperationalError, ProgrammingError
from psycopg import errors
from psycopg_pool import PoolTimeout
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from exeml_site.lib.outages.parts import Part, part_of


def of_django(original: Exception, kind: type[Exception] = OperationalError) -> Exception:
    problem = kind(*original.args)
    problem.__cause__ = original
    return problem


def of_sqlite(name: str) -> Exception:
    original = sqlite3.OperationalError("x")
    original.sqlite_errorname = name
    return of_django(original)


def of_s3(status: int) -> Exception:
    return ClientError({"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


@pytest.mark.parametrize(
    ("problem", "part"),
    [
        (of_django(psycopg.OperationalError("connection refused")), Part.DATABASE),
        (of_django(errors.AdminShutdown()), Part.DATABASE),
        (of_django(errors.CannotConnectNow()), Part.DATABASE),
        (of_django(errors.TooManyConnections()), Part.DATABASE),
        (of_django(PoolTimeout()), Part.DATABASE),
        (InterfaceError("connection already closed"), Part.DATABASE),
        (of_sqlite("SQLITE_BUSY"), Part.DATABASE),
        (RedisConnectionError(), Part.QUEUE),
        (BusyLoadingError(), Part.QUEUE),
        (EndpointConnectionError(endpoint_url="http://s3"), Part.STORAGE),
        (ReadTimeoutError(endpoint_url="http://s3"), Part.STORAGE),
        (of_s3(503), Part.STORAGE),
        (of_django(errors.DeadlockDetected()), None),
        (of_django(errors.QueryCanceled()), None),
        (of_django(errors.UndefinedTable(), ProgrammingError), None),
        (of_sqlite("SQLITE_ERROR"), None),
        (OperationalError("of Django itself"), None),
        (ResponseError(), None),
        (of_s3(403), None),
        (of_s3(404), None),
        (ValueError(), None),
        (None, None),
    ],
    ids=repr,
)
def test_an_outage_is_told_from_other_errors(problem: Exception | None, part: Part | None) -> None:
    assert part_of(problem) == part


def test_the_cause_counts() -> None:
    problem = ValueError("the model could not be read")
    problem.__cause__ = of_s3(500)
    assert part_of(problem) == Part.STORAGE
