"""Nearest neighbours of an image by its embedding."""

from __future__ import annotations

import numpy as np
import pytest
from django.utils import timezone

from projects.images import similarity
from projects.models import Embedding, Project
from tests.factories import make_project

pytestmark = pytest.mark.django_db


def embed(project: Project, vectors: np.ndarray) -> list[int]:
    """An embedding for each image of the project, in order."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    images = list(project.images.order_by("pk"))
    packed, sketched = similarity.pack(vectors), similarity.sketches(vectors)
    Embedding.objects.bulk_create(
        Embedding(image=image, network="lite0", vector=vector, sketch=sketch)
        for image, vector, sketch in zip(images, packed, sketched, strict=True)
    )
    return [image.pk for image in images]


@pytest.fixture
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    middles = np.repeat(random.standard_normal((4, 64)), 10, axis=0)
    return (middles + 0.2 * random.standard_normal((40, 64))).astype(np.float32)


def test_the_nearest_are_those_of_its_kind_itself_first(vectors: np.ndarray) -> None:
    project = make_project(labels=0, unlabeled=40)
    ids = embed(project, vectors)
    nearest = similarity.nearest(project, ids[13], 10)
    assert nearest[0] == ids[13] and set(nearest) == set(ids[10:20])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = [ids[row] for row in np.argsort(-(unit @ unit[13]))[:10]]
    assert nearest == exact


def test_deleted_images_and_those_of_other_projects_are_no_neighbours(vectors: np.ndarray) -> None:
    project, other = make_project(labels=0, unlabeled=40), make_project("other", labels=0, unlabeled=40)
    ids, strangers = embed(project, vectors), embed(other, vectors)
    project.images.filter(pk=ids[3]).update(deleted_at=timezone.now())
    nearest = similarity.nearest(project, ids[0], 40)
    assert ids[3] not in nearest and not set(nearest) & set(strangers) and len(nearest) == 39
    assert similarity.nearest(project, strangers[0], 5) == []


def test_an_image_without_an_embedding_has_no_neighbours() -> None:
    project = make_project(labels=0, unlabeled=1)
    assert similarity.nearest(project, project.images.get().pk, 5) == []


def test_a_vector_survives_its_storage(vectors: np.ndarray) -> None:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    [first, *_] = similarity.pack(unit)
    assert np.allclose(similarity.unpack(first), unit[0], atol=1e-3)
    assert len(similarity.sketches(unit)[0]) == 64
