from training.models.batch import Batch
from training.models.evaluation import Candidate, Curve, EvaluatedImage, LaterPrediction, Metric
from training.models.service import CallMinute, CollectedCall, Service, ServiceEvent, ServiceToken
from training.models.shadow import ShadowAnswer, ShadowCount
from training.models.version import (
    Device,
    Hardware,
    InstanceFlavor,
    NumberFormat,
    Status,
    StopReason,
    TrainingVersion,
)
from training.models.version_evaluation import SelectedImage, VersionEvaluation

__all__ = [
    "Batch",
    "CallMinute",
    "Candidate",
    "CollectedCall",
    "Curve",
    "Device",
    "EvaluatedImage",
    "Hardware",
    "InstanceFlavor",
    "LaterPrediction",
    "Metric",
    "NumberFormat",
    "SelectedImage",
    "Service",
    "ServiceEvent",
    "ServiceToken",
    "ShadowAnswer",
    "ShadowCount",
    "Status",
    "StopReason",
    "TrainingVersion",
    "VersionEvaluation",
]
