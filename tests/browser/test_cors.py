"""A web page of another origin calls a service from a real browser, once a Manager has listed its website."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, make_user, make_version
from tests.training.bundles import give_bundle
from training.models import Service, Status
from training.serving import deploy

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
CALL = """async ([url, token]) => {
  const canvas = new OffscreenCanvas(40, 40);
  canvas.getContext("2d").fillRect(0, 0, 40, 40);
  const body = new FormData();
  body.append("images", await canvas.convertToBlob(), "a.png");
  try {
    const answer = await fetch(url, { method: "POST", headers: { "X-Auth-Token": token }, body });
    return [answer.status, await answer.json()];
  } catch (problem) {
    return [0, String(problem)];
  }
}"""


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><title>Shop</title>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    """The origin of another website."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_listed_website_may_call(open_page: Any, live_server: Any, shop: str) -> None:
    version = make_version(make_project("flowers"), 1, Status.COMPLETED, accuracy=0.9)
    give_bundle(version)
    service, token = deploy.deploy(version, make_user("alice"), None)
    deploy.bring_up(str(service.pk))
    url = f"{live_server.url}/v1/infers/{service.pk}"
    page = open_page()
    page.goto(shop)
    assert page.evaluate(CALL, [url, token.plain])[0] == 0, "no website may call at first"

    manager = open_page("alice", width=1280)
    manager.goto(f"/projects/{service.project_id}/deploy-service/{service.pk}/")
    manager.get_by_label("Websites whose pages may call this service").fill(f"{shop}/path")
    card = manager.locator("#service-origins")
    card.get_by_role("button", name="Save").click()
    card.get_by_text("is not the address of a website").wait_for()
    take_screenshot(manager, "service-origins-refused")
    manager.get_by_label("Websites whose pages may call this service").fill(shop)
    card.get_by_role("button", name="Save").click()
    card.get_by_text("Saved.").wait_for()
    check_accessibility(manager)
    assert Service.objects.get().allowed_origins == [shop]

    status, answer = page.evaluate(CALL, [url, token.plain])
    assert status == 200 and answer["predicted_label"]
    status, answer = page.evaluate(CALL, [url, "wrong"])
    assert (status, answer["error_code"]) == (401, "TOKEN_WRONG"), "errors can be read, too"
