"""The report of a version as one self-contained HTML file: charts and thumbnails are embedded."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import mark_safe

from training.evaluation import confusion_matrix
from training.evaluation.leaderboard import promoted_from, why_it_ended
from training.evaluation.results import results_of
from training.models import TrainingVersion

MAX_MISTAKES = 24
STYLES = ("tokens.css", "report.css")


def report_html(version: TrainingVersion) -> str:
    """The whole document. It follows the reader's light or dark mode and can be printed."""
    context = {
        "version": version,
        "project": version.project,
        "results": results_of(version),
        "matrix": confusion_matrix.build_matrix(version.confusion),
        "parameters": parameters_of(version),
        "why_it_ended": why_it_ended(version),
        "charts": _charts(version),
        "mistakes": _mistakes(version),
    }
    body = render_to_string("evaluation/_report.html", context)
    folder = Path(settings.BASE_DIR) / "static" / "css"
    style = "\n".join((folder / name).read_text("utf-8") for name in STYLES)
    title = escape(f"{version.name} · {version.project.name}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}</body></html>"
    )


def parameters_of(version: TrainingVersion) -> dict[str, Any]:
    """Configuration, origin and ending of the version."""
    dataset = version.dataset_version
    return {
        "project": version.project.name,
        "version": version.name,
        "job_id": str(version.job_id),
        "dataset_version": dataset.name,
        "dataset_sha256": dataset.sha256,
        "training_images": dataset.train_count,
        "validation_images": dataset.eval_count,
        "training_ratio": str(version.training_ratio.normalize()),
        "split_seed": str(version.project_id),
        "search_seed": 0,
        "incremental_training_version": str(version.incremental_version or "None"),
        "promoted_from": str(promoted_from(version) or "None"),
        "expected_inference_hardware": version.inference_hardware,
        "max_inference_ms": version.max_inference_ms,
        "max_training_minutes": version.max_training_minutes,
        "instance_flavor": version.flavor_name,
        "ran_on": version.ran_on,
        "started_at": version.started_at,
        "finished_at": version.finished_at,
        "stop_reason": version.stop_reason,
        "seconds_by_phase": version.seconds_by_phase,
        "single_image_ms": version.inference_ms,
        "single_image_low_ms": version.inference_low_ms,
        "single_image_high_ms": version.inference_high_ms,
    }


def _charts(version: TrainingVersion) -> list[str]:
    """The stored SVGs without XML declaration; ids are prefixed with the chart's name to stay unique."""
    svgs = list[str]()
    for name in version.progress.get("charts", []):
        try:
            with default_storage.open(f"{version.folder}/charts/{name}.svg") as file:
                svg = file.read().decode()
        except OSError:
            continue
        start = svg.find("<svg")
        svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg[max(start, 0) :])
        svgs.append(mark_safe(svg))
    return svgs


def _mistakes(version: TrainingVersion) -> list[dict[str, Any]]:
    """The most confident mistakes with their thumbnails as data URLs."""
    wrong = version.evaluated_images.filter(is_correct=False).defer("scores").select_related("image")
    return [
        {"image": image, "thumbnail": _thumbnail_data_url(image)}
        for image in wrong.order_by("-confidence", "pk")[:MAX_MISTAKES]
    ]


def _thumbnail_data_url(evaluated: Any) -> str:
    if evaluated.image is None:
        return ""
    try:
        with default_storage.open(evaluated.image.thumbnail_name) as file:
            return "data:image/webp;base64," + base64.b64encode(file.read()).decode()
    except OSError:
        return ""
