from projects.models.dataset import DatasetVersion
from projects.models.image import Annotation, How, Image, LabelEvent, Side
from projects.models.project import Label, Project
from projects.models.team import Membership, Role, Team

__all__ = [
    "Annotation",
    "DatasetVersion",
    "How",
    "Image",
    "Label",
    "LabelEvent",
    "Membership",
    "Project",
    "Role",
    "Side",
    "Team",
]
