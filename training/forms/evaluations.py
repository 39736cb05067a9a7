"""The form that asks for an evaluation of a version on selected images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils.translation import gettext, gettext_lazy, gettext_noop, override

from exeml_site.lib.display import count
from exeml_site.lib.params import is_storable
from projects.images.query import Query
from projects.label_data.filter_chips import describe_query
from projects.models import Image, Project, Split
from training.models import TrainingVersion

MAX_PROJECTS = 500
TEST_QUERY = Query(tab="labeled", split=Split.TEST).address()
FILTER, TEST, OTHER = "filter", "test", "project"
CHOOSE_VERSION = gettext_lazy("Choose a Completed version of this project.")


class EvaluationForm(forms.Form):
    """A version of the project, and the images to evaluate it on.

    `query`: the filter of Label Data, offered as a choice if it is not empty. `user` sees the other projects.
    """

    version = forms.TypedChoiceField(
        label=gettext_lazy("Version"),
        coerce=int,
        error_messages={"required": CHOOSE_VERSION, "invalid_choice": CHOOSE_VERSION},
    )
    images = forms.ChoiceField(
        label=gettext_lazy("Images"),
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose the images."),
            "invalid_choice": gettext_lazy("Choose one of these."),
        },
    )
    other = forms.TypedChoiceField(
        label=gettext_lazy("Other project"),
        coerce=int,
        empty_value=None,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose a project that you can see.")},
    )
    query = forms.CharField(max_length=2000, required=False, widget=forms.HiddenInput)

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        project: Project,
        user: User,
        others: QuerySet[Project],
        query: str = "",
        number: int | None = None,
    ) -> None:
        query = str(data.get("query", "")) if data is not None else query
        self.project, self.user = project, user
        self.others = others.exclude(pk=project.pk)
        self.filter = _parse(query)
        super().__init__(data, initial={"version": number, "query": self.filter.address()})
        versions = project.training_versions.completed().order_by("-number")
        names = [(version.number, _version_text(version)) for version in versions.only("number", "title")]
        self.fields["version"].choices = names  # type: ignore[attr-defined]
        self._offer_images(bool(query))

    @property
    def has_versions(self) -> bool:
        return bool(self.fields["version"].choices)  # type: ignore[attr-defined]

    def _offer_images(self, has_filter: bool) -> None:
        tests = Image.objects.labeled().filter(project=self.project, split=Split.TEST).count()
        matching = self._labeled(self.project, self.filter).count()
        others = self.others.select_related("team")
        projects = [(other.pk, f"{other.team} / {other}") for other in others.order_by("name")[:MAX_PROJECTS]]
        choices: list[tuple[str, str]] = []
        if has_filter or not tests:
            text = gettext("Label Data, %(filter)s (%(count)s with a label)")
            described = describe_query(self.filter, self.project)
            choices.append((FILTER, text % {"filter": described, "count": count(matching)}))
        if tests:
            text = gettext("The test images of this project (%(count)s with a label)")
            choices.append((TEST, text % {"count": count(tests)}))
        if projects:
            choices.append((OTHER, gettext("The labeled images of another project")))
        self.fields["images"].choices = choices  # type: ignore[attr-defined]
        self.initial["images"] = choices[0][0]
        self.fields["other"].choices = [("", gettext("Choose a project")), *projects]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("images") == OTHER and not cleaned.get("other") and "other" not in self.errors:
            self.add_error("other", gettext("Choose the project."))
        return cleaned

    @property
    def chosen_version(self) -> TrainingVersion:
        versions = self.project.training_versions.completed().select_related("project", "dataset_version")
        version: TrainingVersion = versions.get(number=self.cleaned_data["version"])
        return version

    @property
    def source(self) -> Project:
        """The project of the chosen images."""
        if self.cleaned_data["images"] != OTHER:
            return self.project
        return self.others.get(pk=self.cleaned_data["other"])

    @property
    def chosen_query(self) -> Query:
        chosen = {FILTER: self.filter, TEST: _parse(TEST_QUERY)}
        return chosen.get(self.cleaned_data["images"], Query(tab="labeled"))

    def image_ids(self) -> list[int]:
        """Ids of the labeled images that were chosen."""
        return list(self._labeled(self.source, self.chosen_query).order_by().values_list("pk", flat=True))

    @property
    def name(self) -> str:
        """What was chosen, in words. Stored, so in English for everybody."""
        if self.cleaned_data["images"] == OTHER:
            return f"Labeled images of {self.source}"  # not translated: stored with a value
        if self.cleaned_data["images"] == TEST:
            return gettext_noop("Test images of the project")
        with override("en"):
            return describe_query(self.chosen_query, self.project)

    def _labeled(self, project: Project, query: Query) -> Any:
        return query.images(project, self.user).labeled()


def _parse(query: str) -> Query:
    query = query if is_storable(query) else ""
    return Query.from_address(dict(parse_qsl(query[:2000])), "labeled")


def _version_text(version: TrainingVersion) -> str:
    return f"{version.name} – {version.title}" if version.title else version.name
