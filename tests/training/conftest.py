"""Fixtures of the tests of trainings and services."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import give_bundle
from tests.training.fitted import fitted_bundle, make_samples
from training.engine.config import Sample
from training.models import Service, Status, TrainingVersion
from training.serving import deploy


@pytest.fixture
def project(db: None) -> Project:
    return make_project("flowers")


@pytest.fixture
def version(project: Project) -> Iterator[TrainingVersion]:
    """A Completed version with a stored bundle."""
    version = make_version(project, status=Status.COMPLETED, accuracy=0.94)
    folder = Path(default_storage.path(version.folder))
    give_bundle(version)
    yield version
    # Primary keys begin again in the next test, and stored files do not roll back.
    shutil.rmtree(folder)


@pytest.fixture
def opened(version: TrainingVersion) -> tuple[Service, str]:
    """A Running service and its token."""
    service, token = deploy.deploy(version, make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    return service, token.plain


@pytest.fixture(scope="session")
def tiny_samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def tiny_bundle(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle really fitted on samples like `tiny_samples`."""
    return fitted_bundle(pytestconfig.cache.mkdir("fitted-bundle"), tmp_path_factory.mktemp("fit"))
