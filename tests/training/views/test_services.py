"""The Deploy Service page: what it shows, what its buttons do, and who may press them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from exeml_site.lib.display import date_text
from projects.models import Project
from projects.workspace.secret_token import Token
from tests.factories import make_project, make_user, make_version
from tests.pages import html_of
from tests.training.bundles import colour_picture
from training.models import CallMinute, Service, Status, TrainingVersion
from training.serving import deploy as service_deploy
from training.serving import playground
from training.serving.calls import counters
from training.serving.inference import predictor

HTMX = {"HX-Request": "true"}


@pytest.fixture
def service(version: TrainingVersion) -> Service:
    """Running."""
    service, _ = service_deploy.deploy(version, make_user("alice"), 1)
    service_deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    return service


def at(name: str, service: Service) -> str:
    return reverse(name, args=[service.project_id, service.pk])


def room(project: Project) -> str:
    return reverse("deploy_service", args=[project.pk])


def text(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html_of(response)))


def deploy(client: Client, project: Project, **fields: object) -> HttpResponse:
    version = project.training_versions.first()
    data = {"version": version and version.pk, "auto_stop": "on", "stops_after": "1"} | fields
    data = {name: value for name, value in data.items() if value is not None}
    return client.post(reverse("deploy_version", args=[project.pk]), data)


# --- the page -----


def test_without_a_completed_version_the_page_sends_to_train_model(alice: Client, project: Project) -> None:
    make_version(project, status=Status.RUNNING)
    page = alice.get(room(project))
    assert page.status_code == 200 and "Train a model first" in text(page)
    assert b"deploy-dialog" not in page.content


def test_with_a_completed_version_the_empty_page_offers_deploy(
    alice: Client, vera: Client, version: TrainingVersion
) -> None:
    page = alice.get(room(version.project))
    assert "Deploy a version" in text(page)
    assert page.content.count(b'data-dialog-open="deploy-dialog"') == 1
    assert b'data-dialog-open="deploy-dialog"' not in vera.get(room(version.project)).content


def test_the_newest_of_versions_without_common_images_is_chosen_and_a_link_chooses_another(
    alice: Client, project: Project
) -> None:
    """A higher accuracy on other images is no reason; versions with common images: test_best_version."""
    for number, accuracy in ((1, 0.9), (2, 0.95), (3, 0.91)):
        make_version(project, number, Status.COMPLETED, accuracy=accuracy)
    page = text(alice.get(room(project)))
    assert "V003 · accuracy 91.0 % on its own images · not compared V002 · accuracy 95.0 %" in page
    chosen = re.search(r'<option value="\d+" selected>(V\d+)', html_of(alice.get(room(project))))
    assert chosen and chosen[1] == "V003"
    linked = html_of(alice.get(room(project), {"version": "2"}))
    assert re.search(r'<option value="\d+" selected>V002', linked) and "data-open-now" in linked


def test_a_link_to_a_version_that_is_not_there_chooses_the_best(
    alice: Client, version: TrainingVersion
) -> None:
    page = html_of(alice.get(room(version.project), {"version": "x' or 1"}))
    assert re.search(r'<option value="\d+" selected>V001', page)


def test_the_page_shows_state_countdown_calls_address_and_events(vera: Client, service: Service) -> None:
    Service.objects.update(calls=1204, failed_calls=3)
    page = vera.get(room(service.project))
    page_text = text(page)
    for word in ("exeML-flowers-V001", "Running", "stops in 1 hour", "3 / 1,204", "Auto Stop in 1 hour."):
        assert word in page_text
    assert f"http://testserver/v1/infers/{service.pk}" in page_text
    token = service.tokens.get()
    assert f"first token created {date_text(token.created_at)} by alice {token.hint} never" in page_text
    assert token.token_hash not in html_of(page)


def test_viewers_see_no_buttons_that_change_something(alice: Client, vera: Client, service: Service) -> None:
    for name in ("stop_service", "delete_service", "make_token", "deploy_version"):
        address = (
            at(name, service) if name != "deploy_version" else reverse(name, args=[service.project_id])
        ).encode()
        assert address in alice.get(at("service_page", service)).content
        assert address not in vera.get(at("service_page", service)).content


def test_the_number_of_queries_does_not_grow_with_the_services(
    alice: Client, service: Service, django_assert_max_num_queries
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        alice.get(at("service_page", service))
    for _ in range(8):
        service_deploy.deploy(service.training_version, make_user("alice"), 1)
    with django_assert_max_num_queries(len(queries)):
        alice.get(at("service_page", service))


def test_the_status_is_asked_for_until_nothing_changes_any_more(alice: Client, service: Service) -> None:
    def trigger() -> str:
        fragment = html_of(alice.get(at("service_status", service), headers=HTMX))
        match = re.search(r'hx-trigger="([^"]*)"', fragment)
        return match[1] if match else ""

    assert trigger() == "every 30s"
    Service.objects.update(status="Deploying")
    assert trigger() == "every 2s"
    Service.objects.update(status="Stopped")
    assert trigger() == ""
    Service.objects.update(status="Failed", failure_cause="The model cannot be loaded.")
    assert trigger() == ""


def test_the_status_fragment_brings_cards_events_and_the_prediction_button(
    vera: Client, service: Service
) -> None:
    response = vera.get(at("service_status", service), headers=HTMX)
    for part in ("service-cards", "service-events", "prediction-action"):
        assert re.search(rf'id="{part}"[^>]* hx-swap-oob="true"', html_of(response))
    assert b"<html" not in response.content and "no-store" in response["Cache-Control"]


def test_a_failed_service_shows_the_cause(vera: Client, service: Service) -> None:
    Service.objects.update(
        status="Failed", failure_cause="The model cannot be loaded. Its files are missing."
    )
    assert "Its files are missing." in text(vera.get(at("service_page", service)))


# --- Deploy -----


def test_deploying_shows_the_token_once(
    alice: Client, version: TrainingVersion, django_capture_on_commit_callbacks
) -> None:
    page = deploy(alice, version.project)
    service = Service.objects.get()
    token = re.search(r'id="token-text"[^>]*>([^<]+)<', html_of(page))
    assert page.status_code == 200 and token and Token(token[1]).hash == service.tokens.get().token_hash
    assert f"X-Auth-Token: {token[1]}" in html_of(page).replace("&#x27;", "'")
    assert "no-store" in page["Cache-Control"]
    again = html_of(alice.get(at("service_page", service)))
    assert token[1] not in again


@pytest.mark.parametrize(
    ("fields", "hours"),
    [
        ({}, 1),
        ({"stops_after": "6"}, 6),
        ({"stops_after": "custom", "custom_hours": "24"}, 24),
        ({"stops_after": "custom", "custom_hours": "1"}, 1),
        ({"auto_stop": None}, None),
        ({"auto_stop": None, "stops_after": None}, None),
    ],
)
def test_auto_stop(alice: Client, version: TrainingVersion, fields: dict, hours: int | None) -> None:
    assert deploy(alice, version.project, **fields).status_code == 200
    assert Service.objects.get().auto_stop_hours == hours


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"version": None}, "Choose the version to deploy."),
        ({"version": "999999"}, "This version is not Completed, or it was deleted."),
        ({"version": "x"}, "This version is not Completed, or it was deleted."),
        ({"stops_after": "3"}, "Choose one of the times, or Custom."),
        ({"stops_after": None}, "Choose one of the times, or Custom."),
        ({"stops_after": "custom"}, "Enter a whole number of hours from 1 to 24."),
        ({"stops_after": "custom", "custom_hours": "0"}, "Enter a whole number of hours from 1 to 24."),
        ({"stops_after": "custom", "custom_hours": "25"}, "Enter a whole number of hours from 1 to 24."),
        ({"stops_after": "custom", "custom_hours": "1.5"}, "Enter a whole number of hours from 1 to 24."),
    ],
)
def test_what_cannot_be_deployed_is_said_at_the_field(
    alice: Client, version: TrainingVersion, fields: dict, sentence: str
) -> None:
    page = deploy(alice, version.project, **fields)
    assert page.status_code == 422 and sentence in text(page) and b"data-open-now" in page.content
    assert html_of(page).count('class="field-error"') == 1
    assert not Service.objects.exists()


def test_an_unfinished_version_and_one_of_another_project_are_refused(
    alice: Client, version: TrainingVersion
) -> None:
    running = make_version(version.project, 2, Status.RUNNING)
    elsewhere = make_version(make_project("other"), 1, Status.COMPLETED)
    for wrong in (running, elsewhere):
        assert deploy(alice, version.project, version=wrong.pk).status_code == 422
    assert not Service.objects.exists()


def test_the_limit_of_the_team_is_said_in_the_dialog(
    alice: Client, version: TrainingVersion, settings
) -> None:
    settings.EXEML_MAX_SERVICES_PER_TEAM = 1
    deploy(alice, version.project)
    page = deploy(alice, version.project)
    assert page.status_code == 422 and "at most 1 service at a time" in text(page)
    assert Service.objects.count() == 1


def test_pressing_deploy_twice_makes_one_service(alice: Client, version: TrainingVersion) -> None:
    service_id = uuid4()
    deploy(alice, version.project, service_id=service_id)
    again = deploy(alice, version.project, service_id=service_id)
    assert Service.objects.get().pk == service_id
    assert (again.status_code, again["Location"]) == (303, at("service_page", Service.objects.get()))


def test_the_id_of_another_projects_service_is_not_taken(alice: Client, service: Service) -> None:
    other = make_version(make_project("other"), 1, Status.COMPLETED).project
    assert deploy(alice, other, service_id=service.pk).status_code == 200
    assert other.services.get().pk != service.pk


# --- Stop, Start, Delete, New token -----


def test_stop_and_start_answer_with_the_new_state(alice: Client, service: Service) -> None:
    stopped = alice.post(at("stop_service", service), headers=HTMX)
    assert "data-start" in html_of(stopped) and "Stopped." in text(stopped)
    assert "Possible only while the service is Running." in text(stopped)
    started = alice.post(at("start_service", service), headers=HTMX)
    assert "Deploying" in text(started) and 'hx-trigger="every 2s"' in html_of(started)
    service.refresh_from_db()
    assert service.status == "Deploying"


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [(0, "No calls in the last hour."), (1, "1 call in the last hour."), (1200, "1,200 calls in the last")],
)
@pytest.mark.parametrize("action", ["stop", "delete"])
def test_stop_and_delete_ask_first_and_tell_the_calls_of_the_last_hour(
    action: str, calls: int, sentence: str, alice: Client, service: Service
) -> None:
    for minutes, count in ((5, calls), (90, 7)):
        minute = timezone.now() - timedelta(minutes=minutes)
        CallMinute.objects.create(
            service=service,
            training_version=service.training_version,
            minute=minute,
            process=uuid4(),
            calls=count,
        )
    name = f"{action}_service"
    question = alice.get(at(name, service), headers=HTMX)
    assert sentence in text(question) and f"{action.title()} exeML-flowers-V001?" in text(question)
    assert b"<html" not in question.content and b"<html" in alice.get(at(name, service)).content
    service.refresh_from_db()
    assert service.status == "Running" and service.deleted_at is None


def test_without_htmx_the_buttons_lead_back_to_the_page(alice: Client, service: Service) -> None:
    for name in ("stop_service", "start_service"):
        answer = alice.post(at(name, service))
        assert (answer.status_code, answer["Location"]) == (303, at("service_page", service))


def test_deleting_leads_to_the_page_without_it(alice: Client, service: Service) -> None:
    answer = alice.post(at("delete_service", service))
    assert (answer.status_code, answer["Location"]) == (303, room(service.project))
    page = alice.get(answer["Location"])
    assert "exeML-flowers-V001 was deleted." in text(page) and "Deploy a version" in text(page)
    assert alice.get(at("service_page", service)).status_code == 404
    service.refresh_from_db()
    assert service.deleted_at is not None


def shown_token(answer: HttpResponse) -> str:
    match = re.search(r'id="token-text"[^>]*>([^<]+)<', html_of(answer))
    assert match and "no-store" in answer["Cache-Control"]
    return match[1]


def test_a_new_token_is_shown_once_and_the_first_goes_on(alice: Client, service: Service) -> None:
    answer = alice.post(at("make_token", service), {"token-name": "shop"}, headers=HTMX)
    made = service.tokens.get(name="shop")
    assert Token(shown_token(answer)).hash == made.token_hash
    assert service.tokens.filter(revoked_at=None).count() == 2
    again = html_of(alice.get(at("service_page", service)))
    assert shown_token(answer) not in again and f"<code>{made.hint}</code>" in again


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "Give the token a name"),
        ("x" * 65, "Use at most 64 characters; these are 65."),
        ("FIRST token", "already has a token “FIRST token”"),
    ],
)
def test_a_token_needs_a_name_of_its_own(alice: Client, service: Service, name: str, sentence: str) -> None:
    answer = alice.post(at("make_token", service), {"token-name": name}, headers=HTMX)
    assert answer.status_code == 422 and sentence in text(answer)
    assert service.tokens.count() == 1


def test_rotating_and_revoking_end_a_token_at_once(alice: Client, service: Service) -> None:
    first = service.tokens.get()
    rotate = reverse("rotate_token", args=[service.project_id, service.pk, first.pk])
    plain = shown_token(alice.post(rotate, headers=HTMX))
    second = service.tokens.get(revoked_at=None)
    assert (second.name, second.token_hash) == ("first token", Token(plain).hash)
    assert 'id="token-text"' not in html_of(alice.post(rotate, headers=HTMX))  # pressed twice
    revoke = reverse("revoke_token", args=[service.project_id, service.pk, second.pk])
    assert "it has no token" in text(alice.post(revoke, headers=HTMX))
    assert not service.tokens.filter(revoked_at=None).exists()


# --- the test -----


def predict(client: Client, service: Service, content: bytes | None, **kwargs: object) -> HttpResponse:
    data = {} if content is None else {"image": SimpleUploadedFile("photo.png", content)}
    return client.post(at("predict_with_service", service), data, headers=HTMX, **kwargs)


@pytest.mark.parametrize("who", ["alice", "bob", "vera"])
def test_every_member_may_test(who: str, service: Service, request: pytest.FixtureRequest) -> None:
    answer = predict(request.getfixturevalue(who), service, colour_picture("blue"))
    assert answer.status_code == 200 and "Predicted label by V001 blue" in text(answer)
    assert answer.content.count(b"<meter") == 5 and "&quot;predicted_label&quot;: &quot;blue&quot;," in text(
        answer
    )
    counters.flush()
    service.refresh_from_db()
    assert (service.failed_calls, service.calls) == (0, 1)


def unknown_answer(**fields: Any) -> predictor.Answer:
    scores = (("daisy", 0.41), ("roses", 0.3))
    return predictor.Answer(scores, ("daisy",), False, is_known=False, version="V001", **fields)


def test_an_unknown_image_is_unknown_first_and_its_closest_label_second(service: Service) -> None:
    answer = unknown_answer(request_id=uuid4())
    context = {
        "project": service.project,
        "service": service,
        "answer": answer,
        "request": RequestFactory().get("/"),
    }
    page = render_to_string("services/_prediction.html", context)
    assert re.search(r'<strong class="predicted-label">Unknown</strong>', page)
    assert re.sub(r"\s+", " ", page).count("closest: daisy 41.0 %") == 1
    several = [playground.TestedImage("a.png", answer), playground.TestedImage("b.png", answer)]
    listed = re.sub(
        r"\s+",
        " ",
        render_to_string("services/_prediction.html", context | {"tested": several, "answer": None}),
    )
    assert listed.count('<strong class="cut"> Unknown </strong>') == 2
    assert listed.count("closest: daisy 41.0 %") == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "Choose an image first."),
        (b"", "This file is empty. Choose another image."),
        (b"hello", "This is not a picture."),
        (bytes(1024 * 1024 + 1), "The image is larger than 1 MB. Choose a smaller one."),
    ],
)
def test_what_cannot_be_predicted_is_said_at_the_picture(
    vera: Client, service: Service, content: bytes | None, sentence: str, settings
) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    answer = predict(vera, service, content)
    assert answer.status_code == 422 and sentence in text(answer)
    assert answer["HX-Retarget"] == "#prediction-error"


def test_prediction_needs_a_running_service(bob: Client, service: Service) -> None:
    Service.objects.update(stops_at=timezone.now() - timedelta(seconds=1))
    answer = predict(bob, service, colour_picture("blue"))
    assert answer.status_code == 422
    assert text(answer).strip() == "Prediction is possible only while the service is Running."


# --- who may -----

READS = ["service_page", "service_status"]
DEEDS = ["stop_service", "start_service", "delete_service", "make_token"]


def test_strangers_learn_nothing(mallory: Client, service: Service) -> None:
    assert mallory.get(room(service.project)).status_code == 404
    assert deploy(mallory, service.project).status_code == 404
    assert {mallory.get(at(name, service)).status_code for name in READS} == {404}
    assert {mallory.post(at(name, service)).status_code for name in DEEDS} == {404}
    assert predict(mallory, service, colour_picture("red")).status_code == 404


def test_labelers_and_viewers_change_nothing(bob: Client, vera: Client, service: Service) -> None:
    for client in (bob, vera):
        assert deploy(client, service.project).status_code == 403
        assert {client.post(at(name, service)).status_code for name in DEEDS} == {403}
    service.refresh_from_db()
    assert service.status == "Running" and Service.objects.count() == 1


def test_visitors_are_sent_to_sign_in(service: Service) -> None:
    visitor = Client()
    for answer in (visitor.get(room(service.project)), visitor.post(at("stop_service", service))):
        assert answer.status_code == 302 and reverse("sign_in") in answer["Location"]


def test_wrong_verbs(alice: Client, service: Service) -> None:
    posts = ["start_service", "make_token", "predict_with_service"]
    assert {alice.get(at(name, service)).status_code for name in posts} == {405}
    assert {alice.post(at(name, service)).status_code for name in READS} == {405}


def test_a_service_is_found_only_in_its_own_project(alice: Client, service: Service) -> None:
    other = make_project("other")
    assert alice.get(reverse("service_page", args=[other.pk, service.pk])).status_code == 404
    assert alice.post(reverse("delete_service", args=[other.pk, service.pk])).status_code == 404
