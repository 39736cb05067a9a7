from training.models.evaluation import Candidate, Curve, EvaluatedImage, LaterPrediction, Metric
from training.models.service import Service, ServiceEvent
from training.models.version import Device, Hardware, InstanceFlavor, Status, StopReason, TrainingVersion

__all__ = [
    "Candidate",
    "Curve",
    "Device",
    "EvaluatedImage",
    "Hardware",
    "InstanceFlavor",
    "LaterPrediction",
    "Metric",
    "Service",
    "ServiceEvent",
    "Status",
    "StopReason",
    "TrainingVersion",
]
