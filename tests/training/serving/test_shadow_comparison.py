"""A version and its shadow on the same calls: agreement, accuracy, McNemar, and the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from scipy.stats import binomtest

from projects.images import upload
from projects.labels import actions
from projects.models import Label
from tests.factories import make_user
from tests.pages import html_of
from tests.training.bundles import colour_picture
from tests.training.serving.batches.test_judgement import train_on
from tests.training.serving.shadows import add_second, call, make_rival, work_off
from training.engine.evaluation.metrics import wilson
from training.models import CollectedCall, Service, ShadowAnswer, ShadowCount, TrainingVersion
from training.serving import deploy, rollout
from training.serving.calls import feedback, shadow
from training.serving.shadow_comparison import ShadowComparison, compare_shadow


@pytest.fixture(autouse=True)
def nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "_waiting", shadow.Waiting())


@pytest.fixture
def rival(version: TrainingVersion) -> Iterator[TrainingVersion]:
    rival = make_rival(version.project)
    yield rival
    shutil.rmtree(default_storage.path(rival.folder), ignore_errors=True)


@pytest.fixture
def opened(opened: tuple[Service, str], rival: TrainingVersion) -> Iterator[tuple[Service, str]]:
    """Collecting, with a shadow."""
    service = opened[0]
    deploy.set_collecting(service, True, 30, make_user("alice"))
    for position, name in enumerate(("red", "green", "blue")):
        Label.objects.create(project=service.project, name=name, position=10 + position)
    add_second(service, rival)
    yield opened
    shutil.rmtree(settings.FILES_DIR / "services", ignore_errors=True)


def at(name: str, service: Service, *more: object) -> str:
    return reverse(name, args=[service.project_id, service.pk, *more])


def text(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(response)))


def compared(service: Service) -> ShadowComparison:
    found = compare_shadow(service)
    assert found is not None
    return found


def answered(service: Service, predicted: str, second: str, truth: str = "") -> None:
    """A collected call with the answers of both versions, and its label if somebody told it."""
    service.refresh_from_db()
    assert service.canary_version is not None
    verdict = "" if not truth else "right" if truth == predicted else "wrong"
    kept = CollectedCall.objects.create(
        id=uuid4(),
        service=service,
        training_version=service.training_version,
        file_name="gone",
        sha256=uuid4().hex,
        predicted=[predicted],
        scores=[[predicted, 0.9]],
        confidence=0.9,
        verdict=verdict,
        true_labels=[truth] if truth else [],
    )
    ShadowAnswer.objects.create(
        id=kept.pk,
        service=service,
        training_version=service.training_version,
        shadow_version=service.canary_version,
        predicted=[predicted],
        score=0.9,
        shadow_predicted=[second],
        shadow_score=0.8,
        agrees=predicted == second,
        collected=kept,
    )


def test_both_are_judged_on_the_same_images_and_tested_as_scipy_does(opened) -> None:
    service = opened[0]
    for _ in range(6):
        answered(service, "green", "green", "green")
    for _ in range(3):
        answered(service, "green", "green", "red")
    for _ in range(2):
        answered(service, "red", "blue", "red")
    for _ in range(13):
        answered(service, "red", "blue", "blue")
    answered(service, "green", "green")  # alike and without a label: says nothing
    found = compared(service)
    assert found.accuracy == wilson(8, 24) and found.shadow_accuracy == wilson(19, 24)
    assert found.p == pytest.approx(binomtest(2, 15).pvalue, rel=1e-12)
    assert found.better == found.shadow
    assert found.summary == (
        "V002 is better than V001. Of 24 images with a known label, V002 alone got 13 right, and V001 alone "
        "2 (p = 0.007)."
    )
    assert found.pairs == [(("red", "blue"), 15)]


def test_a_version_that_is_worse_is_said_to_be_worse(opened) -> None:
    for _ in range(9):
        answered(opened[0], "red", "blue", "red")
    assert compared(opened[0]).summary.startswith("V001 is better than V002. ")


def test_only_wrong_looking_answers_judged_make_no_version_better(opened) -> None:
    """People judge what looks wrong: the label of the others may be what the answer said."""
    service = opened[0]
    for _ in range(9):
        answered(service, "red", "blue", "blue")
    assert compared(service).better is not None
    for _ in range(5):
        answered(service, "red", "blue")
    found = compared(service)
    assert found.better is None and found.p == pytest.approx(binomtest(0, 9).pvalue)
    assert found.summary == (
        "There is no reliable difference between V002 and V001 yet. Of 9 images with a known label, "
        "V002 alone got 9 right, and V001 alone 0 (p = 0.004). They differ on 5 images without a label, "
        "which could change the result."
    )


def test_a_small_difference_is_no_reliable_difference(opened) -> None:
    service = opened[0]
    assert compared(service).summary.endswith("No image has a known label.")
    answered(service, "green", "green", "green")
    assert compared(service).summary.endswith(
        "On 1 image with a known label, both are right or both are wrong."
    )
    for truth in ("red", "blue", "blue"):
        answered(service, "red", "blue", truth)
    found = compared(service)
    assert found.better is None and "no reliable difference between V002 and V001 yet" in found.summary
    assert "more images with labels would show it." in found.summary


def test_the_label_of_the_project_counts_before_the_verdict(opened) -> None:
    service = opened[0]
    answer = call(opened, "red")
    work_off()
    kept = CollectedCall.objects.get(pk=answer["request_id"])
    feedback.record_verdict(kept, True, [], by="bob")
    assert (compared(service).only_version, compared(service).only_shadow) == (1, 0)
    feedback.add_to_project(service, [kept.pk], make_user("bob"))
    kept.refresh_from_db()
    blue = service.project.labels.get(name="blue")
    red = service.project.labels.get(name="red")
    actions.apply(service.project, [kept.image_id], add=[blue], remove=[red], by=make_user("bob"))
    assert (compared(service).only_version, compared(service).only_shadow) == (0, 1)


def test_an_image_that_was_sent_twice_counts_once(opened) -> None:
    service = opened[0]
    first = call(opened, "red")
    call(opened, "red")
    work_off()
    feedback.record_verdict(CollectedCall.objects.get(pk=first["request_id"]), True, [], by="bob")
    found = compared(service)
    assert (found.judged, found.unjudged, found.counts.images) == (1, 0, 2)


def test_images_that_a_version_was_trained_on_are_left_out(
    opened, rival: TrainingVersion, alice: Client
) -> None:
    service = opened[0]
    for truth in ("red", "red"):
        answered(service, "red", "blue", truth)
    page = text(alice.get(at("service_monitoring", service)))
    assert "The training images of a version could not be read" in page and compared(service).judged == 2
    call(opened, "red")
    work_off()
    train_on(service.training_version)
    train_on(rival, colour_picture("red", size=(40, 30)))
    found = compared(service)
    assert (found.judged, found.trained, found.unjudged, found.knows_training) == (2, 1, 0, True)
    page = text(alice.get(at("service_monitoring", service)))
    assert "Not counted: 1 image that one of the versions was trained on." in page


# --- the page -----


def test_the_page_shows_figures_pictures_and_sentence(opened, alice: Client, vera: Client) -> None:
    service = opened[0]
    for seed, colour in enumerate(("red", "green", "blue", "green")):
        call(opened, colour, seed)
    work_off()
    page = alice.get(at("service_monitoring", service))
    assert "Shadow version V002" in text(page) and "50.0 %" in text(page)
    assert "Use the shadow version" in text(page) and "Which is right?" in text(page)
    assert html_of(page).count("mistake-picture") == 2
    assert "No image has a known label." in text(page)
    polled = text(alice.get(at("service_monitoring", service), headers={"HX-Request": "true"}))
    assert "Shadow version V002" in polled and "Which is right?" not in polled  # an open form is kept
    seen = text(vera.get(at("service_monitoring", service)))
    assert "Shadow version V002" in seen
    assert "Use the shadow version" not in seen and "Which is right?" not in seen


@pytest.mark.parametrize(("is_shadow_right", "verdict"), [(False, "right"), (True, "wrong")])
def test_choosing_the_right_answer_judges_both(
    opened, bob: Client, rival: TrainingVersion, is_shadow_right: bool, verdict: str
) -> None:
    service = opened[0]
    answer = call(opened, "red")
    work_off()
    chosen = rival if is_shadow_right else service.training_version
    address = at("judge_call", service, answer["request_id"])
    assert bob.post(address, {"right_version": chosen.pk, "label": ""}).status_code == 200
    kept = CollectedCall.objects.get(pk=answer["request_id"])
    assert kept.verdict == verdict and kept.true_labels == ["blue" if is_shadow_right else "red"]
    found = compared(service)
    assert (found.only_version, found.only_shadow) == (1 - is_shadow_right, int(is_shadow_right))


def test_a_version_that_did_not_answer_cannot_be_right(opened, bob: Client) -> None:
    answer = call(opened[0:2], "red")
    work_off()
    response = bob.post(at("judge_call", opened[0], answer["request_id"]), {"right_version": "99"})
    assert response.status_code == 422 and "Press Right or Wrong." in text(response)
    assert CollectedCall.objects.get(pk=answer["request_id"]).verdict == ""


def test_the_shadow_is_used_by_the_change_of_version(opened, rival: TrainingVersion, alice: Client) -> None:
    service = opened[0]
    alice.post(at("end_trial", service), {"keep": "1"})
    service.refresh_from_db()
    assert service.next_version == rival and service.training_version.name == "V001"
    rollout.change_over(str(service.pk))
    service.refresh_from_db()
    assert (service.training_version, service.canary_version) == (rival, None)


def test_stopping_the_shadow_asks_and_keeps_what_it_predicted(opened, alice: Client, bob: Client) -> None:
    service = opened[0]
    call(opened, "red")
    work_off()
    question = text(alice.get(at("end_trial", service)))
    assert "Stop the shadow version V002?" in question
    assert bob.get(at("end_trial", service)).status_code == 403
    assert bob.post(at("end_trial", service), {"keep": "0"}).status_code == 403
    service.refresh_from_db()
    assert service.has_shadow
    assert alice.post(at("end_trial", service), {"keep": "0"}).url == at("service_monitoring", service)
    service.refresh_from_db()
    assert service.canary_version is None
    page = text(alice.get(at("service_monitoring", service)))
    assert "Shadow version V002 Stopped." in page and "Add a shadow version" in page
    assert "Use the shadow version" not in page and ShadowCount.objects.count() == 1
    assert alice.get(at("end_trial", service)).status_code in (302, 303)


def test_a_canary_is_tested_on_the_same_calls(opened, rival: TrainingVersion, alice: Client) -> None:
    service = opened[0]
    rollout.end_canary(service, make_user("alice"))
    add_second(service, rival, percent=40)
    for seed in range(4):
        call(opened, "red", seed)
    work_off()
    assert compared(service).counts.images == 4
    page = text(alice.get(at("service_monitoring", service)))
    assert "Canary version V002" in page and "End the canary" in page and "Send all calls to V002" in page


def test_a_service_without_a_second_version_says_nothing_of_shadows(
    version: TrainingVersion, alice: Client
) -> None:
    service = deploy.deploy(version, make_user("alice"), 1)[0]
    deploy.bring_up(str(service.pk))
    page = text(alice.get(at("service_monitoring", service)))
    assert compare_shadow(service) is None and "hadow" not in page


# --- the form -----


def test_a_shadow_is_chosen_in_the_dialog(
    version: TrainingVersion, rival: TrainingVersion, alice: Client
) -> None:
    service = deploy.deploy(version, make_user("alice"), 1)[0]
    refused = alice.post(at("change_version", service), {"change-version": rival.pk, "change-share": "none"})
    assert refused.status_code == 422
    assert "A shadow version can be added only while the service is Running." in text(refused)
    deploy.bring_up(str(service.pk))
    assert "data-open-now" in html_of(alice.get(at("service_page", service) + "?change=none"))
    wrong = alice.post(at("change_version", service), {"change-version": rival.pk, "change-share": "some"})
    assert wrong.status_code == 422 and "Choose all calls, a share or none." in text(wrong)
    assert (
        alice.post(
            at("change_version", service), {"change-version": rival.pk, "change-share": "none"}
        ).status_code
        == 303
    )
    service.refresh_from_db()
    assert (service.next_version, service.next_percent) == (rival, 0)
    assert "to be the shadow version" in text(alice.get(at("service_page", service)))
    rollout.change_over(str(service.pk))
    service.refresh_from_db()
    assert service.has_shadow and service.main_percent == 100
    assert "shadow version V002" in text(alice.get(at("service_page", service)))


def test_the_label_told_for_an_image_of_the_project_needs_no_verdict(opened) -> None:
    """An image that was labeled in Label Data, and is sent to the service, is judged by its label."""
    service = opened[0]
    file = SimpleUploadedFile("red.png", colour_picture("red", size=(40, 30)))
    image = upload.add_images(service.project, [file], make_user("bob"))[0].image
    actions.apply(
        service.project, [image.pk], add=[service.project.labels.get(name="red")], by=make_user("bob")
    )
    call(opened, "red")
    work_off()
    assert (compared(service).judged, compared(service).only_version) == (1, 1)
