"""The audit log: one call of `record` in each action that it lists, in the action's transaction."""

from projects.audit import sign_ins as sign_ins  # connects its receivers
from projects.audit.record import record, record_download
from projects.models import AuditKind as Kind

__all__ = ["Kind", "record", "record_download"]
