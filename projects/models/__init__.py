from projects.models.annotation import Annotation, How, LabelEvent, Touch
from projects.models.collaboration import Assignment, Opinion, Presence
from projects.models.computed import Embedding, Miniature, Prediction, Refusal
from projects.models.dataset import DatasetVersion
from projects.models.image import Image, OpinionState, Side
from projects.models.label import Label
from projects.models.project import Project
from projects.models.team import Membership, Role, Team
from projects.models.transfer import DataSource, Transfer, TransferRefusal

__all__ = [
    "Annotation",
    "Assignment",
    "DataSource",
    "DatasetVersion",
    "Embedding",
    "How",
    "Image",
    "Label",
    "LabelEvent",
    "Membership",
    "Miniature",
    "Opinion",
    "OpinionState",
    "Prediction",
    "Presence",
    "Project",
    "Refusal",
    "Role",
    "Side",
    "Team",
    "Touch",
    "Transfer",
    "TransferRefusal",
]
