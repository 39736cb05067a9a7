"""The heat map of the test page takes the images that the test itself takes."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client


@pytest.mark.parametrize("action", ["explain", "predict"])
def test_an_image_beyond_the_limit_is_refused_before_it_is_read(
    opened: Any, alice: Client, settings: Any, action: str
) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    service, _ = opened
    url = f"/projects/{service.project_id}/deploy-service/{service.pk}/{action}/"
    too_large = SimpleUploadedFile("a.png", bytes(1024 * 1024 + 1))
    answer = alice.post(url, {"image": too_large, "label": "red"}, headers={"HX-Request": "true"})
    assert answer.status_code == 422 and "larger than 1 MB" in answer.content.decode()
