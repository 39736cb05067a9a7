"""Actions on a training version from outside its job: start, stop, retry, delete.

The row is the truth and Redis only carries the job. Every change of state is one conditional UPDATE whose
row count is checked, so that two people, or a person and the job, cannot both win.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import F, Max, Q
from django.utils import timezone
from django.utils.translation import gettext, ngettext

from exeml_site.lib import storage
from exeml_site.lib.errors import Refused
from projects import audit
from projects.datasets.publish import DatasetNameTaken
from projects.models import DatasetVersion, Project
from projects.usage.quotas import QuotaReached
from training.models import Candidate, InstanceFlavor, Service, Status, TrainingVersion
from training.models.version import FINAL, TrainingVersionQuerySet
from training.versions import quotas, usage

MAX_NUMBER_RETRIES = 10


class TrainingRefused(Refused):
    """The state of the version or the project forbids the action; the message is a sentence for the user."""


@dataclass(frozen=True)
class TrainingRequest:
    """A valid configuration, as TrainingConfigurationForm returns it."""

    dataset_version: str  # name to reserve
    training_ratio: Decimal
    incremental_version: TrainingVersion | None
    inference_hardware: str
    max_inference_ms: int
    max_training_minutes: int
    flavor: InstanceFlavor


# --- start ---


def version_of_submission(submission: UUID) -> TrainingVersion | None:
    """The version that this opened dialog has already started, or None."""
    return TrainingVersion.objects.filter(submission=submission).first()


def start(project: Project, request: TrainingRequest, *, by: User, submission: UUID) -> TrainingVersion:
    """Create the training version and enqueue its job; a repeated `submission` returns the first version.

    Raises DatasetNameTaken if the dataset version's name was reserved meanwhile, TrainingRefused if the
    submission belongs to another project.
    """
    for _ in range(MAX_NUMBER_RETRIES):
        earlier = version_of_submission(submission)
        if earlier:
            return _require_same_project(earlier, project)
        try:
            return _insert(project, request, by, submission)
        except IntegrityError:
            name = request.dataset_version
            if _is_name_taken(project, name) and not version_of_submission(submission):
                raise DatasetNameTaken(name) from None
    raise TrainingRefused(gettext("Many trainings are being submitted right now. Press Submit again."))


def _require_same_project(version: TrainingVersion, project: Project) -> TrainingVersion:
    if version.project_id != project.pk:
        raise TrainingRefused(gettext("This page belongs to another project. Open Train again."))
    return version


def _is_name_taken(project: Project, name: str) -> bool:
    return project.dataset_versions.filter(name__iexact=name).exists()


def _insert(project: Project, request: TrainingRequest, by: User, submission: UUID) -> TrainingVersion:
    """One transaction: reserve the dataset version, take the next number, enqueue the job on commit."""
    with transaction.atomic():
        dataset_version = DatasetVersion.objects.create(
            project=project,
            name=request.dataset_version,
            training_ratio=request.training_ratio,
            created_by=by,
        )
        version = _create(
            project,
            submission,
            by,
            request.flavor,
            dataset_version=dataset_version,
            training_ratio=request.training_ratio,
            incremental_version=request.incremental_version,
            inference_hardware=request.inference_hardware,
            max_inference_ms=request.max_inference_ms,
            max_training_minutes=request.max_training_minutes,
        )
    return version


def _create(
    project: Project, submission: UUID, by: User, flavor: InstanceFlavor, **fields: Any
) -> TrainingVersion:
    """Insert a row under the project's next number and enqueue its job on commit."""
    if "promoted_candidate" not in fields:
        _check_quotas(project, fields["max_training_minutes"], flavor.price_per_hour)
    version = TrainingVersion.objects.create(
        project=project,
        number=_next_number(project),
        submission=submission,
        submitted_by=by,
        flavor=flavor,
        flavor_name=flavor.name,
        price_per_hour=flavor.price_per_hour,
        **fields,
    )
    version.enqueue()
    audit.record(
        audit.Kind.TRAINING_STARTED,
        project=project,
        target=version,
        by=by,
        flavor=flavor.name,
        minutes=version.max_training_minutes,
    )
    return version


def _check_quotas(project: Project, minutes: int, price_per_hour: Decimal) -> None:
    try:
        quotas.check(project, minutes, price_per_hour)
    except QuotaReached as reached:
        raise TrainingRefused(str(reached)) from reached


