"""The report of a version as one self-contained HTML file: charts and thumbnails are embedded."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.template.loader import render_to_string
from django.utils.formats import number_format
from django.utils.html import escape
from django.utils.safestring import mark_safe
from django.utils.translation import get_language, gettext

from exeml_site.lib.display import count, iso_time
from exeml_site.templatetags import format_tags
from projects.images.decode import ImageRefused
from projects.images.thumbnail import thumbnail_of
from training.engine.bundle.decision import AnswerSettings
from training.evaluation import confusion_matrix
from training.evaluation.comparison import images_text
from training.evaluation.label_changes import label_changes
from training.evaluation.leaderboard import fitted_text, licences_of, phases_of, promoted_from, why_it_ended
from training.evaluation.results import results_of
from training.evaluation.selections.results import final_test_of
from training.models import Metric, TrainingVersion

MAX_MISTAKES = 24
OWN_SETTINGS = "the model’s own"  # not translated: in a file that programs read
STYLES = ("tokens.css", "report.css")


def report_html(version: TrainingVersion) -> str:
    """The whole document in the active language. It follows light or dark mode and can be printed."""
    context = {
        "version": version,
        "project": version.project,
        "results": results_of(version),
        "label_changes": label_changes(version),
        "final_test": final_test_of(version),
        "answer_settings": AnswerSettings.from_json(version.answer_settings).text,
        "matrix": confusion_matrix.build_matrix(version.confusion),
        "parameters": _parameter_rows(version),
        "phases": phases_of(version),
        "why_it_ended": why_it_ended(version),
        "charts": _charts(version),
        "mistakes": _mistakes(version),
    }
    body = render_to_string("evaluation/_report.html", context)
    folder = Path(settings.BASE_DIR) / "static" / "css"
    style = "\n".join((folder / name).read_text("utf-8") for name in STYLES)
    title = escape(f"{version.name} · {version.project.name}")
    return (
        f'<!doctype html><html lang="{get_language() or "en"}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}</body></html>"
    )


def _parameter_rows(version: TrainingVersion) -> list[tuple[str, str]]:
    """Configuration and origin of the version in the words of its page."""
    dataset = version.dataset_version
    rows = [
        (gettext("Project"), version.project.name),
        (gettext("Job id"), str(version.job_id)),
        (gettext("Dataset Version"), dataset.name),
        (gettext("Dataset sha256"), dataset.sha256),
        (gettext("Images"), images_text(version)),
        (gettext("Fitted on"), _fitted_on(version)),
        (gettext("Training and Validation Ratios"), _ratios(version)),
        (gettext("Incremental Training Version"), str(version.incremental_version or gettext("None"))),
        (gettext("Promoted from"), str(promoted_from(version) or "")),
        (gettext("Expected Inference Hardware"), version.get_inference_hardware_display()),
        (gettext("Max. Inference Duration"), f"{count(version.max_inference_ms)} ms"),
        (gettext("Max. Training Time"), format_tags.hours(version.max_training_minutes)),
        (gettext("Instance Flavor"), version.flavor_name),
        (gettext("Ran on"), version.ran_on),
        (gettext("Start Time"), iso_time(version.started_at)),
        (gettext("End Time"), iso_time(version.finished_at)),
        (gettext("Single-image time"), format_tags.milliseconds(version.inference_ms)),
    ]
    return [(name, value) for name, value in rows if value]


def _fitted_on(version: TrainingVersion) -> str:
    fitted = fitted_text(version)
    return gettext("%(fitted)s training images") % {"fitted": fitted} if fitted else ""


def _ratios(version: TrainingVersion) -> str:
    ratio = version.training_ratio.normalize()
    validation = number_format((1 - ratio).normalize())
    return gettext("%(first)s and %(second)s") % {"first": number_format(ratio), "second": validation}


def parameters_of(version: TrainingVersion) -> dict[str, Any]:
    """Configuration, origin and ending of the version, for files that machines read."""
    dataset, used = version.dataset_version, version.images_used
    judged = version.metrics.filter(label="", name=Metric.Name.ACCURACY).values_list("support", flat=True)
    return {
        "project": version.project.name,
        "version": version.name,
        "job_id": str(version.job_id),
        "dataset_version": dataset.name,
        "dataset_sha256": dataset.sha256,
        "training_images": dataset.train_count,
        "training_images_fitted": used.get("fitted"),
        "training_images_left_out": used.get("left_out", {}),
        "unlabeled_images_used": used.get("unlabeled", 0),
        "validation_images": dataset.eval_count,
        "validation_images_judged": judged.first(),
        "training_ratio": str(version.training_ratio.normalize()),
        "weights_licences": licences_of(version.candidates.all()),
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
        "notes": version.progress.get("notes", []),
        "answer_settings": AnswerSettings.from_json(version.answer_settings).text or OWN_SETTINGS,
        "answer_settings_saved": version.answer_settings_at,
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
        content = thumbnail_of(evaluated.image)
    except (ImageRefused, OSError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(content).decode()
