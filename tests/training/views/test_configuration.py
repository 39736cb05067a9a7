"""Training Configuration, the receipt to confirm, and Submit, as the browser sees them."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from redis import Redis

from projects.models import Image, Project
from tests.factories import cpu_flavor, default_flavor, make_project, make_version
from tests.pages import html_of
from tests.training.forms.test_configuration import typed
from tests.training.versions.test_flavors import work_on
from training.models import InstanceFlavor, Status, TrainingVersion

HTMX = {"HX-Request": "true"}


def address(project: Project, view: str = "configure_training") -> str:
    return reverse(view, args=[project.pk])


def text(answer) -> str:
    """The words of a page, with single spaces."""
    cells = re.sub(r"</(dt|dd|td|th)>", " ", html_of(answer))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", cells))


def submit(client: Client, project: Project, submission: uuid.UUID, **changes: object):
    return client.post(
        address(project, "submit_training"), typed(**changes) | {"submission": str(submission)}
    )


# --- the dialog ---


def test_the_dialog_opens_with_the_documented_defaults(alice: Client) -> None:
    project = make_project(labels=2, images=10)

    answer = alice.get(address(project))

    assert answer.status_code == 200
    html = html_of(answer)
    for name, value in {
        "dataset_version": "V001",
        "training_ratio": "0.8",
        "max_inference_ms": "500",
        "max_training_hours": "1",
    }.items():
        assert re.search(rf'<input type="text" name="{name}" value="{value}"', html)
    assert '<output class="ratio-rest" id="validation-ratio" for="id_training_ratio">0.2</output>' in html
    assert "Training 0.8: 16 images. Validation 0.2: 4 images, 2 per label." in text(answer)
    assert "Fast enough (estimates): EfficientNet-Lite0 6.2 ms, EfficientNet-Lite1" in text(answer)
    assert "At most 1 hour; this flavor has no price." in text(answer)
    assert reverse("label_data", args=[project.pk]) in html


def test_a_project_that_is_not_ready_is_told_what_is_missing(alice: Client) -> None:
    answer = alice.get(address(make_project(labels=1, images=3)))

    assert answer.status_code == 200
    assert "So far only ‘label-0’ is used" in text(answer)
    assert "‘label-0’ has 3 (2 more)" in text(answer)
    assert re.search(r"<button[^>]* disabled>Next", html_of(answer))


def test_errors_stand_at_their_fields_and_what_was_typed_stays(alice: Client) -> None:
    project = make_project()

    answer = alice.post(address(project), typed(training_ratio="0.123456", max_training_hours="0.05"))

    assert answer.status_code == 422
    html = html_of(answer)
    assert 'value="0.123456"' in html and 'value="0.05"' in html
    assert re.search(
        r'id="id_training_ratio_error"[^>]*> *<p class="field-error">Enter a ratio above 0', html
    )
    assert re.search(r'id="id_max_training_hours_error"[^>]*> *<p class="field-error">Enter 0.1 to 100', html)
    assert html.count("field-error") == 2
    assert 'aria-describedby="id_training_ratio_helptext id_training_ratio_error"' in html
    assert not TrainingVersion.objects.exists()


def test_what_was_typed_is_escaped(alice: Client) -> None:
    answer = alice.post(address(make_project()), typed(dataset_version='"><script>x</script>'))

    assert answer.status_code == 422
    assert "<script>x" not in html_of(answer)


def test_a_continued_version_shows_what_is_inherited(alice: Client) -> None:
    project = make_project()
    base = make_version(
        project, 1, Status.COMPLETED, accuracy=0.9, inference_hardware="CPU", max_inference_ms=77
    )

    answer = html_of(
        alice.get(address(project, "inherited_fields"), {"incremental_version": base.pk}, headers=HTMX)
    )

    assert answer.startswith('<div class="stack" id="inference-fields"')
    assert re.search(r'name="max_inference_ms" value="77"[^>]*disabled', answer)
    assert answer.count("Inherited from V001.") == 2


def test_no_continued_version_gives_the_fields_back(alice: Client) -> None:
    answer = html_of(
        alice.get(address(make_project(), "inherited_fields"), {"incremental_version": ""}, headers=HTMX)
    )

    assert 'name="max_inference_ms" value="500"' in answer
    assert "disabled" not in answer and "field-error" not in answer


# --- previews of typed values ---


@pytest.mark.parametrize(
    ("view", "typed_so_far", "sentence"),
    [
        ("split_consequence", {"training_ratio": "0.5"}, "Validation 0.5: 10 images, 5 per label."),
        (
            "split_consequence",
            {"training_ratio": "0.9"},
            "With so few, per-label results will be imprecise.",
        ),
        ("split_consequence", {"training_ratio": "1"}, "Enter a ratio"),
        ("split_consequence", {}, "Enter a ratio"),
        (
            "networks_consequence",
            {"inference_hardware": "CPU", "max_inference_ms": "500"},
            ": EfficientNet-Lite0",
        ),
        (
            "networks_consequence",
            {"inference_hardware": "NV_P4", "max_inference_ms": "1"},
            "No network is that",
        ),
        (
            "networks_consequence",
            {"inference_hardware": "NV_P4", "max_inference_ms": "x"},
            "Enter a duration",
        ),
        ("cost_consequence", {"max_training_hours": "1.5"}, "Enter a time and choose a flavor"),
        ("cost_consequence", {"max_training_hours": "1.5", "flavor": ""}, "At most 1 hour 30 minutes;"),
    ],
)
def test_consequences_follow_the_typing(
    alice: Client, view: str, typed_so_far: dict[str, str], sentence: str
) -> None:
    project = make_project(labels=2, images=10)
    if "flavor" in typed_so_far:
        typed_so_far = typed_so_far | {"instance_flavor": str(default_flavor().pk)}

    answer = alice.get(address(project, view), typed_so_far, headers=HTMX)

    assert answer.status_code == 200
    assert sentence in text(answer)


def test_a_flavors_price_bounds_the_cost(alice: Client) -> None:
    InstanceFlavor.objects.filter(is_default=True).update(price_per_hour=Decimal("1.20"))

    answer = alice.get(
        address(make_project(), "cost_consequence"),
        {"max_training_hours": "2.5", "instance_flavor": default_flavor().pk},
    )

    assert "At most 2 hours 30 minutes and 3.00 USD, at 1.20 USD per hour." in text(answer)


HINT = "6 hours. Did you mean 6 minutes? Use 0.1 h"
ADVICE = "More than 1 hour is advised for 2,000 images or more. This project has 2,000 labeled images."


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        ("5", ""),
        ("6", HINT),
        ("6.0", ""),
        ("10", "10 hours. Did you mean 10 minutes? Use 0.17 h"),
        ("60", "60 hours. Did you mean 60 minutes? Use 1 h"),
        ("120", "Did you mean 120 minutes? Use 2 h"),
        ("6001", ""),
    ],
)
def test_minutes_typed_as_hours_are_noticed(alice: Client, hours: str, sentence: str) -> None:
    answer = alice.get(address(make_project(), "time_consequence"), {"max_training_hours": hours})

    shown = text(answer)
    assert sentence in shown
    assert ("Did you mean" in shown) is bool(sentence)


def test_more_time_is_advised_for_many_images(alice: Client) -> None:
    project = make_project()
    measures = {"format": "PNG", "width": 32, "height": 24, "size_bytes": 99, "is_labeled": True}
    missing = range(2000 - project.images.labeled().count())
    Image.objects.bulk_create(
        Image(project=project, sha256=f"{number:064x}", name=f"{number}.png", **measures)
        for number in missing
    )

    page = alice.get(address(project))

    assert ADVICE in text(page) and 'data-hours="2"' in html_of(page)
    assert 'name="max_training_hours" value="1"' in html_of(page)
    enough = alice.get(address(project, "time_consequence"), {"max_training_hours": "2"})
    assert "is advised" not in text(enough)


def test_a_default_time_is_enough_for_few_images(alice: Client) -> None:
    assert "is advised" not in text(alice.get(address(make_project())))


def test_a_shorter_duration_is_said_to_cost_accuracy(alice: Client) -> None:
    assert "trains faster but may be less accurate." in text(alice.get(address(make_project())))


def test_an_error_vanishes_when_the_value_is_right(alice: Client) -> None:
    url = address(make_project(), "field_errors") + "?field=max_training_hours&max_training_hours="

    wrong = html_of(alice.get(url + "0.05", headers=HTMX))
    right = html_of(alice.get(url + "0.5", headers=HTMX))

    assert "Enter 0.1 to 100 hours" in wrong and "input changed" in wrong
    assert 'id="id_max_training_hours_error"' in right
    assert "<p" not in right and "input changed" not in right


def test_a_taken_name_is_noticed_before_next(alice: Client) -> None:
    project = make_project()
    project.dataset_versions.create(name="taken", training_ratio=Decimal("0.8"))

    answer = alice.get(
        address(project, "field_errors"),
        {"field": "dataset_version", "dataset_version": "Taken"},
        headers=HTMX,
    )

    assert "This project already has a dataset version" in text(answer)


def test_errors_of_an_unknown_field_are_refused(alice: Client) -> None:
    answer = alice.get(address(make_project(), "field_errors"), {"field": "colour"})

    assert answer.status_code == 422 and answer.content == b"There is no such field."


def test_a_machine_without_gpu_preselects_the_flavor_that_it_can_serve(alice: Client, redis: Redis) -> None:
    work_on("gpu", "cpu", has_gpu=False)
    project = make_project()

    page = alice.get(address(project))

    assert f'<option value="{cpu_flavor().pk}" selected>Compute-intensive instance (CPU)<' in html_of(page)
    assert "Compute-intensive instance (GPU) · runs on the CPU here" in text(page)
    receipt = text(alice.post(address(project), typed()))
    assert "Compute-intensive instance (GPU) runs on the CPU here" in receipt


# --- the receipt ---


def test_next_shows_the_specifications_to_confirm(alice: Client) -> None:
    InstanceFlavor.objects.filter(is_default=True).update(price_per_hour=Decimal("1.20"))
    project = make_project(labels=2, images=10)
    submission = uuid.uuid4()

    answer = alice.post(
        address(project),
        typed(max_training_hours="1.5", dataset_version="first") | {"submission": submission},
    )

    assert answer.status_code == 200
    page_text = text(answer)
    for expected in (
        "Dataset Version first",
        "0.8 and 0.2",
        "16 training, 4 validation",
        "Incremental Training Version None",
        "Expected Inference Hardware NV_P4",
        "Max. Inference Duration 500 ms",
        "1 hour 30 minutes",
        "Compute-intensive instance (GPU)",
        "1.20 USD",
        "Total price at most 1.80 USD 1.20 USD per hour × 1 hour 30 minutes",
        "label-0 8 2",
        "All 2 labels 16 4",
        "EfficientNet-Lite2",
        "260 px Apache-2.0 estimate 6.9 ms",
    ):
        assert expected in page_text, expected
    html = html_of(answer)
    assert f'<input type="hidden" name="submission" value="{submission}">' in html
    assert '<input type="hidden" name="training_ratio" value="0.8">' in html
    assert not TrainingVersion.objects.exists()


def test_a_limit_that_no_network_meets_is_told_before_submitting(alice: Client) -> None:
    answer = alice.post(address(make_project()), typed(max_inference_ms="1"))

    assert answer.status_code == 200
    assert "No network predicts within 1 ms: the fastest, EfficientNet-Lite0, takes about" in text(answer)


def test_an_image_that_must_change_side_is_told(alice: Client) -> None:
    project = make_project(labels=2, images=5)
    project.images.filter(annotations__label=project.labels.first()).update(split="TRAIN")

    answer = alice.post(address(project), typed())

    assert "1 image will move to the other split" in text(answer)


def test_back_keeps_what_was_typed(alice: Client) -> None:
    project = make_project()
    submission = str(uuid.uuid4())

    answer = alice.post(
        address(project),
        typed(dataset_version="mine", training_ratio="0.75") | {"submission": submission, "back": "1"},
    )

    assert answer.status_code == 200
    html = html_of(answer)
    assert 'name="dataset_version" value="mine"' in html
    assert 'name="training_ratio" value="0.75"' in html
    assert submission in html
    assert "field-error" not in html


@pytest.mark.parametrize("labels", [2, 40])
def test_the_receipt_takes_the_same_queries_for_many_labels(
    alice: Client, labels: int, django_assert_max_num_queries
) -> None:
    project = make_project(labels=labels, images=5)

    with django_assert_max_num_queries(44):
        assert alice.post(address(project), typed()).status_code == 200


# --- Submit ---


def test_submit_starts_one_version_however_often_it_is_pressed(alice: Client) -> None:
    project, submission = make_project(), uuid.uuid4()

    answers = [submit(alice, project, submission) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [303] * 3
    assert {answer["Location"] for answer in answers} == {reverse("train_model", args=[project.pk])}
    said = [str(message) for message in get_messages(answers[-1].wsgi_request)]
    assert said == ["V001 was submitted. You can close this page; training continues."]
    version = TrainingVersion.objects.get()
    assert version.status == Status.INITIALIZING
    assert version.submission == submission
    assert version.dataset_version.name == "V001"


def test_submit_after_the_browsers_back_finds_the_same_version(alice: Client) -> None:
    """The old receipt is shown from memory, with its old submission."""
    project, submission = make_project(), uuid.uuid4()
    submit(alice, project, submission)

    answer = submit(alice, project, submission)

    assert answer.status_code == 303
    assert TrainingVersion.objects.count() == 1


def test_next_after_a_start_opens_a_new_round(alice: Client) -> None:
    project, submission = make_project(), uuid.uuid4()
    submit(alice, project, submission)

    answer = alice.post(address(project), typed(dataset_version="V002") | {"submission": str(submission)})

    assert answer.status_code == 200
    assert str(submission) not in html_of(answer)


def test_submit_checks_everything_again(alice: Client) -> None:
    project = make_project()

    answer = submit(alice, project, uuid.uuid4(), training_ratio="1")

    assert answer.status_code == 422
    assert "Enter a ratio above 0" in text(answer)
    assert not TrainingVersion.objects.exists()


def test_labels_that_changed_meanwhile_refuse_the_submission(alice: Client) -> None:
    project = make_project(labels=2, images=5)
    alice.post(address(project), typed())
    project.images.filter(pk=project.images.first().pk).update(deleted_at=timezone.now())

    answer = submit(alice, project, uuid.uuid4())

    assert answer.status_code == 422
    assert "‘label-1’ has 4 (1 more)" in text(answer)
    assert not TrainingVersion.objects.exists()


def test_a_name_reserved_meanwhile_is_told_at_its_field(alice: Client) -> None:
    project = make_project()
    submit(alice, project, uuid.uuid4())

    answer = submit(alice, project, uuid.uuid4(), dataset_version="v001")

    assert answer.status_code == 422
    assert "This project already has a dataset version “v001”." in text(answer)
    assert TrainingVersion.objects.count() == 1


def test_a_submission_of_another_project_starts_nothing(alice: Client) -> None:
    submission = uuid.uuid4()
    submit(alice, make_project("flowers"), submission)

    answer = submit(alice, make_project("animals"), submission)

    assert answer.status_code == 409
    assert "belongs to another project" in text(answer)
    assert TrainingVersion.objects.count() == 1


def test_a_broken_submission_mark_is_replaced(alice: Client) -> None:
    project = make_project()

    answer = alice.post(address(project, "submit_training"), typed() | {"submission": "no uuid"})

    assert answer.status_code == 303
    assert TrainingVersion.objects.count() == 1


# --- who may ---

VIEWS = [
    ("configure_training", "get"),
    ("configure_training", "post"),
    ("submit_training", "post"),
    ("split_consequence", "get"),
    ("networks_consequence", "get"),
    ("cost_consequence", "get"),
    ("time_consequence", "get"),
    ("field_errors", "get"),
    ("inherited_fields", "get"),
]


@pytest.mark.parametrize(("view", "verb"), VIEWS)
def test_only_managers_train(view: str, verb: str, bob: Client, vera: Client, mallory: Client) -> None:
    project = make_project()
    url = address(project, view)
    values = typed() | {"submission": str(uuid.uuid4())}

    assert getattr(bob, verb)(url, values).status_code == 403
    assert getattr(vera, verb)(url, values).status_code == 403
    assert getattr(mallory, verb)(url, values).status_code == 404
    signed_out = getattr(Client(), verb)(url, values)
    assert signed_out.status_code == 302 and signed_out["Location"].startswith(reverse("sign_in"))
    assert not TrainingVersion.objects.exists()


@pytest.mark.parametrize("view", ["submit_training"])
def test_submitting_is_no_link(view: str, alice: Client) -> None:
    assert alice.get(address(make_project(), view)).status_code == 405


def test_a_deleted_project_is_gone(alice: Client) -> None:
    project = make_project()
    Project.objects.update(deleted_at=timezone.now())

    assert submit(alice, project, uuid.uuid4()).status_code == 404
