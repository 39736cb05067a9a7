"""A service in a real browser: deploy, predict, camera, another version, roll back, tokens, collected."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image as Picture

from tests.browser.chromium import CHROMIUM_ARGUMENTS, check_accessibility, find_chromium, take_screenshot
from tests.factories import make_project, make_user, make_version
from tests.training.fitted import make_samples
from training.models import Batch, CallMinute, Service, Status, TrainingVersion
from training.serving import deploy, rollout, tokens
from training.serving.batches import job
from training.serving.calls import counters
from training.serving.calls.counters import bucket_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """One image of each label that the model has not seen."""
    return [sample.path for sample in make_samples(tmp_path) if sample.split == "EVAL"]


@pytest.fixture
def versions(bundle: Path) -> Iterator[list[TrainingVersion]]:
    """V001 and V002, each with a fitted model."""
    project = make_project("colours", labels=3, images=9, with_files=True)
    for label, name in zip(project.labels.order_by("position"), ("red", "green", "blue"), strict=True):
        label.name = name
        label.save()
    made = [make_version(project, number, Status.COMPLETED, accuracy=0.9) for number in (1, 2)]
    for version in made:
        shutil.copytree(bundle, Path(default_storage.path(version.folder)) / "bundle")
    yield made
    for version in made:
        shutil.rmtree(default_storage.path(version.folder))
    for folder in ("services", "batches"):
        shutil.rmtree(default_storage.path(folder), ignore_errors=True)


@pytest.fixture
def service(versions: list[TrainingVersion]) -> Service:
    """A running service of V001."""
    service, _ = deploy.deploy(versions[0], make_user("alice"), 1)
    deploy.bring_up(str(service.pk))
    service.refresh_from_db()
    return service


def at(name: str, service: Service, *more: object) -> str:
    return reverse(name, args=[service.project_id, service.pk, *more])


def predict(page: Any, *files: Path) -> None:
    """Choose files; the page predicts them at once."""
    page.wait_for_load_state()
    page.locator("#prediction-result").evaluate("old => old.dataset.old = ''")
    page.locator("#id_image").set_input_files(files)
    page.locator("#prediction-result[data-answer]:not([data-old])").wait_for()


def test_deploy_countdown_predict_and_why(
    versions: list[TrainingVersion], pictures: list[Path], open_page: Any
) -> None:
    page = open_page("alice")
    page.goto(reverse("deploy_service", args=[versions[0].project_id]))
    page.locator("#no-service").get_by_role("button", name="Deploy").click()
    page.locator("#deploy-dialog").get_by_role("button", name="Deploy").click()
    page.locator("#token-text").wait_for()
    service = Service.objects.get()
    deploy.bring_up(str(service.pk))  # what the worker does
    page.locator("#countdown", has_text="stops in 1 hour").wait_for()
    check_accessibility(page)
    predict(page, pictures[0])
    assert page.locator(".predicted-label").inner_text() == "red"
    assert page.locator("#prediction-result .scores li").count() == 3
    page.locator("#explain").click()
    page.locator(".heat img").evaluate("img => img.decode()")
    check_accessibility(page)
    take_screenshot(page, "service-predicted")
    Service.objects.filter(pk=service.pk).update(stops_at=timezone.now() + timedelta(minutes=56))
    page.reload()
    page.locator("#countdown", has_text="stops in 56 minutes").wait_for()


def test_several_pictures_at_once_and_one_of_them_by_itself(
    service: Service, pictures: list[Path], tmp_path: Path, open_page: Any
) -> None:
    page = open_page("vera")
    page.goto(at("service_page", service))
    broken = tmp_path / "a picture with a very long name that is not a picture at all.png"
    broken.write_bytes(b"hello")
    predict(page, *pictures, broken)
    rows = page.locator(".tested li")
    assert [rows.nth(place).locator("strong").inner_text() for place in range(3)] == ["red", "green", "blue"]
    assert "not a picture" in rows.nth(3).inner_text()
    check_accessibility(page)
    take_screenshot(page, "service-several")
    page.locator("[data-tested='1']").click()
    page.locator(".predicted-label", has_text="green").wait_for()
    assert page.locator("[data-drop-name]").inner_text() == pictures[1].name


@pytest.mark.parametrize(("size", "orientation"), [((400, 160), 1), ((160, 400), 1), ((400, 200), 6)])
def test_the_heat_map_covers_its_picture_exactly(
    size: tuple[int, int], orientation: int, service: Service, tmp_path: Path, open_page: Any
) -> None:
    """Red is at the left as seen; with orientation 6 the file holds the picture on its side."""
    noise, (width, height) = np.random.default_rng(5), size
    pixels = noise.normal((40, 40, 200), 40, (height, width, 3))
    pixels[:, : width // 2] = noise.normal((200, 40, 40), 40, (height, width // 2, 3))
    picture = Picture.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    exif = Picture.Exif()
    if orientation == 6:
        picture, exif[0x0112] = picture.transpose(Picture.Transpose.ROTATE_90), 6
    picture.save(tmp_path / "shape.jpg", quality=92, exif=exif)
    page = open_page("vera")
    page.goto(at("service_page", service))
    predict(page, tmp_path / "shape.jpg")
    page.locator("#explain").click()
    heat = page.locator(".heat img")
    heat.evaluate("img => img.decode()")
    shape = heat.evaluate("img => [img.naturalWidth / img.naturalHeight, img.clientWidth / img.clientHeight]")
    assert shape == pytest.approx([width / height] * 2, rel=0.02)
    seen = np.asarray(Picture.open(io.BytesIO(heat.screenshot())).convert("RGB")).astype(int)
    glow = np.clip(seen[..., 0] - seen[..., 2], 0, None).sum(0)
    left = glow[: len(glow) // 2].sum() / glow.sum()
    label = page.locator(".predicted-label").inner_text()
    assert (left > 0.6) if label == "red" else (left < 0.4)


@pytest.mark.parametrize("key", ["curl", "python", "javascript"])
def test_the_examples_of_the_page_work_as_they_stand(
    key: str, service: Service, pictures: list[Path], tmp_path: Path, open_page: Any
) -> None:
    from playwright._impl._driver import compute_driver_executable

    if key == "curl" and not shutil.which("curl"):
        pytest.skip("curl is not installed")
    page = open_page("vera")
    page.goto(at("service_page", service))
    token = tokens.create_token(service, "examples", make_user("alice"))
    text = page.locator(f"#snippet-text-{key}").text_content().replace("YOUR_TOKEN", token.plain)
    shutil.copy(pictures[0], tmp_path / "photo.jpg")
    (tmp_path / "example.mjs").write_text(text)
    command = {
        "curl": ["sh", "-c", text],
        "python": [sys.executable, "-c", text],
        "javascript": [compute_driver_executable()[0], "example.mjs"],  # Playwright's own Node.js
    }[key]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["predicted_label"] if key == "curl" else done.stdout.strip()
    assert said == "red"


def paste(page: Any, file: Path) -> None:
    """Paste an image as browsers do: its name is image.png."""
    page.evaluate(
        """(text) => {
          const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer }));
        }""",
        base64.b64encode(file.read_bytes()).decode(),
    )


def test_a_pasted_image_is_predicted_at_once_and_the_last_one_wins(
    service: Service, pictures: list[Path], open_page: Any
) -> None:
    page = open_page("vera")
    page.goto(at("service_page", service))
    for picture in pictures:  # without waiting: a newer image replaces the request of the one before
        paste(page, picture)
    page.locator(".predicted-label", has_text="blue").wait_for()
    assert page.locator("[data-drop-name]").inner_text() == "image.png"


def test_a_file_that_is_no_image_leaves_no_predicting_behind(
    service: Service, tmp_path: Path, open_page: Any
) -> None:
    page = open_page("vera")
    page.goto(at("service_page", service))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"hello")
    page.locator("#id_image").set_input_files(broken)
    page.locator("#prediction-error", has_text="This is not a picture").wait_for()
    assert page.locator("#prediction-result").inner_text() == "No prediction. Press Predict to try again."


def test_a_stopped_service_predicts_nothing_when_an_image_is_chosen(
    service: Service, pictures: list[Path], open_page: Any
) -> None:
    deploy.stop(service, make_user("alice"))
    page = open_page("vera")
    page.goto(at("service_page", service))
    page.locator("#id_image").set_input_files(pictures[0])
    page.locator("[data-drop-name]", has_text=pictures[0].name).wait_for()
    assert page.locator("#prediction-result").inner_text() == "The five best labels appear here."
    assert "Possible only while the service is Running." in page.locator("#prediction-action").inner_text()


def test_stop_asks_first_and_keeps_the_tested_image(
    service: Service, pictures: list[Path], open_page: Any
) -> None:
    page = open_page("alice")
    page.goto(at("service_page", service))
    predict(page, pictures[0])
    counters.flush()
    page.locator("#stop-or-start").click()
    question = page.locator("#question-dialog[open]")
    question.get_by_text("1 call in the last hour.").wait_for()
    check_accessibility(page)
    take_screenshot(page, "service-stop")
    question.get_by_role("link", name="Cancel").click()
    service.refresh_from_db()
    assert service.is_running and not page.locator("#question-dialog").is_visible()
    page.locator("#stop-or-start").click()
    question.get_by_role("button", name="Stop").click()
    page.locator("#stop-or-start[data-start]").wait_for()
    assert not page.locator("#question-dialog").is_visible()
    assert page.locator(".predicted-label").inner_text() == "red"


def test_a_camera_that_is_denied_is_told(service: Service, open_page: Any) -> None:
    page = open_page("vera")
    page.goto(at("service_page", service))
    page.keyboard.press("c")
    error = page.locator("#prediction-error .field-error")
    error.wait_for()
    assert "camera" in error.inner_text() and "Choose a file instead" in error.inner_text()
    take_screenshot(page, "service-camera-denied")


def test_a_picture_of_the_camera_is_predicted(service: Service, live_server: Any, chromium: Any) -> None:
    """Chromium's fake camera shows a green image."""
    pretended = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    arguments = [*CHROMIUM_ARGUMENTS, *pretended]
    browser = chromium.browser_type.launch(executable_path=find_chromium(), args=arguments)
    page = browser.new_context(base_url=live_server.url, permissions=["camera"]).new_page()
    client = Client()
    client.force_login(make_user("vera"))
    cookie = client.cookies["sessionid"].value
    page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    page.goto(at("service_page", service))
    page.locator("#camera").click()
    ready = "view => new Promise((go) => (view.videoWidth ? go() : (view.onloadeddata = go)))"
    page.locator("#camera-view").evaluate(f"async (view) => {{ await ({ready})(view); }}")
    take_screenshot(page, "service-camera")
    page.locator("#camera-take").click()
    assert page.locator("[data-drop-name]", has_text="camera.jpg").inner_text() == "camera.jpg"
    assert page.locator(".predicted-label").inner_text()
    browser.close()


