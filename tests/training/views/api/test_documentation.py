"""The API's description holds what the API does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.test import Client

from exeml_site.lib.outages.parts import Part
from exeml_site.unavailable import error_code
from exeml_site.web_worker import TOO_SLOW_BODY
from tests.pages import html_of
from training.serving import call_request
from training.serving.openapi import ERRORS, openapi_document
from training.views.api import documentation

SOURCES = [*Path(documentation.__file__).parent.glob("*.py"), Path(call_request.__file__)]
pytestmark = pytest.mark.django_db


def test_every_refusal_of_the_api_is_described_and_nothing_else() -> None:
    code = "".join(file.read_text() for file in SOURCES)
    raised = set(re.findall(r'(?:ApiError|cls)\(\s*(\d{3}),\s*"([A-Z_]+)"', code))
    raised.add(("400", Client().post("/v1/infers/x", headers={"Host": "a b"}).json()["error_code"]))
    raised |= {("503", error_code(part)) for part in Part}
    raised.add(("408", json.loads(TOO_SLOW_BODY)["error_code"]))  # by the web server
    described = {(str(status), code) for status, (_, codes) in ERRORS.items() for code in codes}
    assert raised == described


def test_the_document_and_the_page_are_there_for_everybody() -> None:
    answer = Client().get("/v1/openapi.json").json()
    assert answer == openapi_document("http://testserver")
    assert set(answer["paths"]) == {"/v1/infers/{service_id}", "/v1/infers/{service_id}/feedback"}
    page = html_of(Client().get("/v1/"))
    assert "http://testserver/v1/infers/&lt;service id&gt;" in page and "TOO_MANY_CALLS" in page


def test_references_in_the_document_lead_somewhere() -> None:
    document = openapi_document("http://x")
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names and names <= set(document["components"]["schemas"])
