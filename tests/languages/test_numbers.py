"""Numbers for people follow the language; numbers for machines (attributes, SVG, JSON) never do."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.template import engines
from django.test import Client
from django.utils import translation

from exeml_site.lib.display import count, date_time_text, decimal, percent, percent_range, three_decimals
from exeml_site.templatetags.format_tags import megabytes, milliseconds, plot_x
from tests.factories import make_project, make_version
from training.models import Metric, Status

NUMERIC = (
    "x|y|x1|x2|y1|y2|cx|cy|r|width|height|value|min|max|step|low|high|viewBox|transform|stroke-dasharray"
    "|data-[a-z-]*(?:count|total|max|min|mb|hours)[a-z-]*|aria-value[a-z]+"
)
ATTRIBUTE = re.compile(rf'\s({NUMERIC})="([^"]*)"')


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ("86.3 %", "86.3–90.0 %", "0.863", "12,345", "4.20", "4.2 ms", "5.2 MB")),
        ("de", ("86,3 %", "86,3–90,0 %", "0,863", "12.345", "4,20", "4,2 ms", "5,2 MB")),
        ("zh-hans", ("86.3 %", "86.3–90.0 %", "0.863", "12,345", "4.20", "4.2 ms", "5.2 MB")),
    ],
)
def test_numbers_for_people_follow_the_language(language: str, texts: tuple[str, ...]) -> None:
    with translation.override(language):
        numbers = (percent(69 / 80), percent_range(69 / 80, 0.9), three_decimals(69 / 80), count(12345))
        assert (*numbers, decimal(4.2, 2), milliseconds(4.21), megabytes(5_200_000)) == texts
        assert plot_x(0.5) == "50.00"


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "29. Nov 2026, 14:05"), ("ja", "2026年11月29日, 14:05"), ("en", "29 Nov 2026, 14:05")],
)
def test_dates_follow_the_language(language: str, text: str) -> None:
    with translation.override(language):
        assert date_time_text(datetime(2026, 11, 29, 14, 5, tzinfo=UTC)) == text


@pytest.mark.parametrize("value", [0.5, Decimal("0.5")])
def test_a_number_without_a_filter_is_for_machines(value: float | Decimal) -> None:
    source = '{% load l10n %}<rect x="{{ v }}">{{ v|floatformat:2 }} {{ v|localize }}'
    with translation.override("de"):
        html = engines["django"].from_string(source).render({"v": value})
    assert html == '<rect x="0.5">0,50 0,5'


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["de", "fr"])
def test_attributes_of_pages_hold_no_local_number(alice: Client, language: str) -> None:
    project = make_project("flowers", images=8, labels=2)
    version = make_version(project, 1, Status.COMPLETED, accuracy=0.8625)
    Metric.objects.filter(training_version=version).update(value=0.8625)
    base = f"/projects/{project.pk}"
    training = f"{base}/train-model/"
    pages = ["/projects/", f"{base}/label-data/", training, f"{training}1/", f"{training}1/labels/"]
    pages += [f"{training}configure/", f"{base}/deploy-service/", f"{base}/check/"]
    found, numbers = [], 0
    for page in pages:
        answer = alice.get(page, headers={"Accept-Language": language}, follow=True)
        assert answer.status_code == 200, page
        for name, value in ATTRIBUTE.findall(answer.content.decode()):
            numbers += bool(re.search(r"\d", value))
            if re.search(r"\d,\d|\d\u00a0\d", value):
                found.append(f"{page} {name}={value}")
    assert numbers > 20 and found == []