def add_time(version: TrainingVersion, minutes: int, *, by: User, submission: UUID) -> TrainingVersion:
    """Continue a Completed version for `minutes` more, on its own training and validation images.

    The result is a version of its own, so the older one stays unchanged. A repeated `submission` returns
    the version that the first one made. Raises TrainingRefused if the version is not Completed or its
    flavor is disabled.
    """
    if not version.is_completed:
        sentence = gettext("%(version)s is %(status)s. Time can be added only to a Completed version.")
        raise TrainingRefused(sentence % _named(version))
    return _create_from(version, by, submission, incremental_version=version, max_training_minutes=minutes)


def promote(candidate: Candidate, *, by: User, submission: UUID) -> TrainingVersion:
    """Turn another candidate of a Completed version into a version of its own, without training.

    It is evaluated on the same images. A repeated `submission` returns the version that the first one made.
    Raises TrainingRefused if the version is not Completed, the candidate's weights were not stored, or it
    is already the version's model.
    """
    version = candidate.training_version
    if not version.is_completed:
        sentence = gettext(
            "%(version)s is %(status)s. Only candidates of a Completed version can be promoted."
        )
        raise TrainingRefused(sentence % _named(version))
    if candidate.is_best:
        sentence = gettext("This candidate is already the model of %(version)s.")
        raise TrainingRefused(sentence % _named(version))
    if candidate.place is None:
        sentence = gettext(
            "The weights of this candidate were not stored. Train again to choose another one."
        )
        raise TrainingRefused(sentence)
    return _create_from(
        version,
        by,
        submission,
        incremental_version=version.incremental_version,
        max_training_minutes=version.max_training_minutes,
        promoted_candidate=candidate,
    )


def _create_from(version: TrainingVersion, by: User, submission: UUID, **fields: Any) -> TrainingVersion:
    """Create a version on the same dataset version and configuration as `version`, except for `fields`."""
    earlier = version_of_submission(submission)
    if earlier:
        return _require_same_project(earlier, version.project)
    flavor = version.flavor
    if not flavor.is_enabled:
        sentence = gettext("The flavor %(flavor)s is no longer offered. Train again with another one.")
        raise TrainingRefused(sentence % {"flavor": flavor})
    try:
        with transaction.atomic():
            return _create(
                version.project,
                submission,
                by,
                flavor,
                dataset_version=version.dataset_version,
                training_ratio=version.training_ratio,
                inference_hardware=version.inference_hardware,
                max_inference_ms=version.max_inference_ms,
                **fields,
            )
    except IntegrityError:  # a second press, or another training took the number
        earlier = version_of_submission(submission)
        if earlier:
            return _require_same_project(earlier, version.project)
        sentence = gettext("Another training was just submitted. Press the button again.")
        raise TrainingRefused(sentence) from None


def _next_number(project: Project) -> int:
    """One above the highest number of the project; deleted versions keep theirs."""
    highest = TrainingVersion.objects.filter(project=project).aggregate(highest=Max("number"))["highest"]
    return (highest or 0) + 1


# --- stop, retry, delete ---


def _row(version: TrainingVersion) -> TrainingVersionQuerySet:
    return TrainingVersion.objects.alive().filter(pk=version.pk)


def stop(version: TrainingVersion, by: User) -> bool:
    """Stop a waiting version at once, or request a running one to stop and keep its best model.

    False if nothing changed: the version had ended, or its stop had been requested before.
    """
    with transaction.atomic():
        requested = version.cancel(stop_requested_at=timezone.now(), stop_requested_by=by)
        if requested:
            audit.record(audit.Kind.TRAINING_STOPPED, project=version.project, target=version, by=by)
    return requested and _refreshed(version)


def nothing_to_stop(version: TrainingVersion) -> str:
    """Says that the version has ended."""
    return gettext("%(version)s is %(status)s. There is nothing to stop.") % _named(version)


def unchanged_text(version: TrainingVersion) -> str:
    """Says why `retry` changed nothing."""
    return gettext("Nothing changed: %(version)s is %(status)s.") % _named(version)


