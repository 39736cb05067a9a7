"""Events of the history that stand in the audit log, too: what deletes images or labels, and its way back."""

from __future__ import annotations

from projects import audit
from projects.models import LabelEvent

Kind = LabelEvent.Kind
AUDITED = {
    Kind.DELETE_IMAGES: audit.Kind.IMAGES_DELETED,
    Kind.RESTORE_IMAGES: audit.Kind.IMAGES_RESTORED,
    Kind.DELETE_LABEL: audit.Kind.LABEL_DELETED,
    Kind.MERGE_LABELS: audit.Kind.LABELS_MERGED,
}
UNDONE = {
    Kind.DELETE_IMAGES: audit.Kind.IMAGES_RESTORED,
    Kind.RESTORE_IMAGES: audit.Kind.IMAGES_DELETED,
    Kind.DELETE_LABEL: audit.Kind.LABEL_RESTORED,
    Kind.MERGE_LABELS: audit.Kind.LABEL_RESTORED,
}


def record_in_audit_log(event: LabelEvent) -> None:
    """A large action is an event for each of its parts, here as in the history."""
    root, is_undo = event, False
    while root.undoes is not None:
        root, is_undo = root.undoes, not is_undo
    kind = (UNDONE if is_undo else AUDITED).get(Kind(root.kind))
    if kind is None:
        return
    names = [root.details[name]["name"] for name in ("label", "into") if name in root.details]
    audit.record(
        kind, project=event.project, target=" → ".join(names), by=event.by, images=len(event.changes)
    )
