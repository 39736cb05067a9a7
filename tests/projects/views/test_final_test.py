"""The page of test images, and the two buttons on Label Data."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from projects.datasets.publish import publish
from projects.models import DatasetVersion, Image, LabelEvent, Project
from tests.factories import make_image, make_project
from tests.pages import html_of

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def set_split(client: Client, project: Project, query: str = "tab=all", **fields: Any) -> Any:
    return client.post(f"{reverse('set_split', args=[project.pk])}?{query}", fields, headers=HTMX)


def keep(client: Client, project: Project, **fields: Any) -> Any:
    return client.post(reverse("keep_for_test", args=[project.pk]), fields, follow=True)


def count_tests(project: Project) -> int:
    return project.images.filter(split="TEST").count()


def test_selected_images_are_kept_and_the_notice_can_undo_it(bob: Client) -> None:
    project = make_project(labels=1, images=4)
    ids = list(project.images.values_list("pk", flat=True))[:2]
    answer = set_split(bob, project, images=",".join(map(str, ids)), split="TEST")
    event = LabelEvent.objects.get(kind="set-split")
    html = html_of(answer)
    assert answer.status_code == 200 and "2 images kept as test images." in html
    assert f'data-undo="{event.pk}"' in html and count_tests(project) == 2

    url = reverse("undo_labeling", args=[project.pk])
    assert "Undone for 2 images." in html_of(bob.post(url, {"event": event.pk}, headers=HTMX))
    assert count_tests(project) == 0


def test_all_images_that_match_the_filter_are_kept_and_given_back(bob: Client) -> None:
    project = make_project(labels=2, images=3)
    label = project.labels.first()
    assert label is not None
    query = f"tab=all&label={label.pk}"
    set_split(bob, project, query, matching="on", count="3", split="TEST")
    assert set(project.images.filter(split="TEST")) == set(project.images.filter(annotations__label=label))
    answer = set_split(bob, project, "tab=all&split=TEST", matching="on", count="3", split="none")
    assert "3 images moved from the test images to training and validation." in html_of(answer)
    assert count_tests(project) == 0


def test_the_notice_says_which_versions_saw_the_images_and_names_duplicates(bob: Client) -> None:
    project = make_project(labels=2, images=10)
    version = DatasetVersion.objects.create(project=project, name="V001", training_ratio="0.8")
    publish(version)
    image = project.images.filter(split="TRAIN").first()
    assert image is not None
    copy = make_image(project, 900, [project.labels.first()])
    Image.objects.filter(pk__in=[image.pk, copy.pk]).update(duplicate_group=image.pk)
    html = html_of(set_split(bob, project, images=str(image.pk), split="TEST"))
    assert "2 images kept as test images. 1 of them is a duplicate of the chosen images." in html
    assert (
        "1 of them was used for training in dataset V001. Versions trained on it leave it out of their test"
        " results."
    ) in html


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"images": "1", "split": "EVAL"}, "Choose whether these are test images."),
        ({"images": "1"}, "Choose whether these are test images."),
        ({"split": "TEST"}, "Select at least one image."),
        ({"images": "x", "split": "TEST"}, "Select images on this page."),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(bob: Client, fields: Any, sentence: str) -> None:
    project = make_project(labels=1, images=2)
    answer = set_split(bob, project, **fields)
    assert answer.status_code == 422 and sentence in html_of(answer)
    assert not LabelEvent.objects.exists()


def test_nothing_to_change_is_said(bob: Client) -> None:
    project = make_project(labels=1, images=2)
    ids = ",".join(map(str, project.images.values_list("pk", flat=True)))
    assert "None of these is a test image" in html_of(set_split(bob, project, images=ids, split="none"))
    set_split(bob, project, images=ids, split="TEST")
    assert "These are already test images." in html_of(set_split(bob, project, images=ids, split="TEST"))


def test_a_number_or_a_share_is_kept(bob: Client) -> None:
    project = make_project(labels=2, images=20)
    html = html_of(keep(bob, project, amount="10 %"))
    assert "4 images kept as test images. You can undo this in the History." in html
    assert "4 images are kept for a final test." in html and count_tests(project) == 4
    keep(bob, project, amount="6")
    assert count_tests(project) == 10
    assert html.count("/label-data/?tab=labeled&amp;split=TEST&amp;label=") == 2


@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("", "Enter a number of images or a share, such as 10 %."),
        ("many", "Enter a number of images or a share, such as 10 %."),
        ("-3", "Enter a number of images or a share, such as 10 %."),
        ("0", "Keep at least one image."),
        ("2.5", "Enter a whole number of images, or a share with a percent sign."),
        ("80 %", "Keep at most half of the labeled images: 20 of 40."),
        ("9999999", "Keep at most half of the labeled images: 20 of 40."),
        ("٣", "Enter a number of images or a share, such as 10 %."),
    ],
)
def test_a_wrong_amount_is_refused_at_its_field(bob: Client, amount: str, sentence: str) -> None:
    project = make_project(labels=2, images=20)
    answer = keep(bob, project, amount=amount)
    assert answer.status_code == 422 and sentence in html_of(answer)
    assert count_tests(project) == 0


def test_what_cannot_be_kept_is_said(bob: Client) -> None:
    few = make_project("few", labels=2, images=5)
    assert "every label needs five images" in html_of(keep(bob, few, amount="2"))
    project = make_project(labels=2, images=10)
    publish(DatasetVersion.objects.create(project=project, name="V001", training_ratio="0.9"))
    never_trained = list(project.images.filter(split="EVAL").values_list("pk", flat=True))
    project.images.filter(split="EVAL").update(split="TRAIN")
    answer = keep(bob, project, amount="4")
    assert answer.status_code == 422 and "Every labeled image was used for training" in html_of(answer)
    html = html_of(keep(bob, project, amount="4", takes_trained="on"))
    trained = project.images.filter(split="TEST").exclude(pk__in=never_trained).count()
    assert f"{trained} of them were used for training in dataset V001. Versions trained on them" in html
    assert trained >= 2 and count_tests(project) == 4


def test_viewers_see_the_page_and_change_nothing(vera: Client, mallory: Client) -> None:
    project = make_project(labels=2, images=10)
    url = reverse("final_test", args=[project.pk])
    html = html_of(vera.get(url))
    assert "No image is kept for a final test." in html and "final-test-form" not in html
    assert keep(vera, project, amount="2").status_code == 403
    assert set_split(vera, project, images="1", split="TEST").status_code == 403
    assert mallory.get(url).status_code == 404
    assert count_tests(project) == 0


def test_label_data_shows_the_number_of_test_images(bob: Client, vera: Client) -> None:
    project = make_project(labels=1, images=3)
    project.images.update(split="TEST")
    html = html_of(bob.get(reverse("label_data", args=[project.pk])))
    assert "3 test images" in html and 'data-split="TEST"' in html and "/evaluate/?tab=" in html
    assert "data-split=" not in html_of(vera.get(reverse("label_data", args=[project.pk])))