def test_another_version_takes_over_and_is_rolled_back(
    service: Service, pictures: list[Path], open_page: Any
) -> None:
    page = open_page("alice")
    page.goto(at("service_page", service))
    page.locator("#change-version").click()
    check_accessibility(page)
    take_screenshot(page, "service-change")
    page.locator("#change-dialog").get_by_role("button", name="Change").click()
    page.get_by_text("V002 is being loaded and tested").wait_for()
    rollout.change_over(str(service.pk))  # what the worker does
    page.locator("#roll-back", has_text="Roll back to V001").wait_for()
    predict(page, pictures[2])
    assert "by V002" in page.locator(".predicted").inner_text()
    page.locator("#roll-back").click()
    page.get_by_text("V001 is being loaded and tested").wait_for()
    rollout.change_over(str(service.pk))
    page.locator("#roll-back", has_text="Roll back to V002").wait_for()
    assert "V001 answers in place of V002." in page.locator("#service-events").inner_text()
    take_screenshot(page, "service-rolled-back")


def test_a_share_of_the_calls_is_chosen_with_the_keyboard(service: Service, open_page: Any) -> None:
    page = open_page("alice")
    page.goto(at("service_page", service))
    page.locator("#change-version").press("Enter")
    page.get_by_label("A share of them, as a canary").press("Space")
    page.get_by_label("Percentage of calls").fill("100")
    page.keyboard.press("Enter")
    page.locator("#change-dialog .field-error", has_text="from 1 to 99").wait_for()
    page.get_by_label("Percentage of calls").fill("25")
    page.keyboard.press("Enter")
    page.get_by_text("V002 is being loaded and tested to take 25 % of the calls").wait_for()
    rollout.change_over(str(service.pk))
    page.get_by_role("button", name="Send all calls to V002").wait_for()
    take_screenshot(page, "service-canary")


