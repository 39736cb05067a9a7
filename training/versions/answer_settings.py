"""The answer settings that a team stores with a version, or changes for it in a service.

The version's bundle and its metrics stay as they are. Pages and forms take settings and rule from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from projects import audit
from training.engine.bundle.decision import DECIMALS, OWN, AnswerSettings, DecisionRule
from training.models import Service, TrainingVersion

__all__ = [
    "DECIMALS",
    "OWN",
    "AnswerSettings",
    "DecisionRule",
    "InForce",
    "in_force",
    "reset",
    "save",
    "settings_in",
    "settings_of",
]


@dataclass(frozen=True)
class InForce:
    """The settings by which a version answers in a service; whether they differ from those stored with it."""

    version: TrainingVersion
    settings: AnswerSettings
    is_changed: bool


def save(version: TrainingVersion, settings: AnswerSettings, by: User) -> None:
    """Store the settings, with who and when. New services and exports get them; running services do not."""
    changes = {
        "answer_settings": settings.as_json(),
        "answer_settings_by": by,
        "answer_settings_at": timezone.now(),
        "export": {},  # a stored export has the settings of before
    }
    with transaction.atomic():
        if TrainingVersion.objects.completed().filter(pk=version.pk).update(**changes):
            stored = settings.as_json()
            audit.record(
                audit.Kind.ANSWERS_CHANGED, project=version.project, target=version, by=by, settings=stored
            )
    for name, value in changes.items():
        setattr(version, name, value)


def reset(version: TrainingVersion, by: User) -> None:
    """Return to the model's own settings."""
    save(version, OWN, by)


def settings_of(version: TrainingVersion) -> AnswerSettings:
    return AnswerSettings.from_json(version.answer_settings)


def settings_in(service: Service, version: TrainingVersion) -> AnswerSettings:
    """The settings by which the version answers in the service."""
    return AnswerSettings.from_json(service.answer_settings.get(str(version.pk)))


def in_force(service: Service) -> list[InForce]:
    """The settings of each version that answers in the service."""
    rows = [(version, settings_in(service, version)) for version in service.answering_versions]
    return [InForce(version, here, here != settings_of(version)) for version, here in rows]
