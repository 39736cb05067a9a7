from projects.models.account import ChosenLanguage, HiddenGuide, InitialPassword
from projects.models.annotation import Annotation, AnnotationSource, LabelEvent, LabelEventImage
from projects.models.collaboration import Assignment, Opinion, Presence
from projects.models.computed import DuplicateKey, Embedding, Prediction, RejectedSuggestion
from projects.models.dataset import DatasetVersion
from projects.models.failed_attempts import FailedAttempts
from projects.models.image import Image, OpinionState, Split
from projects.models.label import Label
from projects.models.metadata import MetadataColumn, MetadataValue
from projects.models.project import Project
from projects.models.team import Membership, Role, Team
from projects.models.transfer import Backup, DataSource, RejectedFile, Transfer

__all__ = [
    "Annotation",
    "AnnotationSource",
    "Assignment",
    "Backup",
    "ChosenLanguage",
    "DataSource",
    "DatasetVersion",
    "DuplicateKey",
    "Embedding",
    "FailedAttempts",
    "HiddenGuide",
    "Image",
    "InitialPassword",
    "Label",
    "LabelEvent",
    "LabelEventImage",
    "Membership",
    "MetadataColumn",
    "MetadataValue",
    "Opinion",
    "OpinionState",
    "Prediction",
    "Presence",
    "Project",
    "RejectedFile",
    "RejectedSuggestion",
    "Role",
    "Split",
    "Team",
    "Transfer",
]
