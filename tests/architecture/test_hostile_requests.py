"""No request makes the server fail: every address of the URLconf with values that nobody should send.

The addresses are read from the URLconf (the site, the admin, the queues, the API), the names of parameters
are recorded while views read them, choices come from the forms: new views are tested without a change here.
`EXAMPLES=200 pytest tests/architecture/test_hostile_requests.py` searches longer, with other values.
"""

from __future__ import annotations

import _socket
import logging
import os
import re
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from django import forms
from django.conf import settings as django_settings
from django.db import transaction
from django.http import HttpResponseBase, QueryDict
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.datastructures import MultiValueDict
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis

from exeml_site.bad_requests import Utf8Request
from exeml_site.lib.fields import RowsField
from projects.workspace.secret_token import new_token
from tests.architecture import hostile_values as hostile
from tests.architecture.test_access import World
from tests.factories import make_user
from tests.training.bundles import colour_picture
from training.serving.tokens import store_token

EXAMPLES = int(os.environ.get("EXAMPLES") or 1)
SEARCH = settings(
    max_examples=EXAMPLES,
    derandomize="EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
FORM = "application/x-www-form-urlencoded"
PEOPLE = ["", "vera", "alice", "operator"]
ARGUMENT = re.compile(r"<(?:(\w+):)?(\w+)>|\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)\??")
PICTURE = colour_picture("red")
TOKEN = new_token()
OUT_OF_RANGE = ["9999-12-31", "9" * 30, "1e999"]
S3_ROOT = "s3://flowers/photos?endpoint=http://127.0.0.1:1"


@dataclass(frozen=True)
class Address:
    """One leaf of the URLconf: its route without the anchors of regular expressions."""

    route: str
    name: str

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """(converter, name) of every argument."""
        return [(match[1] or "str", match[2] or match[3]) for match in ARGUMENT.finditer(self.route)]

    def url(self, values: list[str]) -> str:
        rest = iter(values)
        path = ARGUMENT.sub(lambda _: hostile.quoted(next(rest)), self.route)
        return "/" + path.replace("/?", "/").replace("\\", "")


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[Address]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern).replace("^", "").replace("$", "").replace("\\Z", "")
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        else:
            yield Address(route, pattern.name or "")


def addresses() -> list[Address]:
    """All addresses; of the admin's model pages, which are Django's own, a fifth unless EXAMPLES is set."""
    found = list(dict.fromkeys(walk(get_resolver().url_patterns)))
    models = [
        address for address in found if address.route.startswith(("admin/projects/", "admin/training/"))
    ]
    left_out = set() if "EXAMPLES" in os.environ else set(models) - set(models[::5])
    return [address for address in found if address not in left_out]


ADDRESSES = addresses()
OURS = [address for address in ADDRESSES if not address.route.startswith("admin/")]


def form_fields() -> Iterator[tuple[str, str, forms.Field]]:
    """(form, name, field) of the fields of all forms of the product."""
    waiting: list[type[forms.BaseForm]] = [forms.BaseForm]
    while waiting:
        form = waiting.pop()
        waiting += form.__subclasses__()
        if form.__module__.startswith(("projects.", "training.")):
            for name, field in getattr(form, "base_fields", {}).items():
                yield form.__name__, name, field


def form_choices() -> dict[str, list[str]]:
    """The choices of all forms of the product by the name of the field."""
    choices: dict[str, list[str]] = defaultdict(list)
    for _, name, field in form_fields():
        if isinstance(field, forms.ChoiceField) and not isinstance(field, forms.ModelChoiceField):
            choices[name] += [str(value) for value, _ in field.choices]
    return choices


class RecordingDict(dict[str, Any]):
    """What `QueryDict.dict()` answers, with a record of the names that are read."""

    names: set[str]

    def get(self, key: Any, default: Any = None) -> Any:
        self.names.add(str(key))
        return super().get(key, default)


@contextmanager
def recorded_names(names: set[str]) -> Iterator[None]:
    """Adds the names of all parameters and files that Django hands over meanwhile."""
    whole, one, several = QueryDict.dict, MultiValueDict.__getitem__, MultiValueDict.getlist

    def record(params: Any, key: Any) -> None:
        if isinstance(params, QueryDict) or len(params) < 5:  # parameters or files; the URLconf has one, too
            names.add(str(key))

    def record_one(self: Any, key: Any) -> Any:
        record(self, key)
        return one(self, key)

    def record_several(self: Any, key: Any, default: Any = None) -> Any:
        record(self, key)
        return several(self, key, default)

    def record_all(self: Any) -> RecordingDict:
        recording = RecordingDict(whole(self))
        recording.names = names
        return recording

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiValueDict, "__getitem__", record_one)
        patch.setattr(MultiValueDict, "getlist", record_several)
        patch.setattr(MultiValueDict, "dict", record_all)
        yield


