"""Embeddings and suggestions, with the real network on real files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image as Picture

from projects.images import upload
from projects.labels import actions, suggestions
from projects.models import Embedding, Image, Project, RejectedSuggestion
from tests.factories import make_project, make_user
from training.assist import embed_images, suggest_labels
from training.engine.assist import label_suggestions

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


class File(io.BytesIO):
    name = ""


def picture(kind: int, seed: int) -> File:
    """Blue rings or red stripes with a little noise, which a network can distinguish."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (96, 96, 3))
    y, x = np.mgrid[:96, :96]
    if kind == 0:
        ring = (np.hypot(x - 48 + seed % 5, y - 48) // 8) % 2 == 0
        pixels[ring] += [20, 60, 180]
    else:
        pixels[(x + seed) % 16 < 8] += [180, 40, 20]
    file = File()
    Picture.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    file.seek(0)
    file.name = f"{'ring' if kind == 0 else 'stripe'}-{seed}.png"
    return file


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Primary keys restart in every test, and the worker's memory goes by primary key."""
    suggest_labels.forget()


@pytest.fixture
def project(db: None) -> Project:
    """Ten rings and ten stripes, three of each labeled."""
    made = make_project(labels=0)
    upload.add_images(made, [picture(kind, seed) for seed in range(10) for kind in (0, 1)], None)
    for name in ("ring", "stripe"):
        named = made.images.filter(name__startswith=name).order_by("pk")
        actions.apply(made, list(named.values_list("pk", flat=True)[:3]), add=[name], by=make_user("bob"))
    return made


def look(project: Project) -> None:
    embed_images.embed(project.pk)
    suggest_labels.update_suggestions(project.pk)


def test_every_unlabeled_image_gets_the_label_that_it_shows(project: Project) -> None:
    look(project)
    waiting = list(project.images.unlabeled().select_related("suggestion"))
    assert len(waiting) == 14
    for image in waiting:
        assert image.suggestion.name == image.name.partition("-")[0]
        assert 0.5 < image.confidence < 1 and image.acquisition_score is not None
    assert not project.images.labeled().exclude(suggestion=None).exists()


def test_before_there_are_labels_images_have_an_order_and_no_suggestion(project: Project) -> None:
    actions.apply(project, project.images.values_list("pk", flat=True), remove=["ring", "stripe"], by=None)
    look(project)
    assert not project.images.exclude(suggestion=None).exists()
    assert project.images.exclude(acquisition_score=None).count() == 20


def test_embedding_twice_does_nothing_more(project: Project) -> None:
    assert embed_images.embed(project.pk) == 20
    assert embed_images.embed(project.pk) == 0
    assert set(Embedding.objects.values_list("network", flat=True)) == {embed_images.network_name()}


def test_an_unreadable_picture_is_left_alone_and_the_others_go_on(project: Project) -> None:
    broken = project.images.unlabeled().first()
    default_storage.delete(broken.file_name)
    look(project)
    assert Embedding.objects.get(image=broken).network == embed_images.UNREADABLE
    broken.refresh_from_db()
    assert broken.suggestion is None
    assert project.images.unlabeled().exclude(suggestion=None).count() == 13
    assert embed_images.embed(project.pk) == 0


def test_a_refused_label_is_not_suggested_again(project: Project) -> None:
    look(project)
    image = project.images.unlabeled().filter(suggestion__name="ring").first()
    assert suggestions.reject_suggestions(project, [image.pk], make_user("bob")).rejected == 1
    image.refresh_from_db()
    assert image.suggestion is None and RejectedSuggestion.objects.get().label.name == "ring"
    suggest_labels.update_suggestions(project.pk)
    image.refresh_from_db()
    assert image.suggestion is None or image.suggestion.name == "stripe"


def test_what_was_labeled_while_the_job_learned_keeps_no_suggestion(project: Project) -> None:
    embed_images.embed(project.pk)
    table = suggest_labels.read_feature_table(project)
    suggestions = suggest_labels._suggestions(project, table)
    image = project.images.unlabeled().first()
    actions.apply(project, [image.pk], add=["ring"], by=None)
    suggest_labels._write(suggestions)
    image.refresh_from_db()
    assert image.is_labeled and image.suggestion is None and image.acquisition_score is None
    assert project.images.unlabeled().exclude(suggestion=None).count() == 13


def test_nothing_new_writes_nothing(project: Project) -> None:
    look(project)
    with CaptureQueriesContext(connection) as queries:
        assert suggest_labels.update_suggestions(project.pk) == 0
    assert not [query for query in queries if query["sql"].startswith("UPDATE")]


def test_new_images_join_those_that_are_known(project: Project) -> None:
    look(project)
    upload.add_images(project, [picture(1, 77)], None)
    look(project)
    assert Image.objects.get(name="stripe-77.png").suggestion.name == "stripe"


def test_several_labels_per_image_are_suggested_one_at_a_time(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(is_multi_label=True)
    look(project)
    named = project.images.unlabeled().exclude(suggestion=None)
    right = sum(image.suggestion.name in image.name for image in named.select_related("suggestion"))
    assert right >= 12


def test_a_deleted_project_is_left_alone(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(deleted_at=timezone.now())
    assert embed_images.embed(project.pk) == 0 and suggest_labels.update_suggestions(project.pk) == 0
    embed_images.enqueue_missing_embeddings()
    assert not Embedding.objects.exists()


@pytest.mark.parametrize(("each", "is_shared"), [(9, True), (10, False)])
def test_with_few_images_of_each_label_unlabeled_neighbours_take_part(each: int, is_shared: bool) -> None:
    project = make_project(labels=2)
    random = np.random.default_rng(0)
    kind = np.arange(2 * each + 400) % 2
    features = random.standard_normal((2, 16))[kind] + 2 * random.standard_normal((len(kind), 16))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    is_labeled = np.arange(len(kind)) < 2 * each
    targets = np.eye(2, dtype=np.float32)[kind] * is_labeled[:, None]
    labels = list(project.labels.order_by("pk").values_list("pk", flat=True))
    table = suggest_labels.FeatureTable(np.arange(len(kind)), features, is_labeled, labels, targets, [])
    found = suggest_labels._suggestions(project, table)
    alone = label_suggestions.fit(features[is_labeled], targets[is_labeled], False).probabilities(
        features[~is_labeled]
    )
    shared = label_suggestions.share_with_neighbours(features[~is_labeled], alone)
    assert not np.allclose(alone, shared, atol=0.01)
    expected = (shared if is_shared else alone).max(1)
    assert np.allclose([one.confidence for one in found], expected, atol=1e-6)
