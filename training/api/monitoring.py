"""Monitoring of a service: its calls, answers, latencies, drift, live accuracy, shadow, and its events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.pages import PageParams, page_of
from projects.models import Project, Role, Scope
from training.api.rates import RateOut
from training.api.services import SERVICE, get_service
from training.models import ServiceEvent
from training.serving.calls import drift, feedback
from training.serving.calls.counters import MAX_TIMED_MS
from training.serving.calls.dashboard import WINDOWS, CallTotals, Dashboard, TimeStep, load_dashboard
from training.serving.shadow_comparison import ShadowComparison, compare_shadow

router = Router(tags=["Services"])
Hours = Annotated[int, Field(json_schema_extra={"enum": list(WINDOWS)})]


class CallCounts(Schema):
    """Counts of calls. Latencies are those of answered calls; null without any; 30,000 ms: or more."""

    call_count: int
    failed_count: int
    image_count: int
    unknown_count: int
    label_counts: dict[str, int]
    error_counts: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, counts: CallTotals) -> CallCounts:
        p50, p95, p99 = (None if ms is None else min(ms, MAX_TIMED_MS) for ms in counts.latencies_ms)
        return cls(
            call_count=counts.calls,
            failed_count=counts.failed,
            image_count=counts.images,
            unknown_count=counts.unknown,
            label_counts=dict(counts.labels.most_common()),
            error_counts=dict(counts.errors.most_common()),
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
        )


class CallStep(CallCounts):
    begins_at: datetime

    @classmethod
    def at(cls, step: TimeStep) -> CallStep:
        return cls(begins_at=step.begins_at, **CallCounts.of(step.counts).model_dump())


class CallsOfVersion(Schema):
    version_number: int
    counts: CallCounts


class LabelShareOut(Schema):
    label: str
    call_count: int
    share: float
    evaluation_share: float | None


class DriftOut(Schema):
    """How the predictions differ from those of the evaluation. A sentence stands where they surely do."""

    shares: list[LabelShareOut]
    sentences: list[str]

    @classmethod
    def of(cls, found: drift.Drift) -> DriftOut:
        shares = [
            LabelShareOut(label=row.label, call_count=row.calls, share=row.now, evaluation_share=row.then)
            for row in found.shares
        ]
        return cls(shares=shares, sentences=found.sentences)


class LiveAccuracyOut(Schema):
    """Of the collected calls that somebody judged, for a version with its answer settings."""

    version_number: int
    settings: dict[str, Any]
    accuracy: RateOut
    collected_count: int

    @classmethod
    def of(cls, live: feedback.LiveAccuracy) -> LiveAccuracyOut:
        return cls(
            version_number=live.version.number,
            settings=live.settings.as_json(),
            accuracy=RateOut.of(live.judged),
            collected_count=live.calls,
        )


class ShadowOut(Schema):
    """The version and its shadow or canary on the same images of calls."""

    version_number: int
    shadow_version_number: int
    percent: int | None = Field(description="Of the calls for the canary; null: it predicts no more.")
    agreement: RateOut
    judged_count: int
    accuracy: RateOut
    shadow_accuracy: RateOut
    p_value: float
    better_version_number: int | None = Field(description="The one that is reliably better; else null.")
    summary: str

    @classmethod
    def of(cls, compared: ShadowComparison) -> ShadowOut:
        return cls(
            version_number=compared.version.number,
            shadow_version_number=compared.shadow.number,
            percent=compared.percent,
            agreement=RateOut.of(compared.agreement),
            judged_count=compared.judged,
            accuracy=RateOut.of(compared.accuracy),
            shadow_accuracy=RateOut.of(compared.shadow_accuracy),
            p_value=compared.p,
            better_version_number=compared.better.number if compared.better else None,
            summary=compared.summary,
        )


class MonitoringOut(Schema):
    hours: int
    step_minutes: int
    total: CallCounts
    steps: list[CallStep] = Field(description="In order of time, those without calls too.")
    versions: list[CallsOfVersion]
    drift: DriftOut
    live_accuracy: list[LiveAccuracyOut]
    shadow: ShadowOut | None

    @classmethod
    def of(cls, board: Dashboard, **others: Any) -> MonitoringOut:
        versions = [
            CallsOfVersion(version_number=version.number, counts=CallCounts.of(counts))
            for version, counts in board.versions
        ]
        return cls(
            hours=board.hours,
            step_minutes=int(board.step.total_seconds() // 60),
            total=CallCounts.of(board.total),
            steps=[CallStep.at(step) for step in board.steps],
            versions=versions,
            **others,
        )


class ServiceEventOut(Schema):
    at: datetime
    by: str | None
    message: str

    @classmethod
    def of(cls, event: ServiceEvent) -> ServiceEventOut:
        return cls(at=event.at, by=event.by.get_username() if event.by else None, message=event.message)


class ServiceEventPage(Schema):
    items: list[ServiceEventOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


@router.get(SERVICE + "/monitoring", response=MonitoringOut)
@project_call(Role.VIEWER, Scope.READ)
def show_monitoring(
    request: ApiRequest, project: Project, service_id: UUID, hours: Hours = 24
) -> MonitoringOut:
    """The numbers of the last hours. The calls of the last two seconds may be missing."""
    if hours not in WINDOWS:
        raise problems.invalid_field("hours", f"Choose one of {', '.join(map(str, WINDOWS))}.")
    service = get_service(project, service_id)
    board = load_dashboard(service, hours)
    compared = compare_shadow(service)
    return MonitoringOut.of(
        board,
        drift=DriftOut.of(drift.drift_of(service, board)),
        live_accuracy=[LiveAccuracyOut.of(row) for row in feedback.live_accuracy(service)],
        shadow=ShadowOut.of(compared) if compared else None,
    )


@router.get(SERVICE + "/events", response=ServiceEventPage)
@project_call(Role.VIEWER, Scope.READ)
def list_service_events(
    request: ApiRequest, project: Project, service_id: UUID, params: Query[PageParams]
) -> ServiceEventPage:
    """What happened to a service, the newest first."""
    events = get_service(project, service_id).events.select_related("by")
    rows, cursor = page_of(events, params)
    return ServiceEventPage(items=[ServiceEventOut.of(row) for row in rows], next=cursor)
