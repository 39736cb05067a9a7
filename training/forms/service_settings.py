"""Forms of a service's settings: change version, create a token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms.boundfield import BoundWidget
from django.utils.translation import gettext, gettext_lazy, ngettext

from exeml_site.lib.display import count
from exeml_site.lib.fields import BoundedTextField
from exeml_site.lib.text import validate_name
from training.evaluation.best_version import rank
from training.forms.fields import VersionField, ranking_help
from training.forms.services import deployable_versions
from training.models import Service, TrainingVersion
from training.versions.number_formats import NumberFormatRow, number_format_rows

MIN_PERCENT, MAX_PERCENT = 1, 99
SHARES = {
    "all": gettext_lazy("All calls"),
    "part": gettext_lazy("A share of them, as a canary"),
    "none": gettext_lazy("None, as a shadow: its answers are stored, not returned"),
}
MIN_DAYS, MAX_DAYS = 1, 365
PERCENT_RANGE = gettext_lazy("Enter a whole number from 1 to 99.")
MAX_ORIGINS = 20
# Scheme, host (ASCII, as browsers send it) and port.
ORIGIN = re.compile(r"https?://([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?")
DAYS_RANGE = gettext_lazy("Enter a whole number of days from 1 to 365.")


class ChangeVersionForm(forms.Form):
    """`cleaned_data["percent"]` is 1–99, 0 for a shadow, or None if the version gets all calls."""

    version = VersionField(
        queryset=TrainingVersion.objects.none(),
        empty_label=None,
        error_messages={
            "required": gettext_lazy("Choose a version."),
            "invalid_choice": gettext_lazy(
                "This version is not Completed, or it was deleted. Choose another."
            ),
        },
    )
    share = forms.ChoiceField(
        label=gettext_lazy("Calls"),
        choices=list(SHARES.items()),
        widget=forms.RadioSelect,
        initial="all",
        error_messages={
            "required": gettext_lazy("Choose all calls, a share or none."),
            "invalid_choice": gettext_lazy("Choose all calls, a share or none."),
        },
    )
    percent = forms.IntegerField(
        label=gettext_lazy("Percentage of calls"),
        required=False,
        min_value=MIN_PERCENT,
        max_value=MAX_PERCENT,
        initial=10,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), PERCENT_RANGE),
    )

    def __init__(self, data: Any = None, *, service: Service, share: str = "all") -> None:
        super().__init__(data, prefix="change")
        others = deployable_versions(service.project).exclude(pk=service.training_version_id)
        field = self.fields["version"]
        assert isinstance(field, VersionField)
        field.queryset = others
        versions = list(others)
        ranking = rank(service.project)
        field.ranking, field.help_text = lambda: ranking, ranking_help(ranking)
        leader = ranking.proposed(versions)
        self.initial = {"version": leader and leader.pk, "share": share}
        self.has_versions = bool(versions)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("share") == "all":
            cleaned["percent"] = None
        elif cleaned.get("share") == "none":
            cleaned["percent"] = 0
        elif cleaned.get("percent") is None and "percent" not in self.errors:
            self.add_error("percent", PERCENT_RANGE)
        return cleaned


class NumberFormatForm(forms.Form):
    """The number format of a service; empty for the default of the version that answers."""

    number_format = forms.ChoiceField(
        label=gettext_lazy("Number format"),
        required=False,
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the number formats of this version.")},
    )

    def __init__(self, data: Any = None, *, service: Service) -> None:
        super().__init__(data, prefix="format", initial={"number_format": service.number_format})
        version = service.training_version
        self.rows = number_format_rows(version)
        default = gettext("Default of %(version)s: %(number_format)s")
        texts = {"version": version.name, "number_format": version.get_number_format_display()}
        field = self.fields["number_format"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", default % texts), *((row.number_format.value, row.name) for row in self.rows)]

    @property
    def options(self) -> Iterator[tuple[BoundWidget, NumberFormatRow | None]]:
        """Each radio button with the figures of its number format; the default of the version has none."""
        return zip(self["number_format"], [None, *self.rows], strict=True)


class OriginsForm(forms.Form):
    """Origins as browsers send them, one a line; `cleaned_data["origins"]` is their list."""

    origins = BoundedTextField(
        label=gettext_lazy("Websites whose pages may call this service"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(
            attrs={"rows": 2, "placeholder": "https://shop.example.org", "spellcheck": "false"}
        ),
        help_text=gettext_lazy("One address per line. Only web pages need this, other programs do not."),
    )

    def __init__(self, data: Any = None, *, service: Service) -> None:
        super().__init__(data, prefix="cors", initial={"origins": "\n".join(service.allowed_origins)})

    def clean_origins(self) -> list[str]:
        lines = self.cleaned_data["origins"].split()
        origins = list(dict.fromkeys(line.rstrip("/").lower() for line in lines))
        if invalid := next((origin for origin in origins if not ORIGIN.fullmatch(origin)), None):
            sentence = gettext(
                "“%(address)s” is not the address of a website. Enter https:// and its name, without a path."
            )
            raise forms.ValidationError(sentence % {"address": invalid[:80]})
        if len(origins) > MAX_ORIGINS:
            sentence = ngettext("At most %(count)s website.", "At most %(count)s websites.", MAX_ORIGINS)
            raise forms.ValidationError(sentence % {"count": count(MAX_ORIGINS)})
        return origins


class TokenForm(forms.Form):
    name = BoundedTextField(
        label=gettext_lazy("Name of the new token"),
        max_length=64,
        validators=[validate_name],
        error_messages={
            "required": gettext_lazy("Give the token a name, for example that of the program."),
        },
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, prefix="token")
