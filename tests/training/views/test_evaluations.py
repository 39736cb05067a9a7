"""Pages of evaluations on selected images, the hidden test result, and how many versions were judged."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from projects.labels import image_splits
from projects.models import Membership, Project, Role, Team
from tests.factories import make_user
from tests.pages import html_of
from tests.training.colours import make_colour_version, make_colours
from training.evaluation.selections import looks
from training.jobs import final_test, record, selection, train_version
from training.models import TrainingVersion, VersionEvaluation

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean_folders() -> Iterator[None]:
    """Primary keys restart in the next test, and files do not roll back."""
    yield
    for folder in ("training", "evaluations"):
        shutil.rmtree(settings.FILES_DIR / folder, ignore_errors=True)


def with_tests(project: Project, per_label: int = 4) -> Project:
    """Keep some images of each colour as test images; the first one has a wrong label."""
    for label in project.labels.all():
        ids = project.images.filter(annotations__label=label).order_by("pk").values_list("pk", flat=True)
        image_splits.keep_as_test(project, list(ids)[:per_label], None)
    first = project.images.filter(split="TEST").order_by("pk").first()
    assert first is not None
    first.annotations.update(label=project.labels.get(name="blue"))
    return project


def judged_version(project: Project, number: int = 1) -> TrainingVersion:
    """A version with validation metrics and a hidden test result."""
    version = make_colour_version(project, number)
    bundle = Path(default_storage.path(f"{version.folder}/bundle"))
    test = final_test.predict_test_images(version, bundle, train_version._image_path, lambda share: None)
    final_test.record_test(version, test)
    from training.engine.evaluation.evaluate import evaluate

    held_out = [sample for sample in train_version._samples(version) if sample.split == "EVAL"]
    evaluation = evaluate(bundle, held_out)
    record.record(version, evaluation.labels, evaluation.predictions, [])
    return version


def url(name: str, version: TrainingVersion, *more: int) -> str:
    return reverse(name, args=[version.project_id, version.number, *more])


def overview(client: Client, version: TrainingVersion) -> str:
    return html_of(client.get(url("training_version", version)))


def show(client: Client, version: TrainingVersion) -> Any:
    return client.post(url("show_test_result", version))


def begin(client: Client, project: Project, **fields: Any) -> Any:
    return client.post(reverse("begin_evaluation", args=[project.pk]), fields)


def run_last() -> VersionEvaluation:
    evaluation = VersionEvaluation.objects.latest("pk")
    selection.run(evaluation.pk)
    evaluation.refresh_from_db()
    return evaluation


# --- the test result ---


def test_the_test_result_is_hidden_until_somebody_opens_it(bob: Client, vera: Client) -> None:
    version = judged_version(with_tests(make_colours()))
    html = overview(vera, version)
    assert "V001 was evaluated on 12 test images" in html and "The result is hidden" in html
    assert "show-test-result" not in html and "91.7 %" not in html
    assert show(vera, version).status_code == 403
    assert "show-test-result" in overview(bob, version)

    assert show(bob, version).status_code == 303

    html = overview(vera, version)
    assert "Test <strong>91.7 %</strong>" in html and "11 of 12, never used for fitting or choosing." in html
    assert "F1 Score 0.9" in html and "V001 is the first version judged on these test images." in html
    evaluation = version.evaluations.get()
    assert evaluation.shown_by == make_user("bob") and evaluation.shown_at is not None


def test_every_version_whose_result_was_opened_counts_as_a_look(bob: Client) -> None:
    project = with_tests(make_colours())
    first, second, third = (judged_version(project, number) for number in (1, 2, 3))
    show(bob, first)
    assert "1 version was judged on them so far." in overview(bob, second)
    show(bob, second)
    show(bob, second)  # once more is no further look
    assert "2 versions were judged on these test images; choosing by them makes" in overview(bob, first)
    assert "2 versions were judged on them so far." in overview(bob, third)
    TrainingVersion.objects.filter(pk=second.pk).update(deleted_at="2026-01-01T00:00Z")
    assert looks.judged_versions(first.evaluations.get()) == 2  # a deleted version was seen, too


def test_adding_a_test_image_begins_no_new_count_and_other_images_do(bob: Client) -> None:
    project = with_tests(make_colours())
    first = judged_version(project, 1)
    show(bob, first)
    more = project.images.filter(split="EVAL").first()
    assert more is not None
    image_splits.keep_as_test(project, [more.pk], None)
    second = judged_version(project, 2)
    show(bob, second)
    assert looks.judged_versions(second.evaluations.get()) == 2

    old = list(project.images.filter(split="TEST").values_list("pk", flat=True))
    image_splits.use_for_training(project, old, None)
    fresh = list(project.images.filter(split="EVAL").values_list("pk", flat=True))[:2]
    image_splits.keep_as_test(project, fresh, None)
    third = judged_version(project, 3)
    show(bob, third)
    assert looks.judged_versions(third.evaluations.get()) == 1


def test_an_evaluation_on_the_test_images_is_a_look(bob: Client) -> None:
    project = with_tests(make_colours())
    first, second = judged_version(project, 1), judged_version(project, 2)
    assert begin(bob, project, version="1", images="test").status_code == 303
    assert run_last().status == "Completed"
    show(bob, second)
    assert looks.judged_versions(second.evaluations.get(kind="test")) == 2
    assert looks.judged_versions(first.evaluations.get(kind="selection")) == 2


def test_a_version_without_a_test_result_offers_an_evaluation_on_the_test_images(bob: Client) -> None:
    project = make_colours()
    version = judged_version(project)
    assert not version.evaluations.get().images.exists()
    version.evaluations.all().delete()
    assert "test-result" not in overview(bob, version)
    with_tests(project)
    html = overview(bob, version)
    assert "The project now has 12 test images." in html and "/evaluate/?tab=labeled&amp;split=TEST" in html


def test_the_images_behind_a_hidden_result_are_hidden(bob: Client) -> None:
    version = judged_version(with_tests(make_colours()))
    evaluation = version.evaluations.get()
    pages = [
        url("selected_images", version, evaluation.pk),
        url("selected_image", version, evaluation.pk, evaluation.images.first().pk),
        url("selected_heat", version, evaluation.pk, evaluation.images.first().pk),
    ]
    assert {bob.get(page).status_code for page in pages} == {404}
    html = html_of(bob.get(url("version_evaluation", version, evaluation.pk)))
    assert "The result on the test images is hidden." in html and "91.7" not in html
    show(bob, version)
    assert {bob.get(page).status_code for page in pages[:2]} == {200}


def test_report_compare_and_archive_hold_the_result_once_it_is_open(bob: Client, tmp_path: Path) -> None:
    project = with_tests(make_colours())
    first, second = judged_version(project, 1), judged_version(project, 2)
    compare = reverse("compare_versions", args=[project.pk]) + "?v=1&v=2"
    assert "nobody has opened the result yet" in html_of(bob.get(url("version_report", first)))
    assert "compared-tests" not in html_of(bob.get(compare))
    assert "test_evaluation.json" not in names_in_archive(bob, first)

    show(bob, first)

    report = html_of(bob.get(url("version_report", first)))
    assert (
        "Test <strong>91.7 %</strong>" in report and "11 of 12, never used for fitting or choosing" in report
    )
    html = html_of(bob.get(compare))
    row = re.search(r'<tr id="compared-tests">.*?</tr>', html)
    assert row and "91.7 %" in row[0] and '<span class="muted">--</span>' in row[0]
    assert "nobody has opened the result yet" in html_of(bob.get(url("version_report", second)))
    check_archive(bob, first, tmp_path)


def archive_of(client: Client, version: TrainingVersion) -> zipfile.ZipFile:
    answer: Any = client.get(url("version_archive", version))
    return zipfile.ZipFile(io.BytesIO(answer.getvalue()))


def names_in_archive(client: Client, version: TrainingVersion) -> list[str]:
    with archive_of(client, version) as archive:
        return archive.namelist()


def check_archive(client: Client, version: TrainingVersion, folder: Path) -> None:
    """`verify.py` computes the test metrics again, and finds a prediction that was changed."""
    with archive_of(client, version) as archive:
        archive.extractall(folder)
    done = verify(folder)
    assert "22 of 22 metrics agree on the test images." in done.stdout or done.returncode == 0, done.stdout
    lines = (folder / "test_predictions.jsonl").read_text().splitlines()
    changed = json.loads(lines[0]) | {"predicted": ["grey"]}
    (folder / "test_predictions.jsonl").write_text("\n".join([json.dumps(changed), *lines[1:]]))
    assert verify(folder).returncode == 1


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "verify.py"], cwd=folder, capture_output=True, text=True, check=False
    )


# --- evaluations on selected images ---


def test_the_images_of_a_filter_are_evaluated(bob: Client, vera: Client) -> None:
    project = make_colours()
    version = make_colour_version(project)
    label = project.labels.get(name="red")
    form = html_of(bob.get(reverse("evaluate_images", args=[project.pk]) + f"?tab=all&label={label.pk}"))
    assert "Label Data, All: red (10 with a label)" in form and "V001" in form

    query = f"tab=all&label={label.pk}"
    answer = begin(bob, project, version="1", images="filter", query=query)

    evaluation = VersionEvaluation.objects.get()
    assert answer.headers["Location"] == url("version_evaluation", version, evaluation.pk)
    assert (evaluation.name, evaluation.total, evaluation.created_by) == ("All: red", 10, make_user("bob"))
    waiting = html_of(vera.get(url("version_evaluation", version, evaluation.pk)))
    assert "every 2s" in waiting and "0 of 10 images." in waiting and "Cancel" not in waiting
    run_last()
    html = html_of(vera.get(url("version_evaluation", version, evaluation.pk)))
    trained = project.images.filter(annotations__label=label, split="TRAIN").count()
    assert f"{trained} of 10 images, or duplicates of them, were used for training V001" in html
    assert "every 2s" not in html and "All images, including those used for training" in html
    tab = html_of(vera.get(url("version_evaluations", version)))
    assert "All: red" in tab and f"{trained} of 10 images were used for training" in tab
    assert "evaluation-form" not in tab


def test_another_project_is_evaluated_and_its_images_are_for_its_team(
    alice: Client, bob: Client, mallory: Client
) -> None:
    project = make_colours()
    version = make_colour_version(project)
    secret_team = make_user("mallory").memberships.get().team
    secret = make_colours("secret", team=secret_team, first_seed=500)
    answer = begin(bob, project, version="1", images="project", other=str(secret.pk))
    assert answer.status_code == 422 and "Choose one of these." in html_of(answer)
    assert not VersionEvaluation.objects.exists()

    Membership.objects.create(team=secret_team, user=make_user("alice"), role=Role.VIEWER)
    image = secret.images.first()
    assert image is not None
    image.annotations.update(label=secret.labels.get(name="red"))
    assert begin(alice, project, version="1", images="project", other=str(secret.pk)).status_code == 303
    evaluation = run_last()
    assert evaluation.source == secret and evaluation.result["independent"] is not None

    one = url("version_evaluation", version, evaluation.pk)
    assert f"/projects/{secret.pk}/thumbnails/" in html_of(alice.get(one))
    html = html_of(bob.get(one))
    assert "The images belong to a project of another team." in html and "96.7 %" in html
    assert "/thumbnails/" not in html and image.name not in html
    images = url("selected_images", version, evaluation.pk)
    selected = evaluation.images.get(is_correct=False).pk
    for page in (images, url("selected_image", version, evaluation.pk, selected)):
        assert (alice.get(page).status_code, bob.get(page).status_code) == (200, 404)
    heat = url("selected_heat", version, evaluation.pk, selected)
    assert bob.get(heat).status_code == 404
    assert mallory.get(one).status_code == 404  # her images, but not her version

    Team.objects.filter(pk=secret_team.pk).update(second_factor_required=True)
    assert (alice.get(images).status_code, alice.get(heat).status_code) == (404, 404)
    answer = begin(alice, project, version="1", images="project", other=str(secret.pk))
    assert answer.status_code == 422, "her session has not seen a second factor"


def test_mistakes_and_images_can_be_browsed(vera: Client, bob: Client) -> None:
    project = with_tests(make_colours())
    version = make_colour_version(project)
    begin(bob, project, version="1", images="test")
    evaluation = run_last()
    html = html_of(vera.get(url("version_evaluation", version, evaluation.pk)))
    wrong = evaluation.images.get(is_correct=False)
    assert "Mistakes, most confident first" in html and f"images/{wrong.pk}/" in html
    assert "blue predicted as red: 1 image" in html
    page = url("selected_images", version, evaluation.pk)
    assert "1 image<" in html_of(vera.get(page))
    assert "12 images<" in html_of(vera.get(page + "?outcome=all"))
    assert "4 images<" in html_of(vera.get(page + "?true=green"))
    detail = html_of(vera.get(url("selected_image", version, evaluation.pk, wrong.pk) + "?outcome=all"))
    assert "Wrong: red" in detail and "Labeled <strong>blue</strong> when it was evaluated." in detail
    assert re.search(r"Image \d+ of 12<", detail) and ('id="next"' in detail or 'id="previous"' in detail)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"version": "9", "images": "filter"}, "Choose a Completed version of this project."),
        ({"version": "", "images": "filter"}, "Choose a Completed version of this project."),
        ({"version": "1", "images": "moon"}, "Choose one of these."),
        ({"version": "1", "images": "project"}, "Choose the project."),
        ({"version": "1", "images": "project", "other": "999999"}, "Choose a project that you can see."),
        ({"version": "1", "images": "filter", "query": "tab=unlabeled"}, "None of the selected images has"),
        ({"version": "1", "images": "filter", "query": "q=nothing"}, "None of the selected images has"),
    ],
)
def test_wrong_input_is_refused_and_starts_nothing(bob: Client, fields: Any, sentence: str) -> None:
    project = make_colours()
    make_colours("other", first_seed=500, images=1)
    make_colour_version(project)
    answer = begin(bob, project, **fields)
    assert answer.status_code == 422 and sentence in html_of(answer)
    assert not VersionEvaluation.objects.exists() and not (settings.FILES_DIR / "evaluations").exists()


def test_a_project_without_a_version_says_so(bob: Client) -> None:
    project = make_colours(images=1)
    html = html_of(bob.get(reverse("evaluate_images", args=[project.pk])))
    assert "No completed version" in html and "evaluation-form" not in html


def test_viewers_and_strangers_start_nothing(vera: Client, mallory: Client) -> None:
    project = make_colours(images=5)
    version = make_colour_version(project)
    assert begin(vera, project, version="1", images="filter").status_code == 403
    assert begin(mallory, project, version="1", images="filter").status_code == 404
    assert vera.get(reverse("evaluate_images", args=[project.pk])).status_code == 403
    assert mallory.get(url("version_evaluations", version)).status_code == 404
    assert not VersionEvaluation.objects.exists()


def test_an_evaluation_is_cancelled_and_then_deleted(bob: Client, vera: Client) -> None:
    project = make_colours(images=5)
    version = make_colour_version(project)
    begin(bob, project, version="1", images="filter")
    evaluation = VersionEvaluation.objects.get()
    cancel = url("cancel_evaluation", version, evaluation.pk)
    assert vera.post(cancel).status_code == 403
    assert bob.post(cancel).status_code == 303
    evaluation.refresh_from_db()
    assert evaluation.status == "Cancelled"
    assert bob.post(cancel).status_code == 303
    assert not VersionEvaluation.objects.exists()


def test_the_list_takes_the_same_queries_for_many_evaluations(vera: Client, bob: Client) -> None:
    project = make_colours(images=5)
    version = make_colour_version(project)
    begin(bob, project, version="1", images="filter")
    only = run_last()

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert vera.get(url("version_evaluations", version)).status_code == 200
        return len(captured)

    few = queries()
    for _ in range(20):
        only.pk = None
        only.save(force_insert=True)
    assert queries() == few <= 25