def retry(version: TrainingVersion, by: User) -> bool:
    """Enqueue a Failed or Stopped version again with the same configuration. False for any other status.

    Raises TrainingRefused where a limit of the team leaves no room.
    """
    with transaction.atomic():
        version.refresh_from_db()
        if version.status in (Status.FAILED, Status.STOPPED):
            _check_quotas(version.project, version.max_training_minutes, version.price_per_hour)
            usage.write_times([version])  # its times are cleared below
        is_enqueued = (
            _row(version)
            .filter(status__in=[Status.FAILED, Status.STOPPED])
            .update(
                status=Status.INITIALIZING,
                attempt=F("attempt") + 1,
                submitted_by=by,
                started_at=None,
                finished_at=None,
                heartbeat_at=None,
                stop_requested_at=None,
                stop_requested_by=None,
                stop_reason="",
                progress={},
                failure_cause="",
                failure_remedy="",
                traceback="",
            )
        )
        if is_enqueued:
            version.refresh_from_db()
            version.enqueue()
            audit.record(audit.Kind.TRAINING_RETRIED, project=version.project, target=version, by=by)
    return bool(is_enqueued)


def delete(version: TrainingVersion, by: User) -> bool:
    """Hide a version and delete its files on commit. False if it had been deleted before.

    If the storage is away, `recovery.delete_stored_leftovers` deletes the files later.

    Raises TrainingRefused while it is active, deployed, or another active version is made from it.
    """
    with transaction.atomic():
        if not _row(version).exists():
            return False
        version.refresh_from_db()
        if blocker := delete_blocker(version):
            raise TrainingRefused(blocker)
        if not _row(version).filter(status__in=FINAL).update(deleted_at=timezone.now()):
            raise TrainingRefused(_stop_first(version))
        transaction.on_commit(lambda: storage.try_to_delete_folder(version.folder))
        audit.record(audit.Kind.TRAINING_DELETED, project=version.project, target=version, by=by)
    return _refreshed(version)


def set_starred(version: TrainingVersion, is_starred: bool) -> None:
    """Set or clear the version's star, which the whole team shares."""
    _row(version).update(is_starred=is_starred)


def set_title_and_note(version: TrainingVersion, title: str, note: str) -> None:
    _row(version).update(title=title, note=note)


def size_on_disk(version: TrainingVersion) -> int:
    """Bytes that deleting the version frees."""
    return storage.folder_size(version.folder)


def delete_consequences(version: TrainingVersion) -> list[str]:
    """Sentences that say what would no longer work without the version."""
    sentences = []
    derived = [str(other) for other in _derived_versions(version).alive().order_by("number")]
    if derived:
        sentence = ngettext(
            "%(versions)s started from it: it keeps its own model, but can no longer be traced to it.",
            "%(versions)s started from it: they keep their own models, but can no longer be traced to it.",
            len(derived),
        )
        sentences.append(sentence % {"versions": ", ".join(derived)})
    completed = version.project.training_versions.completed()
    if version.is_completed and completed.exclude(pk=version.pk).exists():
        sentences.append(gettext("It can no longer be compared with other versions."))
    if version.is_completed and not completed.filter(number__gt=version.number).exists():
        sentences.append(gettext("Unlabeled images in Label Data lose its predictions as suggestions."))
    return sentences


def delete_blocker(version: TrainingVersion) -> str:
    """The sentence that says why the version cannot be deleted now; empty if it can."""
    if version.is_active:
        return _stop_first(version)
    serves = Q(training_version=version) | Q(canary_version=version) | Q(next_version=version)
    service = Service.objects.alive().filter(serves).order_by("name").first()
    if service:
        sentence = gettext("%(version)s is deployed as the service %(service)s. Delete that service first.")
        return sentence % {"version": version, "service": service}
    derived = _derived_versions(version).active().first()
    if derived:
        sentence = gettext("%(derived)s is being made from %(version)s. Wait for it or stop it first.")
        return sentence % {"derived": derived, "version": version}
    return ""


def _stop_first(version: TrainingVersion) -> str:
    return gettext("%(version)s is %(status)s. Stop it first.") % _named(version)


def _named(version: TrainingVersion) -> dict[str, str]:
    return {"version": version.name, "status": version.get_status_display()}


def _derived_versions(version: TrainingVersion) -> TrainingVersionQuerySet:
    """Versions that continue it, and versions promoted from its candidates."""
    return TrainingVersion.objects.filter(
        Q(incremental_version=version) | Q(promoted_candidate__training_version=version)
    )


def _refreshed(version: TrainingVersion) -> bool:
    version.refresh_from_db()
    return True
