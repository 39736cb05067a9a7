"""Answer settings: thresholds and limits of a version, and of a version in a service; figures under them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field, Router, Schema

from exeml_site.lib.errors import Refused
from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.models import Project, Role, Scope
from training.api.rates import RateOut
from training.api.services import SERVICE, get_service
from training.api.versions import VERSION, completed_version_of
from training.evaluation.answer_figures import AnswerFigures, figures_under, stored_predictions
from training.forms.thresholds import THRESHOLD, AnswerSettingsForm, form_in_service, form_of_version
from training.models import Service, TrainingVersion
from training.serving import deploy
from training.versions import answer_settings
from training.versions.answer_settings import DECIMALS, OWN, AnswerSettings, DecisionRule

router = Router(tags=["Answer settings"])
OF_VERSION = VERSION + "/answer-settings"
OF_SERVICE = SERVICE + "/answer-settings"
IN_SERVICE = OF_SERVICE + "/{int:number}"


class AnswerSettingsOut(Schema):
    """The limits by which a version answers."""

    version_number: int
    thresholds: dict[str, float] = Field(
        description="The score from which on a label is predicted; empty where images carry one label."
    )
    own_thresholds: dict[str, float] = Field(description="Those of the model, without settings.")
    min_confidence: float | None = Field(
        description="An image whose best score is lower is unknown; null where images carry several labels."
    )
    min_familiarity: float | None = Field(
        description="An image with a lower one is unknown; null: the model's own limits."
    )
    is_own: bool = Field(description="Nothing differs from the model's own limits.")

    @staticmethod
    def values(version: TrainingVersion, rule: DecisionRule, settings: AnswerSettings) -> dict[str, Any]:
        own = dict(zip(rule.labels, rule.thresholds, strict=True)) if rule.is_multi_label else {}
        in_force = dict(zip(rule.labels, rule.in_force(settings), strict=True)) if own else {}
        return {
            "version_number": version.number,
            "thresholds": {label: round(limit, DECIMALS) for label, limit in in_force.items()},
            "own_thresholds": {label: round(limit, DECIMALS) for label, limit in own.items()},
            "min_confidence": None if rule.is_multi_label else settings.min_confidence,
            "min_familiarity": settings.min_familiarity,
            "is_own": settings == OWN,
        }


class VersionAnswerSettings(AnswerSettingsOut):
    """What is stored with a version. New services and exports use it; services that run keep theirs."""

    changed_by: str | None
    changed_at: datetime | None

    @classmethod
    def of(cls, version: TrainingVersion, form: AnswerSettingsForm) -> VersionAnswerSettings:
        by = version.answer_settings_by
        return cls(
            **cls.values(version, form.rule, answer_settings.settings_of(version)),
            changed_by=by.get_username() if by else None,
            changed_at=version.answer_settings_at,
        )


class ServiceAnswerSettings(AnswerSettingsOut):
    """How a version answers in a service."""

    is_changed: bool = Field(description="They differ from those stored with the version.")

    @classmethod
    def of(
        cls, service: Service, version: TrainingVersion, form: AnswerSettingsForm
    ) -> ServiceAnswerSettings:
        settings = answer_settings.settings_in(service, version)
        return cls(
            **cls.values(version, form.rule, settings),
            is_changed=settings != answer_settings.settings_of(version),
        )


class ServiceAnswerSettingsList(Schema):
    items: list[ServiceAnswerSettings]


class AnswerSettingsChange(Body):
    """All settings: what is left out, or null, is the model's own."""

    thresholds: dict[str, float | None] = Field({}, description="From 0 to 1, by label.")
    min_confidence: float | None = Field(None, description="From 0 to 1.")
    min_familiarity: float | None = Field(None, description="From 0 to 1.")

    def typed(self) -> dict[str, Any]:
        """The values by the names of the form's fields."""
        limits = {"min_confidence": self.min_confidence, "min_familiarity": self.min_familiarity}
        thresholds = {f"{THRESHOLD}{label}": value for label, value in self.thresholds.items()}
        return {**limits, **thresholds}

    def chosen(self, form: AnswerSettingsForm) -> AnswerSettings:
        """The settings of the form with these values. Raises Problem (422)."""
        for name in ("min_confidence", "min_familiarity"):
            if getattr(self, name) is not None and name not in form.fields:
                raise problems.invalid_field(name, "The model has no such limit.")
        if not form.is_valid():
            errors = problems.of_form(form).errors
            raise problems.invalid([{**error, "field": _field(error["field"])} for error in errors])
        return form.settings


class LabelFiguresOut(Schema):
    label: str
    threshold: float
    own_threshold: float
    image_count: int
    precision: RateOut
    recall: RateOut
    f1: float | None


