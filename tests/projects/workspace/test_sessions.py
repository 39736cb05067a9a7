"""Sessions that have expired are deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from projects.workspace import sessions


@pytest.mark.django_db
def test_expired_sessions_are_deleted_and_the_others_stay(alice: Client, bob: Client) -> None:
    key = alice.session.session_key
    Session.objects.filter(pk=key).update(expire_date=timezone.now() - timedelta(seconds=1))

    sessions.clear_expired()

    assert list(Session.objects.values_list("pk", flat=True)) == [bob.session.session_key]
