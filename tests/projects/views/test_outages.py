"""While the database does not respond, every address says so with 503, and goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import OperationalError, connection
from django.db.utils import ConnectionHandler
from django.http import HttpResponse
from django.test import Client

from exeml_site.environment import database
from exeml_site.lib.outages.database import hurried
from exeml_site.lib.outages.parts import Part, part_of
from tests.away import database_away, storage_away
from tests.factories import make_project, make_team, make_user
from tests.pages import html_of

PAGE = {"Accept": "text/html"}


@pytest.fixture
def person(transactional_db: None) -> Client:
    make_team()
    client = Client(raise_request_exception=False)
    client.force_login(make_user("alice"))
    return client


def is_unavailable(answer: HttpResponse) -> bool:
    return (
        answer.status_code == 503 and int(answer["Retry-After"]) > 0 and "no-store" in answer["Cache-Control"]
    )


@pytest.mark.django_db(transaction=True)
def test_without_the_database_pages_say_so_and_load_again_by_themselves(
    person: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with database_away():
        answer = person.get("/projects/?team=1", headers=PAGE)
        assert is_unavailable(answer)
        html = html_of(answer)
        assert "The database is busy or not responding" in html and "Try again" in html
        assert '<meta http-equiv="refresh"' in html and 'href="/projects/?team=1"' in html
        visitor = Client(raise_request_exception=False)
        assert is_unavailable(visitor.post("/sign-in/", {"username": "a", "password": "b"}, headers=PAGE))
        german = person.get("/projects/", headers={**PAGE, "Accept-Language": "de"})
        assert 'lang="de"' in html_of(german)
    assert "The database does not respond" in caplog.text and "Traceback" not in caplog.text
    assert person.get("/projects/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_without_the_database_a_change_is_told_to_be_perhaps_unsaved(person: Client) -> None:
    with database_away():
        answer = person.post("/projects/new/", {"name": "flowers"}, headers=PAGE)
        assert is_unavailable(answer) and "Your last change may not have been saved" in html_of(answer)
        assert "refresh" not in html_of(answer), "loading again would not send it again"


@pytest.mark.django_db(transaction=True)
def test_without_the_database_fragments_pictures_and_programs_get_short_answers(person: Client) -> None:
    project = make_project()
    with database_away():
        fragment = person.get(f"/projects/{project.pk}/label-data/", headers={"HX-Request": "true"})
        assert is_unavailable(fragment) and fragment["Content-Type"].startswith("text/plain")
        assert "<" not in html_of(fragment) and "Try again in a moment" in html_of(fragment)
        assert is_unavailable(person.get(f"/projects/{project.pk}/images/1/", headers={"Accept": "image/*"}))
        asked = person.get("/projects/", headers={"Accept": "application/json"})
        assert is_unavailable(asked) and "database" in asked.json()["error"]
        call = person.post("/v1/infers/c80ea3d5-6d3a-4e8b-b489-66037976df33", headers={"X-Auth-Token": "x"})
        assert is_unavailable(call) and call.json()["error_code"] == "DATABASE_UNAVAILABLE"


@pytest.mark.django_db
def test_without_the_storage_pages_without_files_work_and_files_are_told_to_be_away(alice: Client) -> None:
    project = make_project()
    image = project.images.all()[0]
    alice.raise_request_exception = False
    with storage_away():
        assert alice.get(f"/projects/{project.pk}/label-data/").status_code == 200
        answer = alice.get(f"/projects/{project.pk}/images/{image.pk}/file/", headers=PAGE)
        assert is_unavailable(answer), answer.status_code
        assert "The storage of the files is not responding" in html_of(answer)


@pytest.fixture
def pool(transactional_db: None) -> Iterator[ConnectionHandler]:
    """One connection for all threads, and a tenth of a second to wait for it."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has a pool")
    own = database("postgresql://localhost/x", settings.DATA_DIR, 1)
    own |= {name: connection.settings_dict[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    own["OPTIONS"]["pool"] |= {"timeout": 0.1, "name": "test"}
    handler = ConnectionHandler({"default": own})
    yield handler
    handler["default"].close()
    handler["default"].close_pool()


@pytest.mark.django_db(transaction=True)
def test_a_full_pool_is_an_outage_until_somebody_gives_a_connection_back(pool: ConnectionHandler) -> None:
    first, second = pool["default"], pool.create_connection("default")
    first.ensure_connection()
    with pytest.raises(Exception, match="couldn't get a connection") as refused:
        second.ensure_connection()
    assert part_of(refused.value) == Part.DATABASE
    first.close()
    with second.cursor() as cursor:
        cursor.execute("SELECT 1")
    second.close()


@pytest.mark.django_db(transaction=True)
def test_a_pool_replaces_connections_that_the_server_closed(pool: ConnectionHandler) -> None:
    pooled = pool["default"]
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    pooled.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    pooled.pool.timeout = 5
    with pooled.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != backend


@pytest.mark.django_db(transaction=True)
def test_a_query_without_an_answer_ends_and_its_connection_with_it(pool: ConnectionHandler) -> None:
    pooled = pool["default"]
    pooled.ensure_connection()
    with (
        hurried(0.2),
        pooled.cursor() as cursor,
        pytest.raises(OperationalError, match="no answer") as refused,
    ):
        cursor.execute("SELECT pg_sleep(2)")
    assert part_of(refused.value) == Part.DATABASE
    pooled.close()
    pooled.pool.timeout = 5
    with pooled.cursor() as cursor:
        cursor.execute("SELECT 1")