def test_tokens_are_made_rotated_and_revoked(service: Service, open_page: Any) -> None:
    page = open_page("alice")
    page.goto(at("service_page", service))
    page.get_by_label("Name of the new token").fill("shop floor")
    page.keyboard.press("Enter")
    page.locator("#token-text").wait_for()
    first = page.locator("#token-text").inner_text()
    check_accessibility(page)
    page.get_by_role("button", name="Rotate shop floor").click()
    page.locator("dialog[open]").get_by_role("button", name="Rotate").click()
    page.locator("#token-text").filter(has_not_text=first).wait_for()
    take_screenshot(page, "service-tokens")
    page.get_by_role("button", name="Revoke shop floor").click()
    page.locator("dialog[open]").get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke shop floor").wait_for(state="detached")
    assert service.tokens.filter(revoked_at=None).count() == 1


def test_collected_pictures_are_judged_and_taken(
    service: Service, pictures: list[Path], open_page: Any
) -> None:
    page = open_page("alice")
    page.goto(at("service_collected", service))
    check_accessibility(page)
    take_screenshot(page, "service-collected-empty")
    page.get_by_label("Collect requests").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Nothing collected yet").wait_for()
    page.get_by_role("link", name="Test", exact=True).click()
    for picture in pictures:
        predict(page, picture)
    page.locator(".judgement select").select_option("green")
    page.locator(".judgement").get_by_role("button", name="Wrong").click()
    page.get_by_text("Judged wrong: green").wait_for()
    page.get_by_role("link", name="Collected").click()
    page.locator(".collected-tile").first.wait_for()
    assert "wrong: green" in page.locator(".collected-tile").first.inner_text()
    for image in page.locator(".collected-picture img").all():
        image.evaluate("img => img.decode()")
    check_accessibility(page)
    take_screenshot(page, "service-collected")
    page.get_by_label("Select this page").check()
    page.get_by_role("button", name="Add to Label Data").click()
    page.get_by_text("3 images added to Label Data.").wait_for()
    assert service.project.images.filter(collected_calls__isnull=False).count() == 3


