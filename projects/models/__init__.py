from projects.models.access_token import AccessToken, IdempotentCall, Scope, ServiceAccount
from projects.models.account import ChosenLanguage, FailedAttempts, HiddenGuide, InitialPassword
from projects.models.annotation import Annotation, AnnotationSource, LabelEvent, LabelEventImage
from projects.models.collaboration import Assignment, Opinion, Presence
from projects.models.computed import DuplicateKey, Embedding, Prediction, RejectedSuggestion
from projects.models.dataset import DatasetVersion
from projects.models.image import Image, OpinionState, Split
from projects.models.label import Label
from projects.models.machine import Machine
from projects.models.metadata import MetadataColumn, MetadataValue
from projects.models.notice import MailNotice, MutedNotice, NoticeKind
from projects.models.project import Project
from projects.models.records.audit import AuditEvent, AuditKind
from projects.models.records.usage import TeamQuota, Usage, UsageKind
from projects.models.team import Invitation, Membership, Role, Team
from projects.models.transfer import Backup, DataSource, RejectedFile, Transfer

__all__ = [
    "AccessToken",
    "Annotation",
    "AnnotationSource",
    "Assignment",
    "AuditEvent",
    "AuditKind",
    "Backup",
    "ChosenLanguage",
    "DataSource",
    "DatasetVersion",
    "DuplicateKey",
    "Embedding",
    "FailedAttempts",
    "HiddenGuide",
    "IdempotentCall",
    "Image",
    "InitialPassword",
    "Invitation",
    "Label",
    "LabelEvent",
    "LabelEventImage",
    "Machine",
    "MailNotice",
    "Membership",
    "MetadataColumn",
    "MetadataValue",
    "MutedNotice",
    "NoticeKind",
    "Opinion",
    "OpinionState",
    "Prediction",
    "Presence",
    "Project",
    "RejectedFile",
    "RejectedSuggestion",
    "Role",
    "Scope",
    "ServiceAccount",
    "Split",
    "Team",
    "TeamQuota",
    "Transfer",
    "Usage",
    "UsageKind",
]
