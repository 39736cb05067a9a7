"""“Best” is said only of a version that the comparison tells from all others."""

from __future__ import annotations

import re

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import reverse
from sklearn.metrics import precision_score

from projects.labels import actions
from projects.models import Project
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.training.evaluation.test_comparison import page_of, trained
from training.evaluation.best_version import rank
from training.forms.configuration import TrainingConfigurationForm
from training.forms.services import DeployForm
from training.models import Metric, Status

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_cached() -> None:
    caches["counts"].clear()


@pytest.fixture
def project() -> Project:
    return make_project(labels=2, images=40)


def marks(project: Project) -> dict[str, str]:
    ranking = rank(project)
    versions = project.training_versions.order_by("number")
    return {version.name: ranking.mark(version) for version in versions}


def test_a_version_that_one_more_image_of_many_speaks_for_is_not_the_best(
    project: Project, vera: Client
) -> None:
    trained(project, 1, wrong={3, 4})
    trained(project, 2, wrong={5})
    assert marks(project) == {"V001": "not told apart", "V002": "not told apart"}
    assert "There is no reliable difference between" in html_of(vera.get(page_of(project, 1, 2)))
    page = html_of(vera.get(reverse("train_model", args=[project.pk])))
    assert "not told apart" in page and not re.search(r">\s*best\s*<", page)


def test_a_clearly_better_version_is_the_best_and_ties_below_it_are_not_marked(
    project: Project, alice: Client
) -> None:
    trained(project, 1, wrong=set(range(12)))
    trained(project, 2, wrong={0})
    trained(project, 3, wrong=set(range(11)))
    assert marks(project) == {"V001": "", "V002": "best", "V003": ""}
    page = html_of(alice.get(reverse("train_model", args=[project.pk])))
    assert re.search(r">\s*best\s*<", page) and "not told apart" not in page
    form = TrainingConfigurationForm(project=project)
    choices = [str(text) for _, text in form.fields["incremental_version"].choices]
    assert [text.endswith("· best") for text in choices] == [False, False, True, False]
    deploy = html_of(alice.get(reverse("deploy_service", args=[project.pk])))
    assert len(re.findall(r"V002 · accuracy [0-9.]+ %, precision [0-9.]+ · best", deploy)) == 1


def test_two_that_tie_are_named_beside_a_worse_one(project: Project) -> None:
    trained(project, 1, wrong=set(range(20)))
    trained(project, 2, wrong={0})
    trained(project, 3, wrong={1, 2})
    assert marks(project) == {"V001": "", "V002": "not told apart", "V003": "not told apart"}
    assert rank(project).leader == project.training_versions.get(number=2).pk


def test_one_version_alone_is_not_marked(project: Project) -> None:
    trained(project, 1)
    make_version(project, 2, Status.RUNNING)
    assert marks(project) == {"V001": "", "V002": ""}


def test_versions_without_common_images_are_not_ranked(project: Project) -> None:
    make_version(project, 1, Status.COMPLETED, accuracy=0.99)
    make_version(project, 2, Status.COMPLETED, accuracy=0.8)
    assert set(marks(project).values()) == {"not compared"}
    ranking = rank(project)
    assert (ranking.leader, ranking.best, ranking.images) == (None, None, 0)
    newest = DeployForm(project=project).initial["version"]
    assert newest == project.training_versions.get(number=2).pk, (
        "a higher accuracy on other images is no reason"
    )


def test_the_version_proposed_is_the_most_accurate_on_the_same_images_not_by_its_own_evaluation(
    project: Project, alice: Client
) -> None:
    """Both have 17 of the 20 common images right, but the first one was evaluated on 40 images."""
    first = trained(project, 1, wrong={0, 1, 2})
    second = trained(project, 2, wrong={3, 4})
    Metric.objects.filter(training_version=first, label="", name="accuracy").update(value=0.99)
    ranking = rank(project)
    assert ranking.leader == second.pk
    results = ranking.results
    assert results[first.pk].accuracy.hits == results[second.pk].accuracy.hits - 1
    assert DeployForm(project=project).initial["version"] == second.pk
    page = html_of(alice.get(reverse("configure_training", args=[project.pk])))
    accuracy, precision = results[first.pk].accuracy.value, results[first.pk].precision
    assert f"V001 · accuracy {100 * accuracy:.1f} %, precision {precision:.3f} · not told apart" in page
    assert "99.0 %" not in page


def test_precision_beside_accuracy_equals_that_of_scikit_learn(project: Project) -> None:
    first = trained(project, 1, wrong={0, 1, 2, 7})
    trained(project, 2)
    rows = list(first.evaluated_images.values_list("truth", "predicted"))
    truth, predicted = [row[0][0] for row in rows], [row[1][0] for row in rows]
    result = rank(project).results[first.pk]
    assert result.precision == pytest.approx(precision_score(truth, predicted, average="macro"))
    assert result.accuracy.hits == sum(a == b for a, b in zip(truth, predicted, strict=True))


def test_a_version_with_few_common_images_is_not_ranked_and_costs_the_others_nothing(
    project: Project,
) -> None:
    old = trained(project, 1)
    trained(project, 2, wrong={0})
    trained(project, 3, wrong={1})
    images = rank(project).images
    kept = old.evaluated_images.values_list("pk", flat=True)[: images // 4]
    old.evaluated_images.exclude(pk__in=list(kept)).delete()
    caches["counts"].clear()
    assert marks(project) == {"V001": "not compared", "V002": "not told apart", "V003": "not told apart"}
    assert rank(project).images == images


def test_the_ranking_follows_the_labels_of_today(project: Project) -> None:
    trained(project, 1, wrong=set(range(12)))
    second = trained(project, 2, wrong=set())
    assert marks(project)["V002"] == "best"
    images = [row.image_id for row in second.evaluated_images.order_by("image_id")[:12]]
    labels = {image.pk: image.annotations.get().label.name for image in project.images.filter(pk__in=images)}
    other = {"label-0": "label-1", "label-1": "label-0"}
    for pk, name in labels.items():
        actions.apply(project, [pk], add=[other[name]], by=make_user("bob"))
    assert marks(project)["V001"] == "best"