class AnswerFiguresOut(Schema):
    """The evaluation under settings, from the stored predictions of the validation images."""

    image_count: int
    answered: RateOut = Field(description="Images that get a label and are not called unknown.")
    right: RateOut = Field(description="Of the answered ones.")
    right_of_all: RateOut
    exact: RateOut = Field(description="Images with exactly the right labels, known or not.")
    unknown_count: int
    without_label_count: int
    macro_precision: float
    macro_recall: float
    macro_f1: float
    labels: list[LabelFiguresOut]

    @classmethod
    def of(cls, figures: AnswerFigures, image_count: int) -> AnswerFiguresOut:
        rates = ("answered", "right", "right_of_all", "exact")
        averages = ("macro_precision", "macro_recall", "macro_f1")
        values: dict[str, Any] = {name: getattr(figures, name) for name in averages}
        values |= {name: RateOut.of(getattr(figures, name)) for name in rates}
        return cls(
            image_count=image_count,
            unknown_count=figures.unknown,
            without_label_count=figures.without_label,
            labels=[
                LabelFiguresOut(
                    label=row.report.label,
                    threshold=row.threshold,
                    own_threshold=row.own,
                    image_count=row.report.images,
                    precision=RateOut.of(row.report.precision),
                    recall=RateOut.of(row.report.recall),
                    f1=row.report.f1,
                )
                for row in figures.labels
            ],
            **values,
        )


# --- Of a version ---


@router.get(OF_VERSION, response=VersionAnswerSettings)
@project_call(Role.VIEWER, Scope.READ)
def show_answer_settings(request: ApiRequest, project: Project, number: int) -> VersionAnswerSettings:
    """The settings that are stored with a Completed version."""
    version = completed_version_of(project, number)
    return VersionAnswerSettings.of(version, _form_of(version))


@router.put(OF_VERSION, response=VersionAnswerSettings)
@project_call(Role.REVIEWER, Scope.TRAIN)
def set_answer_settings(
    request: ApiRequest, project: Project, number: int, body: AnswerSettingsChange
) -> VersionAnswerSettings:
    """Store settings with a Completed version; `{}` returns to the model's own."""
    version = completed_version_of(project, number)
    form = _form_of(version, body.typed())
    answer_settings.save(version, body.chosen(form), request.user)
    return VersionAnswerSettings.of(version, form)


@router.post(OF_VERSION + "/figures", response=AnswerFiguresOut)
@project_call(Role.VIEWER, Scope.TRAIN)
def compute_answer_figures(
    request: ApiRequest, project: Project, number: int, body: AnswerSettingsChange
) -> AnswerFiguresOut:
    """What the evaluation is under these settings, which are not stored."""
    version = completed_version_of(project, number)
    form, predictions = _form_of(version, body.typed()), stored_predictions(version)
    assert predictions is not None
    return AnswerFiguresOut.of(figures_under(form.rule, predictions, body.chosen(form)), len(predictions))


# --- In a service ---


@router.get(OF_SERVICE, response=ServiceAnswerSettingsList)
@project_call(Role.VIEWER, Scope.READ)
def list_service_answer_settings(
    request: ApiRequest, project: Project, service_id: UUID
) -> ServiceAnswerSettingsList:
    """How each version that answers in a service does so. One whose model is missing is left out."""
    service = get_service(project, service_id)
    forms = [(version, form_in_service(service, version)) for version in service.answering_versions]
    items = [ServiceAnswerSettings.of(service, version, form) for version, form in forms if form]
    return ServiceAnswerSettingsList(items=items)


@router.put(IN_SERVICE, response=ServiceAnswerSettings)
@project_call(Role.MANAGER, Scope.DEPLOY)
def set_service_answer_settings(
    request: ApiRequest, project: Project, service_id: UUID, number: int, body: AnswerSettingsChange
) -> ServiceAnswerSettings:
    """Let a version answer by these settings in this service, from the next call on."""
    service, version = _answering(project, service_id, number)
    form = _form_in(service, version, body.typed())
    deploy.set_answer_settings(service, version, body.chosen(form), request.user)
    return ServiceAnswerSettings.of(service, version, form)


@router.delete(IN_SERVICE, response=ServiceAnswerSettings)
@project_call(Role.MANAGER, Scope.DEPLOY)
def reset_service_answer_settings(
    request: ApiRequest, project: Project, service_id: UUID, number: int
) -> ServiceAnswerSettings:
    """Let a version answer in this service by the settings that are stored with it."""
    service, version = _answering(project, service_id, number)
    form = _form_in(service, version)
    deploy.set_answer_settings(service, version, answer_settings.settings_of(version), request.user)
    return ServiceAnswerSettings.of(service, version, form)


# --- Helpers ---


def _form_of(version: TrainingVersion, data: dict[str, Any] | None = None) -> AnswerSettingsForm:
    """Raises Problem (404)."""
    form = form_of_version(version, stored_predictions(version), data)
    if form is None:
        raise problems.not_found(f"The predictions of {version} are not stored, or its model is missing.")
    return form


def _answering(project: Project, service_id: UUID, number: int) -> tuple[Service, TrainingVersion]:
    """Raises Problem (404)."""
    service = get_service(project, service_id)
    for version in service.answering_versions:
        if version.number == number:
            return service, version
    raise problems.not_found("The version does not answer in this service.")


def _form_in(
    service: Service, version: TrainingVersion, data: dict[str, Any] | None = None
) -> AnswerSettingsForm:
    """Raises Refused."""
    form = form_in_service(service, version, data)
    if form is None:
        raise Refused(f"The model of {version.name} is missing or cannot be read now.")
    return form


def _field(name: str) -> str:
    """The field of the call; an error of the whole form is about a label that the model does not know."""
    label = name.removeprefix(THRESHOLD)
    return f"thresholds.{label}" if label != name else name or "thresholds"
