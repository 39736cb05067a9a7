"""The lists of the admin, grouped by what operators look for."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst, slugify

GROUPS: dict[str, tuple[str, ...]] = {
    "Teams and people": (
        "auth.User",
        "projects.Team",
        "projects.Membership",
        "projects.Invitation",
        "projects.ServiceAccount",
        "projects.AccessToken",
        "mfa.Authenticator",
        "socialaccount.SocialAccount",
        "usersessions.UserSession",
        "projects.FailedAttempts",
        "projects.InitialPassword",
        "projects.ChosenLanguage",
        "projects.HiddenGuide",
        "projects.MutedNotice",
        "projects.TeamQuota",
        "auth.Group",
    ),
    "Projects and images": (
        "projects.Project",
        "projects.Image",
        "projects.Label",
        "projects.Annotation",
        "projects.DatasetVersion",
        "projects.LabelEvent",
        "projects.LabelEventImage",
        "projects.Transfer",
        "projects.RejectedFile",
        "projects.DataSource",
        "projects.MetadataColumn",
        "projects.MetadataValue",
        "projects.Assignment",
        "projects.Presence",
        "projects.Opinion",
        "projects.Prediction",
        "projects.RejectedSuggestion",
        "projects.Embedding",
        "projects.DuplicateKey",
    ),
    "Trainings": (
        "training.TrainingVersion",
        "training.InstanceFlavor",
        "training.Candidate",
        "training.Metric",
        "training.Curve",
        "training.EvaluatedImage",
        "training.LaterPrediction",
        "training.VersionEvaluation",
        "training.SelectedImage",
    ),
    "Services": (
        "training.Service",
        "training.ServiceEvent",
        "training.ServiceToken",
        "training.Batch",
        "training.CallMinute",
        "training.CollectedCall",
        "training.ShadowCount",
        "training.ShadowAnswer",
    ),
    "Operation": (
        "projects.Machine",
        "projects.Backup",
        "django_rq.Dashboard",
        "projects.AuditEvent",
        "projects.Usage",
        "projects.IdempotentCall",
        "projects.Webhook",
        "projects.WebhookDelivery",
        "projects.RaisedAlarm",
        "projects.MailNotice",
    ),
}
# Names of lists in place of Django's, which adds an s to the name of the model.
PLURALS = {
    "training.Batch": "batches",
    "training.CallMinute": "calls per minute",
    "training.ShadowCount": "shadow comparisons",
    "projects.InitialPassword": "passwords to be changed",
    "projects.ChosenLanguage": "languages of people",
    "projects.HiddenGuide": "closed guides",
    "projects.LabelEvent": "actions on labels",
    "projects.LabelEventImage": "images of actions",
    "projects.Presence": "people on project pages",
    "projects.Opinion": "second opinions",
    "projects.Transfer": "imports",
    "projects.RejectedFile": "rejected files of imports",
    "projects.RaisedAlarm": "alarms that are on",
    "projects.WebhookDelivery": "webhook deliveries",
    "django_rq.Dashboard": "queues and jobs",
}


def name_lists() -> None:
    """Give models the names of PLURALS, which in their `Meta` would need migrations of no table."""
    for label, plural in PLURALS.items():
        apps.get_model(label)._meta.verbose_name_plural = plural


def get_app_list(request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
    """As Django's, grouped by GROUPS; what stands in none belongs to the last one."""
    listed = AdminSite.get_app_list(admin.site, request, app_label)
    if app_label:
        return listed
    models = {f"{app['app_label']}.{each['object_name']}": each for app in listed for each in app["models"]}
    groups = {
        title: [models.pop(label) for label in labels if label in models] for title, labels in GROUPS.items()
    }
    groups["Operation"] += models.values()
    return [_group(title, lists) for title, lists in groups.items() if lists]


def _group(title: str, lists: list[dict[str, Any]]) -> dict[str, Any]:
    slug = slugify(title)
    return {
        "name": title,
        "app_label": slug,
        "app_url": f"{reverse('admin:index')}#{slug}",
        "has_module_perms": True,
        "models": [{**each, "name": capfirst(each["name"])} for each in lists],
    }
