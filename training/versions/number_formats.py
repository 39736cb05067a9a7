"""The number formats of a version: what was measured of each, and which one a service answers with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exeml_site.lib.display import three_decimals
from training.engine.evaluation.metrics import Rate, wilson
from training.models import NumberFormat, Service, TrainingVersion


@dataclass(frozen=True)
class NumberFormatRow:
    """A number format of a version with the figures on its validation images; `ms`: of one image."""

    number_format: NumberFormat
    is_default: bool
    images: int
    rate: Rate
    agreed: int
    p_value: float
    ms: float

    @property
    def name(self) -> str:
        return str(self.number_format.label)

    @property
    def p_text(self) -> str:
        return three_decimals(self.p_value)

    @property
    def is_exact(self) -> bool:
        """Whether the others are compared with it."""
        return self.number_format == NumberFormat.FLOAT32


def number_format_rows(version: TrainingVersion) -> list[NumberFormatRow]:
    """All number formats that were compared when the version was evaluated; empty for older versions."""
    return [_row(version, report) for report in version.number_formats]


def number_format_in(service: Service, version: TrainingVersion) -> NumberFormat:
    """The number format in which the version answers in the service: the service's, if the version has it."""
    known = {report["number_format"] for report in version.number_formats}
    wanted = service.number_format
    return NumberFormat(
        wanted if wanted in known or wanted == NumberFormat.FLOAT32 else version.number_format
    )


def _row(version: TrainingVersion, report: dict[str, Any]) -> NumberFormatRow:
    number_format = NumberFormat(report["number_format"])
    return NumberFormatRow(
        number_format=number_format,
        is_default=number_format == version.number_format,
        images=report["images"],
        rate=wilson(report["hits"], report["images"]),
        agreed=report["agreed"],
        p_value=report["p_value"],
        ms=report["ms"],
    )
