"""The Python client of exeml, the self-hosted image classifier.

import exeml

client = exeml.connect("https://exeml.example.org", "exeml_…")
project = client.create_project("flowers")
project.upload("photos/", labels="folders")
version = project.train(max_training_hours=0.5).wait()
service = project.deploy(version).wait()
service.predict("unseen.jpg").predicted_label
"""

from exeml.batch import Batch
from exeml.client import Client, connect, connect_async
from exeml.core.modes import Asynchronous, Blocking
from exeml.core.resource import Record
from exeml.dataset_version import DatasetVersion
from exeml.errors import (
    ConnectionFailed,
    ExemlError,
    FieldError,
    NotCompleted,
    NotEnded,
    Problem,
    SettingsMissing,
)
from exeml.evaluation import (
    AnswerSettings,
    Candidate,
    Comparison,
    EvaluatedImage,
    LabelResult,
    Metric,
    Metrics,
)
from exeml.image import Image
from exeml.label import Label
from exeml.project import Project
from exeml.records import (
    Account,
    Action,
    Flavor,
    Prediction,
    Suggestion,
    Team,
    UploadedFile,
    UploadReport,
)
from exeml.service import CollectedCall, Service
from exeml.team import AccessToken, Delivery, Member, ServiceAccount, Webhook
from exeml.transfer import Transfer
from exeml.upload import UploadProgress
from exeml.version import TrainingProgress, Version

__all__ = [
    "AccessToken",
    "Account",
    "Action",
    "AnswerSettings",
    "Asynchronous",
    "Batch",
    "Blocking",
    "Candidate",
    "Client",
    "CollectedCall",
    "Comparison",
    "ConnectionFailed",
    "DatasetVersion",
    "Delivery",
    "EvaluatedImage",
    "ExemlError",
    "FieldError",
    "Flavor",
    "Image",
    "Label",
    "LabelResult",
    "Member",
    "Metric",
    "Metrics",
    "NotCompleted",
    "NotEnded",
    "Prediction",
    "Problem",
    "Project",
    "Record",
    "Service",
    "ServiceAccount",
    "SettingsMissing",
    "Suggestion",
    "Team",
    "TrainingProgress",
    "Transfer",
    "UploadProgress",
    "UploadReport",
    "UploadedFile",
    "Version",
    "Webhook",
    "connect",
    "connect_async",
]
