"""Access to every URL of the product, requested as every role.

The test reads the URLconf, so new views are tested without a change here. Each view has an access decorator
(projects.access); a view without one fails. A new kind of URL argument needs an object in `World`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from django.utils.http import urlsafe_base64_encode

from exeml_site.lib import storage
from exeml_site.lib.http import Access
from projects.datasets.publish import publish
from projects.models import (
    AccessToken,
    DatasetVersion,
    LabelEvent,
    Membership,
    MetadataColumn,
    Project,
    Role,
    ServiceAccount,
    Transfer,
)
from projects.sign_in import access_tokens, service_accounts
from projects.sign_in.invitations import invite
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import colour_picture
from training.models import (
    Batch,
    CollectedCall,
    EvaluatedImage,
    Service,
    Status,
    TrainingVersion,
    VersionEvaluation,
)
from training.views.versions import CHARTS

pytestmark = pytest.mark.slow

# Django's admin, django_rq below it; the API has a test of its own (tests/training/api/test_access.py)
NOT_OURS = ("admin/", "static/", "api/v1/")
PEOPLE = {Role.VIEWER: "vera", Role.LABELER: "bob", Role.REVIEWER: "rita", Role.MANAGER: "alice"}
LOWER = {Role.LABELER: "vera", Role.REVIEWER: "bob", Role.MANAGER: "rita"}


@dataclass(frozen=True)
class Address:
    route: str
    pattern: URLPattern

    @property
    def access(self) -> Access:
        return self.pattern.callback.access

    @property
    def arguments(self) -> list[str]:
        return list(self.pattern.pattern.converters)


def walk(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[Address]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith(NOT_OURS):
            continue
        if isinstance(pattern, URLResolver):
            yield from walk(pattern.url_patterns, route)
        else:
            yield Address(route, pattern)


ADDRESSES = list(walk(get_resolver().url_patterns))
MARKED = [
    address for address in ADDRESSES if isinstance(getattr(address.pattern.callback, "access", None), Access)
]
CLOSED = [address for address in MARKED if address.access.kind != "public"]
OF_A_TEAM = [address for address in MARKED if address.access.kind in ("team", "project")]
OF_OPERATORS = [address for address in MARKED if address.access.kind == "operator"]
ROLE_NEEDED = [address for address in OF_A_TEAM if address.access.role in LOWER]


def each(addresses: list[Address]) -> Any:
    return pytest.mark.parametrize(
        "address", addresses, ids=lambda address: address.pattern.name or address.route
    )


class World:
    """One object for every kind of URL argument."""

    def __init__(self) -> None:
        self.project = make_project("flowers", images=1, with_files=True)
        self.chart = next(iter(CHARTS))
        self.version = make_version(self.project, 1, Status.COMPLETED, accuracy=0.9)
        rita = make_user("rita")
        Membership.objects.create(team=self.project.team, user=rita, role=Role.REVIEWER)
        default_storage.save(f"{self.version.folder}/charts/{self.chart}.svg", ContentFile(b"<svg/>"))

    def argument(self, name: str) -> object:
        image = self.project.images.first()
        arguments = {
            "project_id": lambda: self.project.pk,
            "team_id": lambda: self.project.team_id,
            "user_id": lambda: make_user("bob").pk,
            "image_id": lambda: image.pk,
            "sha256": lambda: image.sha256,
            "label_id": lambda: self.project.labels.first().pk,
            "column_id": lambda: (
                MetadataColumn.objects.get_or_create(project=self.project, name="person")[0].pk
            ),
            "event_id": lambda: self._event().pk,
            "transfer_id": lambda: self._transfer().pk,
            "file": lambda: 0 if "transfer" in self.asked else "results.csv",
            "part": lambda: 0,
            "dataset_name": self._dataset_name,
            "evaluated_id": lambda: self._evaluated().pk,
            "number": lambda: self.version.number,
            "place": self._candidate_place,
            "name": lambda: self.chart,
            "service_id": lambda: self.service.pk,
            "token_id": lambda: self.service.tokens.create(name="x", token_hash=uuid4().hex, hint="x").pk,
            "access_token_id": lambda: self._token(make_user("alice")).pk,
            "account_id": lambda: self.account.pk,
            "account_token_id": lambda: self._token(self.account.user).pk,
            "call_id": self._call,
            "batch_id": lambda: self._batch().pk,
            "evaluation_id": lambda: self._evaluation().pk,
            "selected_id": lambda: self._evaluation().images.get().pk,
            "line": lambda: 0,
            "key_id": lambda: (
                Authenticator.objects.create(user=make_user("alice"), type="webauthn", data={}).pk
            ),
            "session_id": lambda: self._session().pk,
            "uidb64": lambda: urlsafe_base64_encode(str(make_user("bob").pk).encode()),
            "token": lambda: invite(self.project.team, Role.VIEWER, 7, make_user("alice"))[1],
            "invitation_id": lambda: invite(self.project.team, Role.VIEWER, 7, make_user("alice"))[0].pk,
        }
        if name not in arguments:
            pytest.fail(f"An address has the argument “{name}”: give tests/test_access.py an object for it.")
        return arguments[name]()

    def url(self, address: Address) -> str:
        self.asked = address.route
        arguments = {name: self.argument(name) for name in address.arguments}
        return reverse(address.pattern.name, kwargs=arguments)

    def _dataset_name(self) -> str:
        version, _ = DatasetVersion.objects.get_or_create(
            project=self.project, name="published", defaults={"training_ratio": "0.8"}
        )
        publish(version)
        return version.name

    def _key(self) -> Authenticator:
        """A security key that nobody can use."""
        return Authenticator.objects.create(
            user=make_user("alice"), type=Authenticator.Type.WEBAUTHN, data={}
        )

    @property
    def account(self) -> ServiceAccount:
        team, alice = self.project.team, make_user("alice")
        account = team.service_accounts.alive().first()
        return account or service_accounts.create(team, "robot", Role.LABELER, by=alice)

    def _token(self, owner: User) -> AccessToken:
        return access_tokens.create(owner, uuid4().hex, [], by=owner)[0]

    def _session(self) -> UserSession:
        session, _ = UserSession.objects.get_or_create(
            session_key="x", defaults={"user": make_user("alice"), "ip": "192.0.2.1"}
        )
        return session

    def _evaluated(self) -> EvaluatedImage:
        """An image evaluated by the version, without a model."""
        evaluated, _ = EvaluatedImage.objects.get_or_create(
            training_version=self.version,
            image=self.project.images.first(),
            defaults={
                "truth": ["label-0"],
                "predicted": ["label-1"],
                "scores": [0.2, 0.8],
                "confidence": 0.8,
                "is_correct": False,
            },
        )
        return evaluated

    def _evaluation(self) -> VersionEvaluation:
        """A completed evaluation of one image, without a model."""
        evaluation, is_new = VersionEvaluation.objects.get_or_create(
            training_version=self.version,
            source=self.project,
            defaults={"status": "Completed", "name": "All", "shown_at": timezone.now()},
        )
        if is_new:
            fields = {"truth": ["label-0"], "predicted": ["label-1"], "scores": [0.2, 0.8], "confidence": 0.8}
            evaluation.images.create(image=self.project.images.first(), is_correct=False, **fields)
        return evaluation

    def _candidate_place(self) -> int:
        """A candidate that was not chosen, without weights."""
        self.version.candidates.get_or_create(
            place=1, defaults={"network": "lite0", "resolution": 224, "recipe": "linear head"}
        )
        return 1

    def _event(self) -> LabelEvent:
        return LabelEvent.objects.create(project=self.project, kind=LabelEvent.Kind.LABEL)

    def _transfer(self) -> Transfer:
        return Transfer.objects.create(
            project=self.project,
            kind=Transfer.Kind.ZIP,
            status=Transfer.Status.COMPLETED,
            file_name="flowers.zip",
            options={"files": []},
        )

    @cached_property
    def service(self) -> Service:
        return Service.objects.create(
            project=self.project,
            training_version=self.version,
            name="exeML-flowers-V001",
            status=Service.Status.RUNNING,
        )

    def _batch(self) -> Batch:
        """A completed batch with results."""
        batch = Batch.objects.create(
            service=self.service, training_version=self.version, name="a.zip", status=Batch.Status.COMPLETED
        )
        line = json.dumps({"source": "a.jpg", "result": "FAILED", "error_message": "no picture"})
        storage.save_whole(f"{batch.folder}/results.jsonl", f"{line}\n".encode())
        storage.save_whole(batch.picture_name(0), b"a thumbnail")
        return batch

    def _call(self) -> UUID:
        """A collected call with its picture."""
        name = f"services/{uuid4()}"
        default_storage.save(name, ContentFile(colour_picture("red")))
        call = CollectedCall(
            id=uuid4(), service=self.service, training_version=self.version, file_name=name, confidence=1
        )
        call.save()
        return call.pk


@pytest.fixture(scope="module")
def untouched_world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Rows in a transaction around all tests of this file; each test rolls back to them."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield World()
        transaction.set_rollback(True)


@pytest.fixture
def world(untouched_world: World, db: None) -> World:
    return copy(untouched_world)


def browser(person: str) -> Client:
    client = Client()
    client.force_login(make_user(person))
    return client


def owner(address: Address) -> Client:
    """A client with exactly the role that the view needs."""
    if address.access.kind == "operator":
        client = Client()
        client.force_login(make_user("operator", is_staff=True, is_superuser=True))
        return client
    return browser(PEOPLE[address.access.role or Role.MANAGER])


def test_every_view_says_who_may_see_it() -> None:
    unmarked = [address.route for address in ADDRESSES if address not in MARKED]
    assert unmarked == [], (
        "mark them with projects.access: @project_page(role), @team_page(role), @signed_in, @public"
    )


def test_every_address_has_a_name() -> None:
    assert [address.route for address in ADDRESSES if not address.pattern.name] == []


def test_what_belongs_to_a_team_is_marked_so() -> None:
    loose = [
        address.route
        for address in MARKED
        if {"project_id", "team_id"} & set(address.arguments)
        and address.access.kind not in ("team", "project")
    ]
    assert loose == []


@each(CLOSED)
def test_who_may_gets_an_answer(address: Address, world: World) -> None:
    answer = owner(address).get(world.url(address))
    assert answer.status_code in (200, 302, 303, 405, 422), answer.status_code


@each(ROLE_NEEDED)
def test_a_lower_role_is_refused_whatever_the_verb(address: Address, world: World) -> None:
    client = browser(LOWER[address.access.role])
    url = world.url(address)
    assert client.get(url).status_code == 403
    assert client.post(url).status_code == 403


@each(OF_OPERATORS)
def test_only_operators_are_admitted(address: Address, world: World) -> None:
    client, url = browser("alice"), world.url(address)
    assert client.get(url).status_code == 403
    assert client.post(url).status_code == 403


@each(OF_A_TEAM)
def test_a_stranger_finds_nothing_whatever_the_verb(address: Address, world: World) -> None:
    client, url = browser("mallory"), world.url(address)
    assert client.get(url).status_code == 404
    assert client.post(url).status_code == 404


@each(CLOSED)
def test_a_visitor_is_sent_to_sign_in_and_back(address: Address, world: World) -> None:
    client, url = Client(), world.url(address)
    for answer in (client.get(url), client.post(url)):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(f"/sign-in/?next={url}")


@each(CLOSED)
def test_a_swap_of_a_visitor_becomes_the_sign_in_page(address: Address, world: World) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/projects/"}
    answer = Client().get(world.url(address), headers=headers)
    assert answer.headers["HX-Redirect"] == "/sign-in/?next=/projects/"


@each(CLOSED)
def test_a_wrong_verb_is_refused(address: Address, world: World) -> None:
    client, url = owner(address), world.url(address)
    for verb in ("put", "patch", "delete"):
        assert getattr(client, verb)(url).status_code == 405, verb


@each(OF_A_TEAM)
def test_what_was_deleted_is_gone_for_everybody(address: Address, world: World) -> None:
    if address.access.kind != "project":
        return
    url = world.url(address)
    Project.objects.update(deleted_at=timezone.now())
    assert owner(address).get(url).status_code == 404


@each([address for address in OF_A_TEAM if "number" in address.arguments])
def test_a_version_that_was_deleted_is_gone(address: Address, world: World) -> None:
    url = world.url(address)
    TrainingVersion.objects.update(deleted_at=timezone.now())
    client = owner(address)
    answers = {client.get(url).status_code, client.post(url).status_code}
    assert 404 in answers and answers <= {404, 405}


@each([address for address in OF_A_TEAM if set(address.arguments) - {"project_id", "team_id", "name"}])
def test_nothing_of_one_project_is_reached_through_another(address: Address, world: World) -> None:
    """Mallory may open her own project and team, but not Alice's image, label or service through them."""
    url = world.url(address)
    team = make_user("mallory").memberships.get().team
    own = make_project("own", team=team, labels=0)
    # Keys are given again after a rollback, but files of an earlier project with this key are still stored.
    storage.delete_folder(f"thumbnails/{own.pk}")
    url = url.replace(f"/projects/{world.project.pk}/", f"/projects/{own.pk}/")
    url = url.replace(f"/teams/{world.project.team_id}/", f"/teams/{team.pk}/")
    client = browser("mallory")
    answers = {client.get(url).status_code, client.post(url).status_code}
    assert 404 in answers and answers <= {404, 405}


@each(CLOSED)
def test_back_gets_a_whole_page_where_a_page_lives(address: Address, world: World) -> None:
    client, url = owner(address), world.url(address)
    answer = client.get(url)
    if answer.status_code != 200 or answer.streaming or b"<html" not in answer.content:
        return
    restored = client.get(url, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert restored.status_code == 200 and b"<html" in restored.content
