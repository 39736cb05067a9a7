"""The filters of the audit log."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext_lazy

from exeml_site.lib.fields import BoundedTextField, IdField
from exeml_site.lib.params import parse_date
from projects.models import AuditEvent, AuditKind
from projects.models.records.audit import AuditQuerySet


class DayField(forms.DateField):
    """A day as browsers send it, within the bounds of the database."""

    widget = forms.DateInput(attrs={"type": "date", "class": "input"})

    def to_python(self, value: Any) -> date | None:
        day = parse_date(value)
        if value and day is None:
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return day


def _text(label: Any, max_length: int) -> BoundedTextField:
    widget = forms.TextInput(attrs={"class": "input", "autocomplete": "off"})
    return BoundedTextField(label=label, max_length=max_length, required=False, widget=widget)


class AuditFilterForm(forms.Form):
    person = _text(gettext_lazy("Person"), 150)
    kind = forms.ChoiceField(
        label=gettext_lazy("What"), required=False, widget=forms.Select(attrs={"class": "input"})
    )
    project = _text(gettext_lazy("Project"), 32)
    team = _text(gettext_lazy("Team"), 64)
    since = DayField(label=gettext_lazy("From"), required=False)
    until = DayField(label=gettext_lazy("To"), required=False)
    before = IdField(required=False, widget=forms.HiddenInput)  # events older than this one

    def __init__(self, *args: Any, of_one_team: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["kind"].choices = [("", gettext_lazy("Everything")), *AuditKind.choices]  # type: ignore[attr-defined]
        if of_one_team:
            del self.fields["team"]

    def events(self) -> AuditQuerySet:
        """The events that the filters let pass, the newest first."""
        given = {name: value for name, value in self.cleaned_data.items() if value}
        events = AuditEvent.objects.all()
        for name, column in {"person": "user_name", "project": "project_name", "team": "team_name"}.items():
            if name in given:
                events = events.filter(**{f"{column}__iexact": given[name]})
        if "kind" in given:
            events = events.filter(kind=given["kind"])
        if "since" in given:
            events = events.filter(at__gte=_begin_of(given["since"]))
        if "until" in given:
            events = events.filter(at__lt=_begin_of(given["until"] + timedelta(days=1)))
        if "before" in given:
            events = events.filter(pk__lt=given["before"])
        return events


def _begin_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
