"""Forms of webhooks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.models import Project, Team, Webhook, WebhookEvent
from projects.webhooks.addresses import MAX_LENGTH

CHOSEN = [(event.value, event.label) for event in WebhookEvent if event != WebhookEvent.TEST]


class WebhookForm(forms.Form):
    """Where a webhook leads, and which events it is told."""

    url = BoundedTextField(
        label=gettext_lazy("URL"),
        max_length=MAX_LENGTH,
        widget=forms.URLInput(
            attrs={"autocomplete": "off", "placeholder": "https://hooks.example.org/exeml"}
        ),
        error_messages={"required": gettext_lazy("Enter the URL that receives the events.")},
    )
    events = forms.MultipleChoiceField(
        label=gettext_lazy("Events"),
        choices=CHOSEN,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one event.")},
    )


class CreateWebhookForm(WebhookForm):
    project = forms.ChoiceField(label=gettext_lazy("Project"), required=False)
    field_order = ["url", "project", "events"]

    def __init__(self, *args: Any, team: Team, **options: Any) -> None:
        options["initial"] = {"events": [value for value, _ in CHOSEN]} | options.get("initial", {})
        super().__init__(*args, **options)
        self.projects = {str(project.pk): project for project in team.projects.alive().order_by("name")}
        self.fields["project"].choices = [  # type: ignore[attr-defined]
            ("", gettext_lazy("All projects of the team")),
            *((key, project.name) for key, project in self.projects.items()),
        ]

    def clean_project(self) -> Project | None:
        return self.projects.get(self.cleaned_data["project"])


def filled_form(webhook: Webhook) -> WebhookForm:
    return WebhookForm(initial={"url": webhook.url, "events": webhook.events})
