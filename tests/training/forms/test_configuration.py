"""Training Configuration: every boundary of every field, with its message."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from projects.models import Label, Project
from tests.factories import cpu_flavor, default_flavor, make_image, make_project, make_version
from training.forms.configuration import TrainingConfigurationForm
from training.models import InstanceFlavor, Metric, Status

pytestmark = pytest.mark.django_db

OK = ""
NAME = "Use 1 to 32 letters, digits, “_” or “-”."
NO_NAME = "Give a name of 1 to 32 letters, digits, “_” or “-”."
TAKEN = "This project already has a dataset version “{}”. Choose another name (4371)."
RATIO = "Enter a ratio above 0 and below 1 with 1 to 5 decimal places, for example 0.8."
MS = "Enter a whole number from 1 to 20000 milliseconds."
HOURS = "Enter 0.1 to 100 hours with at most two decimal places, that is 6 to 6000 minutes."
HARDWARE = "Choose NV_P4 or CPU."

# (field, what is typed, the message at the field). Printed in docs/training-configuration.md.
BOUNDARIES = [
    ("dataset_version", "V001", OK),
    ("dataset_version", "a", OK),
    ("dataset_version", "2024-summer_B", OK),
    ("dataset_version", "x" * 32, OK),
    ("dataset_version", "  V007  ", OK),
    ("dataset_version", "", NO_NAME),
    ("dataset_version", "   ", NO_NAME),
    ("dataset_version", "x" * 33, NAME),
    ("dataset_version", "two words", NAME),
    ("dataset_version", "V001\n", OK),
    ("dataset_version", "V0\n01", NAME),
    ("dataset_version", "../V001", NAME),
    ("dataset_version", "V.1", NAME),
    ("dataset_version", "Ü001", NAME),
    ("dataset_version", "V٠٠١", NAME),
    ("dataset_version", "taken", TAKEN.format("taken")),
    ("dataset_version", "TAKEN", TAKEN.format("TAKEN")),
    ("training_ratio", "0.8", OK),
    ("training_ratio", "0.80000", OK),
    ("training_ratio", "0.00001", OK),
    ("training_ratio", "0.99999", OK),
    ("training_ratio", " 0.5 ", OK),
    ("training_ratio", ".8", OK),
    ("training_ratio", "", RATIO),
    ("training_ratio", "0", RATIO),
    ("training_ratio", "1", RATIO),
    ("training_ratio", "0.0", RATIO),
    ("training_ratio", "0.00000", RATIO),
    ("training_ratio", "1.0", RATIO),
    ("training_ratio", "0.", RATIO),
    ("training_ratio", "0.123456", RATIO),
    ("training_ratio", "0.800000", RATIO),
    ("training_ratio", "1e-1", RATIO),
    ("training_ratio", "+0.8", RATIO),
    ("training_ratio", "-0.8", RATIO),
    ("training_ratio", "80%", RATIO),
    ("training_ratio", "4/5", RATIO),
    ("training_ratio", "NaN", RATIO),
    ("training_ratio", "Infinity", RATIO),
    ("training_ratio", "٠.٨", RATIO),
    ("training_ratio", "0_1.8", RATIO),
    ("training_ratio", "0,8", "Write the decimal point as a dot: 0.8."),
    ("training_ratio", "0,123456", RATIO),
    ("inference_hardware", "NV_P4", OK),
    ("inference_hardware", "CPU", OK),
    ("inference_hardware", "", HARDWARE),
    ("inference_hardware", "TPU", HARDWARE),
    ("max_inference_ms", "1", OK),
    ("max_inference_ms", "500", OK),
    ("max_inference_ms", "20000", OK),
    ("max_inference_ms", "0500", OK),
    ("max_inference_ms", "", MS),
    ("max_inference_ms", "0", MS),
    ("max_inference_ms", "20001", MS),
    ("max_inference_ms", "-1", MS),
    ("max_inference_ms", "+5", MS),
    ("max_inference_ms", "1.5", MS),
    ("max_inference_ms", "500.0", MS),
    ("max_inference_ms", "1_000", MS),
    ("max_inference_ms", "1e3", MS),
    ("max_inference_ms", "٥٠٠", MS),
    ("max_inference_ms", "9" * 400, MS),
    ("max_training_hours", "0.1", OK),
    ("max_training_hours", "0.10", OK),
    ("max_training_hours", "1", OK),
    ("max_training_hours", "1.5", OK),
    ("max_training_hours", "100", OK),
    ("max_training_hours", "100.00", OK),
    ("max_training_hours", "", HOURS),
    ("max_training_hours", "0", HOURS),
    ("max_training_hours", "0.05", HOURS),
    ("max_training_hours", "0.09", HOURS),
    ("max_training_hours", "0.099", HOURS),
    ("max_training_hours", "100.01", HOURS),
    ("max_training_hours", "100.1", HOURS),
    ("max_training_hours", "6000", HOURS),
    ("max_training_hours", "1h", HOURS),
    ("max_training_hours", "1:30", HOURS),
    ("max_training_hours", "1e1", HOURS),
    ("max_training_hours", "NaN", HOURS),
    ("max_training_hours", "0,5", "Write the decimal point as a dot: 0.5."),
    ("incremental_version", "", OK),
    ("incremental_version", "no number", "Choose a Completed training version of this project, or None."),
    ("incremental_version", "999999", "Choose a Completed training version of this project, or None."),
    ("instance_flavor", "", "Choose one of the offered flavors."),
    ("instance_flavor", "999999", "Choose one of the offered flavors."),
]


def typed(**changes: object) -> dict[str, Any]:
    """The defaults as a browser sends them, with changes."""
    return {
        "dataset_version": "V001",
        "training_ratio": "0.8",
        "incremental_version": "",
        "inference_hardware": "NV_P4",
        "max_inference_ms": "500",
        "max_training_hours": "1",
        "instance_flavor": str(default_flavor().pk),
    } | {name: str(value) for name, value in changes.items()}


def messages(project: Project, **changes: object) -> dict[str, list[str]]:
    return dict(TrainingConfigurationForm(typed(**changes), project=project).errors)


@pytest.mark.parametrize(("field", "value", "message"), BOUNDARIES, ids=lambda value: repr(value)[:40])
def test_boundaries(field: str, value: str, message: str) -> None:
    project = make_project(labels=2, images=5)
    project.dataset_versions.create(name="Taken", training_ratio=Decimal("0.8"))

    assert messages(project, **{field: value}) == ({field: [message]} if message else {})


def test_the_fields_are_the_documented_ones_in_their_order() -> None:
    assert list(TrainingConfigurationForm.base_fields) == [
        "dataset_version",
        "training_ratio",
        "incremental_version",
        "inference_hardware",
        "max_inference_ms",
        "max_training_hours",
        "instance_flavor",
    ]


def test_the_defaults_are_the_documented_ones() -> None:
    form = TrainingConfigurationForm(project=make_project())

    assert {name: form[name].value() for name in form.fields} == {
        "dataset_version": "V001",
        "training_ratio": "0.8",
        "incremental_version": None,
        "inference_hardware": "NV_P4",
        "max_inference_ms": "500",
        "max_training_hours": "1",
        "instance_flavor": default_flavor().pk,
    }


@pytest.mark.parametrize(
    ("reserved", "proposed"),
    [
        ([], "V001"),
        (["V001"], "V002"),
        (["V001", "V004"], "V005"),
        (["v007"], "V008"),
        (["summer", "V", "V1x"], "V001"),
        (["V999"], "V1000"),
    ],
)
def test_the_next_free_name_is_proposed(reserved: list[str], proposed: str) -> None:
    project = make_project()
    for name in reserved:
        project.dataset_versions.create(name=name, training_ratio=Decimal("0.8"))

    assert TrainingConfigurationForm(project=project)["dataset_version"].value() == proposed


def test_the_answers_are_in_the_domains_types() -> None:
    form = TrainingConfigurationForm(typed(max_training_hours="1.5"), project=make_project())

    assert form.is_valid()
    assert form.cleaned_data == {
        "dataset_version": "V001",
        "training_ratio": Decimal("0.8"),
        "incremental_version": None,
        "inference_hardware": "NV_P4",
        "max_inference_ms": 500,
        "max_training_hours": Decimal("1.5"),
        "max_training_minutes": 90,
        "instance_flavor": default_flavor(),
    }


@pytest.mark.parametrize(("hours", "minutes"), [("0.1", 6), ("0.11", 6), ("0.33", 19), ("100", 6000)])
def test_hours_become_whole_minutes_and_never_more_than_typed(hours: str, minutes: int) -> None:
    form = TrainingConfigurationForm(typed(max_training_hours=hours), project=make_project())

    assert form.is_valid()
    assert form.cleaned_data["max_training_minutes"] == minutes


# --- incremental versions ---


def test_only_completed_living_versions_of_the_project_can_be_continued() -> None:
    project, other = make_project("flowers"), make_project("animals")
    good = make_version(project, 1, Status.COMPLETED)
    refused = [
        make_version(project, 2, Status.RUNNING),
        make_version(project, 3, Status.FAILED),
        make_version(project, 4, Status.STOPPED),
        make_version(project, 5, Status.INITIALIZING),
        make_version(project, 6, Status.COMPLETED, deleted_at="2024-01-01T00:00Z"),
        make_version(other, 1, Status.COMPLETED),
    ]

    assert messages(project, dataset_version="next", incremental_version=good.pk) == {}
    for version in refused:
        assert messages(project, dataset_version="next", incremental_version=version.pk) == {
            "incremental_version": ["Choose a Completed training version of this project, or None."]
        }


def test_versions_are_offered_newest_first_with_what_they_achieved() -> None:
    project = make_project()
    first = make_version(project, 1, Status.COMPLETED, accuracy=0.941)
    Metric.objects.create(training_version=first, name=Metric.Name.PRECISION, value=0.9396)
    make_version(project, 2, Status.COMPLETED, accuracy=0.89)
    make_version(project, 3, Status.COMPLETED)

    form = TrainingConfigurationForm(project=project)

    assert [str(label) for _, label in form.fields["incremental_version"].choices] == [
        "None",
        "V003",
        "V002 · accuracy 89.0 % on its own images · not compared",
        "V001 · accuracy 94.1 %, precision 0.940 on its own images · not compared",
    ]


def test_a_continued_version_hands_down_hardware_and_duration() -> None:
    project = make_project()
    base = make_version(project, 1, Status.COMPLETED, inference_hardware="CPU", max_inference_ms=30)

    form = TrainingConfigurationForm(
        typed(dataset_version="V002", incremental_version=base.pk, max_inference_ms="nonsense"),
        project=project,
    )

    assert form.is_valid(), form.errors
    assert form.cleaned_data["inference_hardware"] == "CPU"
    assert form.cleaned_data["max_inference_ms"] == 30
    assert form["max_inference_ms"].value() == 30
    assert "disabled" in str(form["inference_hardware"])
    assert "Inherited from V001" in form["max_inference_ms"].help_text


# --- flavors ---


def test_a_disabled_flavor_is_refused() -> None:
    InstanceFlavor.objects.filter(pk=cpu_flavor().pk).update(is_enabled=False)

    assert messages(make_project(), instance_flavor=cpu_flavor().pk) == {
        "instance_flavor": ["Choose one of the offered flavors."]
    }


def test_without_a_default_the_first_enabled_flavor_is_proposed() -> None:
    InstanceFlavor.objects.filter(is_default=True).update(is_default=False, is_enabled=False)

    assert TrainingConfigurationForm(project=make_project())["instance_flavor"].value() == cpu_flavor().pk


# --- the project's labels ---


def test_a_project_that_is_not_ready_says_what_is_missing() -> None:
    assert messages(make_project(labels=2, images=4)) == {
        "__all__": [
            "Every label needs at least five images: "
            "‘label-0’ has 4 (1 more), ‘label-1’ has 4 (1 more) (4711)."
        ]
    }


def test_a_label_that_cannot_be_on_both_sides_is_named() -> None:
    """Every image of `pair` is the only training image of another label, and sides are kept."""
    project = make_project(labels=5, images=5, is_multi_label=True)
    pair = Label.objects.create(project=project, name="pair", position=5)
    project.images.update(split="EVAL")
    for label in project.labels.exclude(pk=pair.pk):
        image = project.images.filter(annotations__label=label).first()
        project.images.filter(pk=image.pk).update(split="TRAIN")
        image.annotations.create(label=pair, at=image.uploaded_at)

    assert messages(project) == {
        "training_ratio": [
            "Training and validation need images of every label. Label more images with “pair”."
        ]
    }


def test_every_message_stands_at_its_own_field() -> None:
    errors = messages(
        make_project(),
        dataset_version="",
        training_ratio="1",
        incremental_version="7",
        inference_hardware="",
        max_inference_ms="0",
        max_training_hours="0.05",
        instance_flavor="",
    )

    assert set(errors) == set(TrainingConfigurationForm.base_fields)
    assert all(len(sentences) == 1 for sentences in errors.values())


def test_the_number_of_queries_does_not_grow_with_versions_or_images(django_assert_num_queries) -> None:
    def ask(project: Project) -> None:
        form = TrainingConfigurationForm(typed(dataset_version="next"), project=project)
        assert form.is_valid()
        str(form["incremental_version"])

    # Two versions at least: a single one is not compared with others.
    small = make_project("small")
    large = make_project("large", images=20)
    for number in range(1, 6):
        make_version(large, number, Status.COMPLETED, accuracy=0.9)
    for number in (1, 2):
        make_version(small, number, Status.COMPLETED, accuracy=0.9)
    make_image(large, 9000, [])

    for project in (small, large):
        with django_assert_num_queries(27):
            ask(project)
