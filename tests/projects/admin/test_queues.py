"""The pages of queues and jobs: who may see and empty them, and under which policy they run."""

from __future__ import annotations

import re

import django_rq
import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.test import Client
from redis import Redis
from rq import Queue


def staff(*permissions: str) -> Client:
    user = User.objects.create_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def waiting(redis: Redis) -> Queue:
    """A queue with a job, which the first of django-rq's queues is."""
    name = min(settings.RQ_QUEUES)
    queue = Queue(name, connection=django_rq.get_connection(name))
    queue.enqueue("time.sleep", 1)
    return queue


@pytest.mark.django_db
@pytest.mark.parametrize("root", ["/admin/rq/", "/admin/django_rq/dashboard/"])
def test_staff_without_the_permission_neither_sees_nor_empties_queues(waiting: Queue, root: str) -> None:
    client = staff("view_project")
    for path in ("", "queues/0/", "queues/0/details/", f"queues/0/{waiting.job_ids[0]}/", "workers/0/"):
        assert client.get(root + path, follow=True).status_code in (403, 404), path
    for path in ("empty/", "requeue-all/", "failed/clear/", f"{waiting.job_ids[0]}/delete/"):
        assert client.post(f"{root}queues/0/{path}", {"post": "yes"}).status_code in (403, 404), path
    actions = {"action": "delete", "_selected_action": waiting.job_ids, "job_ids": waiting.job_ids}
    assert client.post(f"{root}queues/actions/0/", actions).status_code in (403, 404)
    assert waiting.count == 1


@pytest.mark.django_db
def test_staff_with_the_permission_sees_and_empties_queues(waiting: Queue) -> None:
    client = staff("admin")
    assert client.get("/admin/django_rq/dashboard/", follow=True).redirect_chain == [("/admin/rq/", 302)]
    assert waiting.job_ids[0] in client.get("/admin/rq/queues/0/").content.decode()
    client.post("/admin/rq/queues/0/empty/", {"post": "yes"})
    assert waiting.count == 0


@pytest.mark.django_db
def test_the_operators_pages_have_a_policy_that_runs_no_script_within_a_page(admin_client: Client) -> None:
    policy = admin_client.get("/admin/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy


@pytest.mark.django_db
def test_the_pages_of_queues_run_no_script_within_them_either(admin_client: Client, waiting: Queue) -> None:
    policy = admin_client.get("/admin/rq/queues/0/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "script-src" not in policy
    assert "style-src 'self' 'unsafe-inline'" in policy


@pytest.mark.django_db
@pytest.mark.parametrize(
    "page",
    [
        "",
        "workers/0/",
        "queues/0/",
        "queues/0/finished/",
        "queues/0/failed/",
        "queues/0/scheduled/",
        "queues/0/started/",
        "queues/0/deferred/",
    ],
)
def test_the_pages_of_queues_hold_no_script_that_the_policy_refuses(
    admin_client: Client, waiting: Queue, page: str
) -> None:
    answer = admin_client.get(f"/admin/rq/{page}")
    scripts = re.findall(r"<script[^>]*>", answer.content.decode())
    assert answer.status_code == 200 and scripts
    assert [tag for tag in scripts if "src=" not in tag and 'type="application/json"' not in tag] == []
