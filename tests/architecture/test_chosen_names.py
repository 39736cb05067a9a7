"""Names that people choose, rendered by every page: they stay text, whatever they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.db import models, transaction

from projects.models import AccessToken, DataSource, Image, Label, Project, ServiceAccount, Team, Transfer
from tests.architecture.test_access import ADDRESSES, Address, World, browser
from tests.factories import make_user
from training.models import (
    Batch,
    CollectedCall,
    EvaluatedImage,
    InstanceFlavor,
    Service,
    ServiceEvent,
    ServiceToken,
    TrainingVersion,
)

NAME = "\"'></script><i id=x>{{7*7}}{%x%}`${x}"
RAW = (b"<i id=x>", b"\"'></script>", b"49}")
CHOSEN: dict[type[models.Model], tuple[str, ...]] = {
    Team: ("name",),
    Project: ("name", "description"),
    User: ("username", "first_name", "last_name", "email"),
    Label: ("name",),
    Image: ("name", "source"),
    Transfer: ("file_name", "problem"),
    DataSource: ("address",),
    TrainingVersion: ("title", "note", "failure_cause", "model_name"),
    Service: ("name", "failure_cause"),
    ServiceEvent: ("message",),
    ServiceToken: ("name",),
    AccessToken: ("name",),
    ServiceAccount: ("name",),
    Batch: ("name",),
    InstanceFlavor: ("name",),
}
LISTS = {EvaluatedImage: ("truth", "predicted"), CollectedCall: ("predicted", "true_labels")}


def fit(model: type[models.Model], name: str, number: int) -> str:
    """The name, made unique, in the length of the column."""
    limit = model._meta.get_field(name).max_length or 500
    return f"{number}{NAME}"[:limit]


def rename_all() -> None:
    """Give every row that a person can name a hostile name, past all forms."""
    for model, names in CHOSEN.items():
        columns = {field.name for field in model._meta.get_fields()}
        for row in model._default_manager.all():
            values = {name: fit(model, name, row.pk) for name in names if name in columns}
            model._default_manager.filter(pk=row.pk).update(**values)
    for model, names in LISTS.items():
        model._default_manager.update(**{name: [NAME] for name in names})


@pytest.fixture(scope="module")
def named(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[Address, str]]:
    """The addresses of a world whose names are all hostile."""
    with django_db_blocker.unblock(), transaction.atomic():
        world = World()
        urls = {address: world.url(address) for address in ADDRESSES if address.pattern.name != "api_unknown"
                and address.access.kind in ("team", "project", "signed-in")}  # fmt: skip
        world.service.tokens.create(name="x", token_hash="0" * 64, hint="x")
        world.service.events.create(message="x")
        DataSource.objects.create(project=world.project, address="/x")
        alice, vera = make_user("alice").pk, make_user("vera").pk
        world.project.images.update(uploaded_by=vera)
        Authenticator.objects.update(user=vera)  # no browser made this key, so no page can ask for it
        rename_all()
        yield {"alice": alice, **urls}  # type: ignore[dict-item]
        transaction.set_rollback(True)


def test_every_column_of_a_chosen_name_is_there() -> None:
    missing = [
        f"{model.__name__}.{name}"
        for model, names in CHOSEN.items()
        for name in names
        if name not in {field.name for field in model._meta.get_fields()}
    ]
    assert missing == []


@pytest.mark.django_db
def test_no_page_renders_a_name_as_anything_but_text(named: dict[Any, Any]) -> None:
    client = browser("alice")
    client.force_login(User.objects.get(pk=named["alice"]))
    seen = 0
    for address, url in named.items():
        if isinstance(address, str):
            continue
        answer = client.get(url)
        body = b"".join(answer.streaming_content) if answer.streaming else answer.content
        assert answer.status_code < 500, url
        if "html" in answer.get("Content-Type", ""):
            seen += b"7*7" in body
            assert not [raw for raw in RAW if raw in body], url
    assert seen > 20, "pages that show a chosen name"
