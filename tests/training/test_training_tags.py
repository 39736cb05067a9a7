"""The step bar, the Train button and the summaries that other pages show."""

from __future__ import annotations

import pytest
from django.template import Context, Template
from django.utils import timezone

from projects.context import Frame
from projects.models import Project, Role
from tests.factories import make_project, make_version
from training.models import Service, Status, TrainingVersion

pytestmark = pytest.mark.django_db


def render(text: str, **context: object) -> str:
    context.setdefault("frame", Frame(role=Role.MANAGER))
    return Template("{% load format_tags training_tags %}" + text).render(Context(context))


def steps_of(project: Project) -> str:
    return render("{% step_bar project active='train' %}", project=project)


def test_a_new_project_waits_at_every_step() -> None:
    html = steps_of(make_project(labels=0))

    assert html.count("step-waiting") == 3
    assert html.count('aria-current="page"') == 1


def test_label_data_is_done_when_the_project_can_be_trained() -> None:
    html = steps_of(make_project(labels=2, images=5))

    assert html.count("step-done") == 1
    assert 'Label Data<span class="visually-hidden">, done' in html


def test_train_model_is_active_while_a_version_runs_and_done_when_one_is_completed() -> None:
    project = make_project()
    version = make_version(project, 1, Status.RUNNING)
    assert "step-active" in steps_of(project)

    TrainingVersion.objects.filter(pk=version.pk).update(status=Status.COMPLETED, finished_at=timezone.now())

    assert steps_of(project).count("step-done") == 2


def test_deploy_service_is_done_while_a_service_runs() -> None:
    project = make_project()
    version = make_version(project, 1, Status.COMPLETED)
    Service.objects.create(project=project, training_version=version, name="s", status=Service.Status.RUNNING)

    assert steps_of(project).count("step-done") == 3


def test_the_train_button_opens_the_configuration_for_a_ready_project() -> None:
    html = render("{% train_button project %}", project=make_project(labels=2, images=5))

    assert "train-model/configure/" in html
    assert "disabled" not in html


def test_the_train_button_says_what_is_missing() -> None:
    html = render("{% train_button project %}", project=make_project(labels=1, images=5))

    assert "disabled" in html
    assert "What is missing" in html


def test_who_may_not_train_sees_no_train_button() -> None:
    project = make_project()

    html = render("{% train_button project %}", project=project, frame=Frame(role=Role.VIEWER))

    assert "Train" not in html


def test_summaries_count_versions_and_keep_the_accuracy_of_the_newest_completed_one() -> None:
    trained, new = make_project("trained"), make_project("new")
    make_version(trained, 1, Status.COMPLETED, accuracy=0.9)
    make_version(trained, 2, Status.COMPLETED, accuracy=0.8)
    make_version(trained, 3, Status.FAILED)
    text = (
        "{% training_summaries projects as all %}{% for p in projects %}{% with s=all|of_project:p %}"
        "{{ s.versions }} {{ s.latest_name }} {{ s.latest_status }} {{ s.accuracy|percent }};"
        "{% endwith %}{% endfor %}"
    )

    assert render(text, projects=[trained, new]) == "3 V003 Failed 80.0 %;0   --;"


def test_summaries_ask_the_database_once(django_assert_num_queries: object) -> None:
    projects = [make_project(f"p{n}", labels=0) for n in range(5)]

    with django_assert_num_queries(1):
        render("{% training_summaries projects as all %}", projects=projects)


def test_steps_and_button_ask_for_readiness_once(django_assert_max_num_queries: object) -> None:
    project = make_project()

    with django_assert_max_num_queries(13):
        render("{% step_bar project %}{% train_button project %}", project=project)
