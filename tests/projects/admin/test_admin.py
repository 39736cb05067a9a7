"""Admin: a constant number of queries, read-only rows, and actions that call the functions of the pages."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import django_rq
import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from projects.models import (
    AccessToken,
    Assignment,
    Backup,
    ChosenLanguage,
    DatasetVersion,
    DataSource,
    DuplicateKey,
    Embedding,
    FailedAttempts,
    HiddenGuide,
    IdempotentCall,
    Image,
    InitialPassword,
    LabelEvent,
    LabelEventImage,
    Machine,
    MailNotice,
    Membership,
    MetadataColumn,
    MetadataValue,
    MutedNotice,
    Opinion,
    Prediction,
    Presence,
    Project,
    RaisedAlarm,
    RejectedFile,
    RejectedSuggestion,
    Role,
    ServiceAccount,
    Team,
    TeamQuota,
    Transfer,
    Usage,
    Webhook,
)
from projects.sign_in import access_tokens, service_accounts
from projects.workspace import lifecycle
from tests.factories import PASSWORD, make_image, make_project, make_team, make_user, make_version
from training.models import (
    Batch,
    CallMinute,
    Candidate,
    CollectedCall,
    Curve,
    EvaluatedImage,
    LaterPrediction,
    SelectedImage,
    Service,
    ServiceEvent,
    ServiceToken,
    ShadowAnswer,
    ShadowCount,
    Status,
    TrainingVersion,
    VersionEvaluation,
)

pytestmark = pytest.mark.slow

OURS = [*apps.get_app_config("projects").get_models(), *apps.get_app_config("training").get_models()]
KEPT = [
    "annotation",
    "candidate",
    "datasetversion",
    "evaluatedimage",
    "image",
    "label",
    "labelevent",
    "metric",
    "service",
    "serviceevent",
    "trainingversion",
    "webhook",
    "webhookdelivery",
]


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password=PASSWORD))
    return client


def address(model: Any, page: str = "changelist", *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def fill(project: Project, seed: int) -> None:
    """Create one row of every model."""
    image = make_image(project, seed, project.labels.all()[:1])
    version = make_version(project, seed, Status.COMPLETED, accuracy=0.9)
    event = LabelEvent.objects.create(project=project, kind="label", by=project.created_by)
    LabelEventImage.objects.create(event=event, image=image)
    DuplicateKey.objects.create(image=image, pixels=bytes(3072))
    Embedding.objects.create(image=image, network="lite0", sketch=b"\0" * 64, vector=b"\0" * 2560)
    RejectedSuggestion.objects.create(image=image, label=project.labels.get(), by=project.created_by)
    Assignment.objects.create(image=image, user=project.created_by)
    person = make_user(f"person-{seed}")
    Backup.objects.create(path=f"/backups/{seed}.tar", host="alpha", started_at=timezone.now())
    Usage.objects.create(
        month="2026-11-01",
        kind="calls",
        source=f"service {seed}",
        project_id=project.pk,
        measured_at=event.at,
    )
    TeamQuota.objects.create(team=Team.objects.create(name=f"Team {seed}"), max_cost=10)
    MailNotice.objects.create(user=person, kind="training", source=f"training {seed}", project=project)
    MutedNotice.objects.create(user=person, kind="training")
    Presence.objects.create(project=project, user=person, seen_at=timezone.now())
    Opinion.objects.create(image=image, by=project.created_by)
    other = make_project(f"other-{seed}", labels=0)
    DataSource.objects.create(project=other, address="/pictures")
    transfer = Transfer.objects.create(project=project, kind="zip", by=project.created_by)
    Prediction.objects.create(image=image, version="x", scores=[["roses", 0.9]])
    RejectedFile.objects.create(transfer=transfer, name="a.gif", reason="This is a GIF picture.")
    Candidate.objects.create(training_version=version, network="lite0", resolution=224, recipe="linear head")
    evaluated = {"truth": ["a"], "predicted": ["a"], "scores": [1], "confidence": 1, "is_correct": True}
    EvaluatedImage.objects.create(training_version=version, image=image, **evaluated)
    evaluation = VersionEvaluation.objects.create(
        training_version=version, source=project, name=f"Test {seed}", created_by=person
    )
    SelectedImage.objects.create(evaluation=evaluation, image=image, **evaluated)
    LaterPrediction.objects.create(training_version=version, image=image, predicted=["daisy"])
    Curve.objects.create(training_version=version, kind=Curve.Kind.COVERAGE, points=[[1, 1]])
    service = Service.objects.create(project=project, training_version=version, name=f"s{seed}")
    ServiceEvent.objects.create(service=service, message="Deployed.")
    ServiceToken.objects.create(service=service, name="shop", token_hash=f"{seed:064x}", hint="abcd")
    minute = timezone.now().replace(second=0, microsecond=0)
    CallMinute.objects.create(service=service, training_version=version, minute=minute, process=uuid4())
    Batch.objects.create(service=service, training_version=version, name="a.zip", created_by=person)
    CollectedCall.objects.create(
        id=uuid4(), service=service, training_version=version, file_name="x", sha256="0", confidence=0.5
    )
    pair = {"service": service, "training_version": version, "shadow_version": version}
    ShadowCount.objects.create(**pair, images=3, agreed=2)
    ShadowAnswer.objects.create(id=uuid4(), **pair, score=0.5, shadow_score=0.5, agrees=True)
    column = MetadataColumn.objects.create(project=project, name=f"person {seed}")
    MetadataValue.objects.create(image=image, column=column, value="anna")
    Membership.objects.create(team=project.team, user=person, role=Role.VIEWER)
    ChosenLanguage.objects.create(user=person, code="de")
    InitialPassword.objects.create(user=person)
    project.team.invitations.create(token_hash=str(seed), invited_by=person, expires_at=timezone.now())
    HiddenGuide.objects.create(user=person)
    access_tokens.create(person, "cron", ["label"], by=person)
    service_accounts.create(project.team, f"robot {seed}", Role.LABELER, by=person)
    IdempotentCall.objects.create(user=person, key=f"k{seed}", fingerprint="x", status=200, answer={"a": 1})
    Machine.objects.create(
        host=f"host-{seed}", data_folder="/srv", started_at=timezone.now(), seen_at=timezone.now()
    )
    RaisedAlarm.objects.create(project=project, event="service.drift", subject=str(seed))
    webhook = Webhook.objects.create(
        team=project.team, project=project, url="https://hooks.example.org/", secret="hidden secret"
    )
    webhook.deliveries.create(event="webhook.test", body="{}")
    kind, ends_at = FailedAttempts.Kind.ADDRESS, timezone.now()
    FailedAttempts.objects.create(kind=kind, key=str(seed), who="192.0.2.1", count=5, ends_at=ends_at)


def test_every_model_of_ours_is_registered() -> None:
    assert [model for model in OURS if not admin.site.is_registered(model)] == []


def test_every_list_costs_the_same_for_one_row_and_for_many(
    operator: Client, subtests: pytest.Subtests
) -> None:
    project = make_project(labels=1, images=1)
    fill(project, 101)

    def price(model: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(address(model)).status_code == 200
        return len(queries)

    prices = {}
    for model in [*OURS, User]:
        with subtests.test(model._meta.model_name):
            price(model)
            prices[model] = price(model)
    for seed in range(102, 110):
        fill(project, seed)
    for model, of_one_row in prices.items():
        with subtests.test(model._meta.model_name):
            assert price(model) <= of_one_row, "a list asks once more for every row"


def test_every_list_can_be_searched_and_every_row_opened(operator: Client, subtests: pytest.Subtests) -> None:
    fill(make_project(labels=1, images=1), 101)
    for model in [*OURS, User]:
        with subtests.test(model._meta.model_name):
            assert operator.get(address(model), {"q": "flowers"}).status_code == 200
            answer = operator.get(address(model, "change", model._default_manager.first().pk))
            assert answer.status_code == 200
            assert "token_hash" not in answer.content.decode()
            assert "hidden secret" not in answer.content.decode()


def test_json_is_shown_as_tables(operator: Client) -> None:
    fill(make_project(labels=1, images=1), 101)
    progress = {"used_s": 276.4, "charts": ["confusion-matrix"], "curve": [[4, 0.5], [276, 0.94]]}
    TrainingVersion.objects.update(progress=progress, seconds_by_phase={"heads": 12.3, "<b>": 1})
    version = TrainingVersion.objects.first()
    html = operator.get(address(TrainingVersion, "change", version.pk)).content.decode()
    assert '<tr><th scope="row">used_s</th><td>276.4</td></tr>' in html
    assert "<tr><td>276</td><td>0.94</td></tr>" in html and "<td>confusion-matrix</td>" in html
    assert '<th scope="row">&lt;b&gt;</th>' in html
    assert "&quot;used_s" not in html and "[[" not in html
    evaluated = operator.get(address(EvaluatedImage)).content.decode()
    assert '<td class="field-truth_table">a</td>' in evaluated and "[&quot;a" not in evaluated


def test_the_admin_shows_times_in_iso_8601(operator: Client) -> None:
    fill(make_project(labels=1, images=1), 101)
    moment = TrainingVersion.objects.first().submitted_at
    assert f"{moment:%Y-%m-%d %H:%M:%S}" in operator.get(address(TrainingVersion)).content.decode()


def test_what_is_kept_is_neither_added_changed_nor_deleted(
    operator: Client, subtests: pytest.Subtests
) -> None:
    fill(make_project(labels=1, images=1), 101)
    by_name = {model._meta.model_name: model for model in OURS}
    for name in KEPT:
        with subtests.test(name):
            model = by_name[name]
            row = model._default_manager.first()
            assert operator.get(address(model, "add")).status_code == 403
            assert operator.post(address(model, "change", row.pk), {"name": "x"}).status_code == 403
            assert operator.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
            assert model._default_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("path", ["/admin/", "/admin/projects/project/", "/admin/rq/"])
def test_only_staff_enters(client: Client, alice: Client, operator: Client, path: str) -> None:
    operator.raise_request_exception = False  # without Redis the page of queues says so
    assert operator.get(path).status_code == (503 if path == "/admin/rq/" else 200)
    assert client.get(path).status_code == 302
    assert alice.get(path, follow=True).status_code == 403


def test_operators_sign_in_on_the_products_page(client: Client) -> None:
    answer = client.get("/admin/projects/team/", follow=True)
    assert answer.redirect_chain[-1][0].startswith("/sign-in/?next=/admin/projects/team/")


def test_operators_change_their_password_on_the_products_page(operator: Client) -> None:
    assert operator.post("/admin/password_change/").headers["Location"] == "/password/"


@pytest.mark.parametrize("by", ["adding", "setting"])
def test_a_password_that_an_operator_gives_has_to_be_changed(operator: Client, by: str) -> None:
    if by == "adding":
        fields = {"username": "nina", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        inlines = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
        assert operator.post(address(User, "add"), fields | inlines).status_code == 302
    else:
        nina = make_user("nina")
        fields = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        assert operator.post(f"/admin/auth/user/{nina.pk}/password/", fields).status_code == 302
    assert InitialPassword.objects.get().user.username == "nina"


@pytest.mark.parametrize("page", ["add", "password"])
@pytest.mark.parametrize(
    ("password", "again", "field", "message"),
    [
        ("short", "short", "password1", "too short"),
        (PASSWORD, PASSWORD + "?", "password2", "match"),
    ],
)
def test_what_is_wrong_with_a_password_stands_at_its_field(
    operator: Client, page: str, password: str, again: str, field: str, message: str
) -> None:
    path = address(User, "add") if page == "add" else f"/admin/auth/user/{make_user('nina').pk}/password/"
    fields = {"username": "otto", "usable_password": "true", "password1": password, "password2": again}
    inlines = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}

    answer = operator.post(path, fields | inlines)

    form = answer.context["adminform"].form if page == "add" else answer.context["form"]
    assert list(form.errors) == [field] and message in str(form.errors[field])


@pytest.mark.filterwarnings("error::django.core.paginator.UnorderedObjectListWarning")
def test_a_field_that_completes_teams_lists_them_by_name(operator: Client) -> None:
    for name in ("Zoo", "Farm"):
        make_team(name)
    field = {"app_label": "projects", "model_name": "membership", "field_name": "team"}

    answer = operator.get("/admin/autocomplete/", field).json()

    assert [team["text"] for team in answer["results"]] == ["Farm", "Strangers", "Zoo"]


def test_the_index_leads_to_the_queues(operator: Client) -> None:
    html = operator.get("/admin/").content.decode()
    assert "exeml operators" in html and "/admin/django_rq/" in html


def run(client: Client, model: Any, action: str, *rows: Any) -> str:
    answer = client.post(
        address(model), {"action": action, "_selected_action": [row.pk for row in rows]}, follow=True
    )
    return answer.content.decode()


def test_an_operator_restores_a_deleted_project(operator: Client) -> None:
    project = make_project("flowers")
    lifecycle.delete_project(project, by=make_user("alice"))
    assert "flowers" in operator.get(address(Project), {"deleted": "yes"}).content.decode()
    assert "Restored: flowers." in run(operator, Project, "restore", project)
    project.refresh_from_db()
    assert project.deleted_at is None


def test_a_taken_name_stops_the_restore_until_one_of_the_two_is_renamed(operator: Client) -> None:
    gone = make_project("flowers")
    lifecycle.delete_project(gone, by=make_user("alice"))
    here = make_project("flowers")
    assert "has another project of this name" in run(operator, Project, "restore", gone)
    taken = operator.post(address(Project, "change", here.pk), {"name": "1", "description": ""})
    assert "starting with a letter" in taken.content.decode()
    operator.post(address(Project, "change", gone.pk), {"name": "old-flowers", "description": ""})
    assert "Restored: old-flowers." in run(operator, Project, "restore", gone)
    operator.post(address(Project, "change", gone.pk), {"name": "FLOWERS", "description": ""})
    gone.refresh_from_db()
    assert gone.name == "old-flowers"


def test_a_deleted_project_is_purged_by_a_worker_after_a_question(
    operator: Client, redis: Any, settings: Any
) -> None:
    settings.JOBS = {**settings.JOBS, "purge_project": "projects.workspace.purge.purge"}
    project, kept = make_project("flowers"), make_project("kept")
    lifecycle.delete_project(project, by=make_user("alice"))
    assert "Nothing brings them back." in run(operator, Project, "purge", project, kept)
    confirmed = {"action": "purge", "_selected_action": [project.pk, kept.pk], "confirmed": "yes"}
    html = operator.post(address(Project), confirmed, follow=True).content.decode()
    assert "A worker is purging: flowers." in html and "Not deleted, so kept: kept." in html
    queue = django_rq.get_queue("imports")
    assert queue.job_ids == [f"purge_project-{project.pk}"]


def test_an_operator_deletes_a_project_only_when_nothing_of_it_runs(operator: Client) -> None:
    project = make_project("flowers")
    version = make_version(project, 1, Status.RUNNING)
    assert "V001 is Running" in run(operator, Project, "delete", project)
    TrainingVersion.objects.filter(pk=version.pk).update(status=Status.FAILED, finished_at=version.started_at)
    assert "Deleted: flowers." in run(operator, Project, "delete", project)
    project.refresh_from_db()
    assert project.deleted_by == User.objects.get(username="operator")


def test_images_show_their_thumbnails_and_are_restored_with_history(operator: Client) -> None:
    project = make_project(labels=1, images=2, with_files=True)
    first, second = project.images.all()
    Image.objects.update(deleted_at=project.created_at)
    assert f"/admin/projects/image/{first.pk}/thumbnail/" in operator.get(address(Image)).content.decode()
    picture = operator.get(f"/admin/projects/image/{first.pk}/thumbnail/")
    assert picture["Content-Type"] == "image/webp" and picture.getvalue()[:4] == b"RIFF"
    assert "Restored: 2 images." in run(operator, Image, "restore", first, second)
    assert project.images.alive().count() == 2
    assert LabelEvent.objects.get().kind == LabelEvent.Kind.RESTORE_IMAGES


def test_a_thumbnail_that_is_not_there_is_404(operator: Client) -> None:
    image = make_image(make_project(labels=0), 54_321)
    assert operator.get(f"/admin/projects/image/{image.pk}/thumbnail/").status_code == 404
    assert operator.get("/admin/projects/image/0/thumbnail/").status_code == 404


@pytest.mark.django_db
def test_staff_that_may_only_look_gets_no_actions_and_no_pictures_of_others(client: Client) -> None:
    image = make_image(make_project(labels=0), 1)
    client.force_login(make_user("looker", is_staff=True))
    assert client.get(address(Image)).status_code == 403
    assert client.get(f"/admin/projects/image/{image.pk}/thumbnail/").status_code == 403


def members_form(team: Team, *rows: dict[str, object]) -> dict[str, object]:
    fields: dict[str, object] = {
        "name": team.name,
        "memberships-TOTAL_FORMS": len(rows),
        "memberships-INITIAL_FORMS": sum("id" in row for row in rows),
    }
    for n, row in enumerate(rows):
        fields |= {f"memberships-{n}-{key}": value for key, value in row.items()}
    return fields


def test_an_operator_revokes_tokens_and_deletes_service_accounts(operator: Client) -> None:
    team, bob = make_team(), make_user("bob")
    tokens = [access_tokens.create(bob, name, [], by=bob)[0] for name in ("first", "second", "third")]
    html = run(operator, AccessToken, "revoke", tokens[0])
    assert "Revoked: first of bob." in html
    assert "1 had been revoked before." in run(operator, AccessToken, "revoke", tokens[0])
    listed = operator.get(address(AccessToken), {"valid": "yes"}).content.decode()
    assert "second" in listed and ">first<" not in listed
    assert "Access tokens revoked: 2." in run(operator, User, "revoke_tokens", bob)
    assert not AccessToken.objects.valid().exists()
    account = service_accounts.create(team, "nightly", Role.LABELER, by=bob)
    access_tokens.create(account.user, "cron", [], by=bob)
    assert "Deleted: nightly (Greenhouse)." in run(operator, ServiceAccount, "end", account)
    assert not AccessToken.objects.valid().exists() and not account.user.memberships.exists()
    assert "1 had been deleted before." in run(operator, ServiceAccount, "end", account)


@pytest.mark.parametrize("revokes", [True, False])
def test_a_new_password_by_an_operator_revokes_tokens_if_wanted(operator: Client, revokes: bool) -> None:
    bob = make_user("bob")
    path = f"/admin/auth/user/{bob.pk}/password/"
    assert "revoke_tokens" not in operator.get(path).content.decode()
    access_tokens.create(bob, "cron", [], by=bob)
    assert "Access tokens stay valid unless they are revoked." in operator.get(path).content.decode()
    fields = {"usable_password": "true", "password1": PASSWORD + "2", "password2": PASSWORD + "2"}
    answer = operator.post(path, fields | ({"revoke_tokens": "on"} if revokes else {}))
    assert answer.status_code == 302
    assert AccessToken.objects.valid().exists() != revokes


def test_a_service_account_gets_no_password_and_no_other_team(operator: Client) -> None:
    team = make_team()
    account = service_accounts.create(team, "nightly", Role.MANAGER, by=make_user("alice"))
    user = account.user
    assert operator.get(address(User, "change", user.pk)).status_code == 200
    assert operator.post(address(User, "change", user.pk), {"username": "x"}).status_code == 403
    assert operator.get(f"/admin/auth/user/{user.pk}/password/").status_code == 403
    others = Team.objects.get(name="Strangers")
    mallory = others.memberships.get()
    row = {"id": mallory.pk, "user": mallory.user_id, "role": 30}
    answer = operator.post(
        address(Team, "change", others.pk), members_form(others, row, {"user": user.pk, "role": 10})
    )
    assert "a member of its team alone" in answer.content.decode()
    own = user.memberships.get()
    alice = team.memberships.get(user__username="alice")
    rows = [
        {"id": alice.pk, "user": alice.user_id, "role": 30},
        {"id": own.pk, "user": user.pk, "role": 30, "DELETE": "on"},
    ]
    answer = operator.post(address(Team, "change", team.pk), members_form(team, *rows))
    assert "Delete it instead" in answer.content.decode() and user.memberships.count() == 1


def test_a_service_account_is_no_manager_in_the_place_of_a_person(operator: Client) -> None:
    team = make_team()
    own = service_accounts.create(team, "nightly", Role.MANAGER, by=make_user("alice")).user.memberships.get()
    alice = team.memberships.get(user__username="alice")
    rows = [
        {"id": alice.pk, "user": alice.user_id, "role": 10},
        {"id": own.pk, "user": own.user_id, "role": 30},
    ]
    answer = operator.post(address(Team, "change", team.pk), members_form(team, *rows))
    assert "at least one Manager" in answer.content.decode()


def test_an_operator_creates_a_team_with_its_manager(operator: Client) -> None:
    dora = make_user("dora")
    lone = members_form(Team(name="Orchard"), {"user": dora.pk, "role": 20})
    assert "at least one Manager" in operator.post(address(Team, "add"), lone).content.decode()
    operator.post(address(Team, "add"), members_form(Team(name="Orchard"), {"user": dora.pk, "role": 30}))
    assert Team.objects.get(name="Orchard").memberships.get().role == Role.MANAGER


def test_the_page_of_a_person_cannot_take_the_last_manager_from_a_team(operator: Client) -> None:
    team = make_team()
    alice = make_user("alice")
    membership = team.memberships.get(user=alice)
    fields = {
        "username": "alice",
        "is_active": "on",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "memberships-TOTAL_FORMS": 1,
        "memberships-INITIAL_FORMS": 1,
        "memberships-0-id": membership.pk,
        "memberships-0-user": alice.pk,
        "memberships-0-team": team.pk,
        "memberships-0-role": 10,
    }
    answer = operator.post(address(User, "change", alice.pk), fields)
    assert "A team needs at least one Manager" in answer.content.decode()
    membership.refresh_from_db()
    assert membership.role == Role.MANAGER


def test_a_published_dataset_version_opens_with_its_counts(operator: Client) -> None:
    project = make_project()
    version = DatasetVersion.objects.create(
        project=project, name="V009", training_ratio="0.8", counts={"daisy": {"TRAIN": 8, "EVAL": 2}}
    )
    assert "daisy" in operator.get(address(DatasetVersion, "change", version.pk)).content.decode()