class Site:
    """The rows and people of a world, and the requests that are sent to it."""

    caplog: pytest.LogCaptureFixture

    def __init__(self) -> None:
        self.world = World()
        store_token(self.world.service, "fuzz", TOKEN, make_user("alice"))
        self.choices = form_choices()
        self.names: dict[Address, set[str]] = {}

    def _client(self, person: str) -> Client:
        client = Client(raise_request_exception=False)
        if person:
            client.cookies = self.world.browser(person).cookies
        return client

    def valid_arguments(self, address: Address) -> list[str]:
        """Arguments of objects that exist, where the world has them."""
        self.world.asked = address.route
        return [self._valid(address, kind, name) for kind, name in address.arguments]

    def _valid(self, address: Address, kind: str, name: str) -> str:
        is_ours = not address.route.startswith(("admin/", "static/"))
        if is_ours and name != "rest":
            return str(self.world.argument(name))
        return {"int": "0", "object_id": "1", "content_type_id": "1"}.get(
            kind if kind == "int" else name, "x"
        )

    def names_of(self, address: Address) -> set[str]:
        """The names that the address reads, also those that it reads where others have a value."""
        if address not in self.names:
            names, known = set[str](), -1
            url = address.url(self.valid_arguments(address))
            person = "operator" if address.route.startswith("admin/") else "alice"
            while len(names) > known:
                known = len(names)
                query = "&".join(f"{hostile.quoted(name)}=1" for name in sorted(names))
                self.send(person, "GET", url, names=names, QUERY_STRING=query)
                self.send(person, "POST", url, names=names, data=query.encode(), content_type=FORM)
            self.names[address] = names - {"csrfmiddlewaretoken"}
        return self.names[address]

    def send(
        self,
        person: str,
        method: str,
        url: str,
        *,
        names: set[str] | None = None,
        data: bytes = b"",
        **request: Any,
    ) -> None:
        """Sends a request, reads the whole answer, undoes its changes, and checks that nothing broke."""
        body = {"wsgi.input": BytesIO(data), "CONTENT_LENGTH": str(len(data))}  # a length may be untrue
        with transaction.atomic(), recorded_names(names if names is not None else set()):
            answer = self._client(person).generic(method, url, data, **{**body, **request})
            if answer.streaming:
                b"".join(answer.streaming_content)
            transaction.set_rollback(True)
        check(answer, self.caplog)


def refuse_connection(connection: socket.socket, address: Any) -> None:
    """No request makes the server connect to another machine, whatever address it carries."""
    if connection.family == socket.AF_UNIX:
        _socket.socket.connect(connection, address)
    else:
        pytest.fail(f"A request made the server connect to {address}.")


@pytest.fixture(scope="module")
def site(django_db_setup: None, django_db_blocker: Any) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock(), transaction.atomic():
        patch.setattr("django.test.client.WSGIRequest", Utf8Request)  # as the server makes requests
        patch.setattr("socket.socket.connect", refuse_connection)
        patch.setattr(django_settings, "EXEML_SOURCE_ROOTS", [S3_ROOT, str(django_settings.DATA_DIR)])
        yield Site()
        transaction.set_rollback(True)


Case = Callable[[Address], AbstractContextManager[None]]


@pytest.fixture
def case(
    site: Site, caplog: pytest.LogCaptureFixture, redis: Redis, db: None, subtests: pytest.Subtests
) -> Case:
    """`with case(address):` begins with empty queues and is undone; a failure stops no other address."""
    caplog.set_level(logging.ERROR)
    site.caplog = caplog

    @contextmanager
    def open_case(address: Address) -> Iterator[None]:
        redis.flushall()
        with subtests.test(address.route or "home"), transaction.atomic():
            yield
            transaction.set_rollback(True)

    return open_case


def check(answer: HttpResponseBase, caplog: pytest.LogCaptureFixture) -> None:
    """No answer of a broken server, no traceback, no value that only the last net caught."""
    records = [record for record in caplog.records if not record.name.startswith("django.security")]  # 400s
    tracebacks = [record.exc_text or record.getMessage() for record in records if record.exc_info]
    caplog.clear()
    assert not tracebacks, "\n".join(tracebacks)[-3000:]
    is_without_model = answer.status_code == 503 and b"MODEL_UNAVAILABLE" in getattr(answer, "content", b"")
    assert answer.status_code < 500 or is_without_model, answer.status_code