def busy(service: Service) -> None:
    """Calls of one day."""
    dice, now = np.random.default_rng(0), timezone.now().replace(second=0, microsecond=0)
    counters.flush()
    for number in range(600):
        calls = int(dice.integers(1, 40))
        failed = int(dice.integers(0, 3)) if number % 9 == 0 else 0
        buckets: dict[str, int] = {}
        for ms in dice.lognormal(2.7, 0.5, calls):
            buckets[str(bucket_of(ms))] = buckets.get(str(bucket_of(ms)), 0) + 1
        CallMinute.objects.create(
            service=service,
            training_version=service.training_version,
            minute=now - timedelta(minutes=2 * number),
            process="00000000-0000-0000-0000-000000000001",
            calls=calls,
            failed=failed,
            errors={"IMAGE_UNREADABLE": failed} if failed else {},
            labels={"red": calls // 2, "green": calls // 3},
            buckets=buckets,
        )


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")]
)
def test_every_page_of_a_service_fits_and_is_accessible(
    service: Service, pictures: list[Path], open_page: Any, width: int, scheme: str
) -> None:
    busy(service)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for picture, folder in zip(pictures, ("red", "green", "red"), strict=True):  # the last is a mistake
            archive.write(picture, f"{folder}/{picture.name}")
        archive.writestr("broken.jpg", b"hello")
    batch = Batch.objects.create(
        service=service, training_version=service.training_version, name="a" * 120 + ".zip"
    )
    stored = f"{batch.folder}/upload-0.zip"
    Path(default_storage.path(batch.folder)).mkdir(parents=True, exist_ok=True)
    Path(default_storage.path(stored)).write_bytes(out.getvalue())
    Batch.objects.filter(pk=batch.pk).update(files=[{"name": "a.zip", "stored": stored}])
    job.run(batch.pk)
    page = open_page("alice", width=width, height=900 if width > 500 else 844, scheme=scheme)
    addresses = {
        "test": at("service_page", service),
        "monitoring": at("service_monitoring", service),
        "collected": at("service_collected", service),
        "batch": at("service_batches", service),
        "failures": at("batch_report", service, batch.pk),
        "api": reverse("api_guide"),
    }
    for name, address in addresses.items():
        page.goto(address)
        page.wait_for_load_state()
        check_accessibility(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        take_screenshot(page, f"service-{name}-{width}-{scheme}")
        assert wide <= 0, f"{name} scrolls sideways by {wide} px"
