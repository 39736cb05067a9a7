"""The answer settings that a team stores with a version. Its bundle and its metrics stay as they are."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.utils import timezone

from training.engine.bundle.decision import OWN, AnswerSettings
from training.models import TrainingVersion


def save(version: TrainingVersion, settings: AnswerSettings, by: User) -> None:
    """Store the settings, with who and when. New services and exports get them; running services do not."""
    changes = {
        "answer_settings": settings.as_json(),
        "answer_settings_by": by,
        "answer_settings_at": timezone.now(),
        "export": {},  # a stored export has the settings of before
    }
    TrainingVersion.objects.completed().filter(pk=version.pk).update(**changes)
    for name, value in changes.items():
        setattr(version, name, value)


def reset(version: TrainingVersion, by: User) -> None:
    """Return to the model's own settings."""
    save(version, OWN, by)


def settings_of(version: TrainingVersion) -> AnswerSettings:
    return AnswerSettings.from_json(version.answer_settings)
