"""Alarms of services that run: drift, and a live accuracy below that of the evaluation. Webhooks are told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone, translation

from exeml_site.lib import storage
from exeml_site.lib.display import whole_percent
from projects import webhooks
from projects.models import RaisedAlarm
from training.engine.bundle.decision import OWN, AnswerSettings
from training.evaluation.answer_figures import figures_under, stored_predictions
from training.models import Metric, Service, TrainingVersion
from training.serving.calls import dashboard, drift, feedback
from training.serving.inference.model_cache import rule_of_evaluation
from training.versions.answer_settings import settings_in
from training.versions.webhook_events import described_service, described_version

logger = logging.getLogger(__name__)

WINDOW_HOURS = 24  # of the calls that are compared; the default of the monitoring page
MIN_JUDGED = 30  # calls with a verdict; fewer raise no alarm
QUIET_FOR = timedelta(days=1)  # an alarm that goes off and on again within it is told once


@translation.override("en")
def watch_services() -> None:
    """Raise and end the alarms that a webhook listens to; run every ten minutes."""
    running = Service.objects.alive().filter(status=Service.Status.RUNNING)
    for service in running.select_related("project", "training_version"):
        for event, find_sentences in (
            (webhooks.Event.SERVICE_DRIFT, drift_sentences),
            (webhooks.Event.LIVE_ACCURACY, live_accuracy_sentences),
        ):
            if not webhooks.is_told(event, service.project):
                RaisedAlarm.objects.filter(event=event, subject=_subject(service)).delete()
                continue
            try:
                sentences = find_sentences(service)
            except Exception as problem:
                if not storage.is_away(problem):
                    raise
                logger.warning("the alarms of service %s wait for the storage", service.pk)
            else:
                _set_alarm(event, service, sentences)


def drift_sentences(service: Service) -> list[str]:
    """How the predictions of the last day differ from those of the evaluation; empty without drift."""
    version = service.training_version
    calls = dashboard.load_dashboard(service, WINDOW_HOURS).counts_of(version)
    return drift.find_drift(version, calls, settings_in(service, version)).sentences


def live_accuracy_sentences(service: Service) -> list[str]:
    """A sentence where the 95 % interval of the live accuracy lies below that of the evaluation."""
    version = service.training_version
    in_force = settings_in(service, version)
    for live in feedback.live_accuracy(service):
        if (live.version, live.settings) != (version, in_force) or live.judged.support < MIN_JUDGED:
            continue
        value, low = _evaluated(version, in_force)
        if live.judged.high is not None and low is not None and live.judged.high < low:
            hits, support = live.judged.hits, live.judged.support
            judged = f"{hits:,} of {support:,} judged answers are right, "  # not translated: of programs
            shares = whole_percent(live.judged.value), whole_percent(value)
            return [f"{judged}{shares[0]}. The evaluation found {shares[1]}."]  # not translated: of programs
    return []


def _evaluated(version: TrainingVersion, settings: AnswerSettings) -> tuple[float | None, float | None]:
    """The accuracy of the evaluation under the settings, and the lower end of its 95 % interval."""
    if settings == OWN:
        metric = version.metrics.filter(label="", name=Metric.Name.ACCURACY).first()
        return (metric.value, metric.low) if metric else (None, None)
    predictions = stored_predictions(version)
    rule = rule_of_evaluation(version, predictions.labels) if predictions else None
    if predictions is None or rule is None:
        return None, None
    exact = figures_under(rule, predictions, settings).exact
    return exact.value, exact.low


@transaction.atomic
def _set_alarm(event: webhooks.Event, service: Service, sentences: Sequence[str]) -> None:
    alarms = RaisedAlarm.objects.filter(event=event, subject=_subject(service))
    if not sentences:
        alarms.filter(raised_at__lt=timezone.now() - QUIET_FOR).delete()
        return
    _, is_new = RaisedAlarm.objects.get_or_create(
        event=event, subject=_subject(service), defaults={"project": service.project}
    )
    if is_new:
        webhooks.raise_event(
            event,
            service.project,
            service={
                **described_service(service),
                "version": described_version(service.training_version),
            },
            sentences=list(sentences),
        )


def _subject(service: Service) -> str:
    return f"{service.pk} {service.training_version_id}"