def draw_body(draw: Any, site: Site, names: set[str], method: str) -> dict[str, Any]:
    """Parameters in the query or the body, plausible ones around hostile ones; or a body of another kind."""
    if method != "GET" and draw(st.integers(0, 4)) == 0:
        kinds = ["multipart/form-data; boundary=x", FORM, "application/json"]
        return {"data": draw(hostile.BODIES), "content_type": draw(st.sampled_from(kinds))}
    wanted = sorted(names) or ["q"]
    if draw(st.integers(0, 2)) == 0:
        value = draw(hostile.PARAMETERS)
        values = [(name, value) for name in wanted]
    else:
        attacked = set(draw(st.lists(st.sampled_from(wanted), min_size=1, max_size=3)))
        values = [
            (name, draw(hostile.PARAMETERS) if name in attacked else draw(plausible(site, name)))
            for name in wanted
            if name in attacked or draw(st.booleans())
        ]
    longest = 1000 if method == "GET" else 100_000  # servers refuse longer addresses themselves
    query = "&".join(f"{hostile.quoted(name)}={hostile.quoted(value[:longest])}" for name, value in values)
    if method == "GET":
        return {"QUERY_STRING": query}
    if draw(st.booleans()):
        return {"data": query.encode(), "content_type": FORM}
    parts = [as_part(name, value.encode("utf-8", "surrogatepass")) for name, value in values]
    name = draw(st.sampled_from(wanted))
    parts.append(as_part(name, draw(st.sampled_from([b"", b"x", PICTURE])), file_name="a.png"))
    return {"data": b"".join(parts) + b"--x--\r\n", "content_type": "multipart/form-data; boundary=x"}


def as_part(name: str, content: bytes, file_name: str = "") -> bytes:
    named = f'; filename="{file_name}"' if file_name else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode("utf-8", "replace") + content + b"\r\n"


def plausible(site: Site, name: str) -> st.SearchStrategy[str]:
    """Values that get past the other fields of a form: its choices, and ids of rows that exist."""
    image = site.world.project.images.first()
    known = [*site.choices.get(name.rpartition("-")[2], []), "1", "on", "label-0", str(image.pk), "0.5"]
    known += ["V001", "s3://flowers/photos/a", f"{S3_ROOT}/a", str(django_settings.DATA_DIR)]
    return st.sampled_from(known)


def test_names_are_recorded_behind_the_sign_in(site: Site, case: Case) -> None:
    [address] = [address for address in ADDRESSES if address.name == "label_data"]
    with case(address):
        assert {"until", "label", "sort", "above"} <= site.names_of(address)


def test_every_number_of_a_form_has_bounds() -> None:
    unbounded = [
        f"{form}.{name}"
        for form, name, field in form_fields()
        if (isinstance(field, forms.IntegerField) and None in (field.min_value, field.max_value))
        or (isinstance(field, forms.ModelMultipleChoiceField) and not isinstance(field, RowsField))
    ]
    assert unbounded == [], "use exeml_site.lib.fields, or min_value and max_value"


def test_no_value_breaks_a_view_that_reads_it(site: Site, case: Case) -> None:
    """Every parameter of the address has the value; all values of the list if EXAMPLES is set."""
    every = [*hostile.INTEGERS, *hostile.FLOATS, *hostile.DATES]
    values = every if "EXAMPLES" in os.environ else OUT_OF_RANGE
    for address in OURS:
        with case(address):
            names, url = site.names_of(address), address.url(site.valid_arguments(address))
            for value in values if names else ():  # without a parameter there is nothing to send
                query = "&".join(f"{hostile.quoted(name)}={hostile.quoted(value)}" for name in names)
                site.send("alice", "GET", url, QUERY_STRING=query)
                site.send("alice", "POST", url, data=query.encode(), CONTENT_TYPE=FORM)


def test_no_parameter_header_or_body_breaks_a_view(site: Site, case: Case) -> None:
    for address in ADDRESSES:
        with case(address):
            search_parameters(address, site)


def search_parameters(address: Address, site: Site) -> None:
    names, url = site.names_of(address), address.url(site.valid_arguments(address))

    @SEARCH
    @given(data=st.data())
    def search(data: Any) -> None:
        method = data.draw(st.sampled_from(["GET", "POST", *hostile.METHODS]))
        request = draw_body(data.draw, site, names, method)
        headers = data.draw(hostile.HEADER_SETS)
        if "v1/" in address.route:
            headers = {"HTTP_X_AUTH_TOKEN": TOKEN.plain, **headers}
        if "content_type" in request:
            headers = {"CONTENT_TYPE": request.pop("content_type"), **headers}
        site.send(data.draw(st.sampled_from(PEOPLE)), method, url, **request, **headers)

    search()


def test_no_path_breaks_a_view(site: Site, case: Case) -> None:
    """Each argument in turn is hostile, the others are those of objects that exist."""
    for address in ADDRESSES:
        if address.arguments:
            with case(address):
                search_paths(address, site)


def search_paths(address: Address, site: Site) -> None:
    valid = site.valid_arguments(address)

    @settings(SEARCH, max_examples=max(1, EXAMPLES // 2))
    @given(data=st.data())
    def search(data: Any) -> None:
        place = data.draw(st.integers(0, len(valid) - 1))
        is_number = address.arguments[place][0] == "int"
        value = data.draw(st.sampled_from(hostile.IDS) if is_number else hostile.PATHS)
        url = address.url([*valid[:place], value, *valid[place + 1 :]])
        site.send(
            data.draw(st.sampled_from(["alice", "operator"])),
            data.draw(st.sampled_from(["GET", "POST"])),
            url,
        )

    search()
