"""Labels while uploading, imports and exports in a real browser."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from projects.models import Project, Transfer
from projects.transfers import import_job
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, zipped

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def visit(page: Any, project: Project, name: str = "label_data", *more: int) -> None:
    page.goto(reverse(name, args=[project.pk, *more]))


def put(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def wait_for_labels(page: Any, project: Project, wanted: dict[str, list[str]]) -> None:
    for _ in range(100):
        if labels_by_name(project) == wanted:
            return
        page.wait_for_timeout(50)
    assert labels_by_name(project) == wanted


def test_the_folders_of_a_dropped_folder_become_labels(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    names = ["roses/1.png", "roses/2.png", "tulips/3.png"]
    folder = put(tmp_path / "flowers", {name: picture_bytes(seed) for seed, name in enumerate(names)})

    page.locator("#folder").set_input_files(folder)

    dialog = page.locator("#upload-labels")
    dialog.get_by_text("roses (2), tulips (1)").wait_for()
    assert dialog.get_by_label("Folder names are their labels").is_checked()
    check_accessibility(page)
    take_screenshot(page, "upload-labels")
    page.keyboard.press("Enter")
    wait_for_labels(page, project, {"1.png": ["roses"], "2.png": ["roses"], "3.png": ["tulips"]})
    page.get_by_text("3 added").wait_for()
    assert [event.kind for event in project.label_events.all()] == ["import"]


def test_escape_uploads_nothing(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    page.locator("#folder").set_input_files(put(tmp_path / "a", {"b/1.png": picture_bytes(1)}))
    page.locator("#upload-labels").wait_for()
    page.keyboard.press("Escape")
    page.locator("#upload-labels").wait_for(state="hidden")
    page.wait_for_timeout(300)
    assert project.images.count() == 0 and page.locator("#uploads").is_hidden()


def test_text_files_beside_the_images_label_them(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    files = {"10.png": picture_bytes(1), "10.txt": "roses\n", "11.png": picture_bytes(2), "11.txt": "a\nb\n"}
    folder = put(tmp_path, files)
    page.locator("#files").set_input_files([folder / name for name in files])
    page.locator("#upload-labels").get_by_text("2 with a text file beside them").wait_for()
    page.keyboard.press("Enter")
    wait_for_labels(page, project, {"10.png": ["roses"], "11.png": []})
    page.get_by_text("2 added · 1 added without a label").wait_for()
    page.get_by_text("It has 2 labels, and this project allows one label per image.").wait_for()


def test_one_label_is_given_to_all_while_they_are_uploaded(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    folder = put(tmp_path, {f"{n}.png": picture_bytes(n) for n in range(3)})
    page.locator("#files").set_input_files([folder / f"{n}.png" for n in range(3)])
    page.get_by_text("3 added").wait_for()
    page.get_by_label("Label them all").fill("roses")
    page.keyboard.press("Enter")
    wait_for_labels(page, project, {f"{n}.png": ["roses"] for n in range(3)})
    page.get_by_text("Labeling all as “roses” …").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.tab-count')[2].textContent === '3'")


def test_an_archive_added_to_label_data_becomes_an_import(open_page: Open, tmp_path: Path) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    files = {f"{'ab'[n % 2]}/{n}.png": picture_bytes(n) for n in range(6)} | {"b/x.gif": b"GIF89a"}
    archive = tmp_path / "flowers.zip"
    archive.write_bytes(zipped(files))

    page.locator("#files").set_input_files(archive)

    page.wait_for_url(re.compile(r"/transfers/\d+/$"))
    page.get_by_text("Waiting for a worker").wait_for()
    take_screenshot(page, "import-waiting")
    import_job.run(Transfer.objects.get().pk)
    page.get_by_text("7 of 7 files").wait_for()
    page.get_by_text("This GIF picture is damaged").wait_for()
    check_accessibility(page)
    take_screenshot(page, "import-completed")
    page.get_by_role("link", name="Show 6 images").click()
    page.locator("#tiles > .tile").nth(5).wait_for()
    page.get_by_text("from import no.").wait_for()


def test_the_import_form_says_what_is_wrong_and_takes_a_large_file_in_parts(
    open_page: Open, tmp_path: Path
) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project, "transfers")
    check_accessibility(page)
    take_screenshot(page, "transfers")
    page.get_by_role("button", name="Import").click()
    page.get_by_text("Choose a zip archive, a manifest or a table.").wait_for()

    archive = tmp_path / "large.zip"
    files = {"a/1.png": picture_bytes(1), "b/2.png": picture_bytes(2), "filler": b"\0" * (17 << 20)}
    archive.write_bytes(zipped(files))
    page.get_by_label("Zip archive, manifest or table").set_input_files(archive)
    page.get_by_label("Labels come from").select_option("nothing")
    page.get_by_role("button", name="Import").click()
    page.wait_for_url(re.compile(r"/transfers/\d+/$"))
    transfer = Transfer.objects.get()
    assert transfer.options["labels_from"] == "nothing"
    import_job.run(transfer.pk)
    page.get_by_role("heading", name="What will be imported").wait_for()  # asks what the folders mean
    page.get_by_role("button", name="Import", exact=True).click()
    page.wait_for_url(re.compile(r"/transfers/\d+/$"))
    import_job.run(transfer.pk)
    page.get_by_text("Imported without labels.").wait_for()
    assert labels_by_name(project) == {"1.png": [], "2.png": []}


def test_taking_an_import_back(open_page: Open) -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": zipped({"a/1.png": picture_bytes(1), "b/2.png": picture_bytes(2)})})
    page = open_page("bob", width=390, height=844, scheme="dark")
    visit(page, project, "transfer", done.pk)
    page.get_by_text("Undo…").click()
    take_screenshot(page, "import-take-back-narrow-dark")
    page.get_by_role("button", name="Undo the import").click()
    page.get_by_text("2 images moved to the bin").wait_for()
    assert project.images.filter(deleted_at=None).count() == 0


def test_an_export_is_downloaded(open_page: Open) -> None:
    project = make_project(labels=2, images=2, with_files=True)
    page = open_page("vera")
    visit(page, project, "transfers")
    page.get_by_label("A folder for each label (zip)").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    content = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename == "flowers.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.namelist()) == 4 and archive.testzip() is None


def test_a_folder_with_splits_keeps_them_and_leaves_out_what_systems_add(
    open_page: Open, tmp_path: Path
) -> None:
    project = make_project(labels=0)
    page = open_page("bob")
    visit(page, project)
    names = ["train/cat/1.png", "val/dog/2.png", "test/cat/3.png", "$RECYCLE.BIN/4.png", "cat/@eaDir/5.png"]
    folder = put(tmp_path / "pets", {name: picture_bytes(seed) for seed, name in enumerate(names)})
    page.locator("#folder").set_input_files(folder)
    page.locator("#upload-labels").get_by_text("cat (2), dog (1)").wait_for()
    page.keyboard.press("Enter")
    wait_for_labels(page, project, {"1.png": ["cat"], "2.png": ["dog"], "3.png": ["cat"]})
    for _ in range(100):
        if project.images.exclude(split="").count() == 3:
            break
        page.wait_for_timeout(50)
    splits = dict(project.images.values_list("name", "split"))
    assert splits == {"1.png": "TRAIN", "2.png": "EVAL", "3.png": "TEST"}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_what_is_in_doubt_is_shown_before_the_import(
    open_page: Open, tmp_path: Path, width: int, scheme: str
) -> None:
    project = make_project(labels=0)
    page = open_page("bob", width=width, height=900, scheme=scheme)
    visit(page, project, "transfers")
    table = "file,animal,colour\n0.png,cat,red\n1.png,Cat,red\n2.png,dog,blue\nnone.png,dog,red\n"
    files = {f"train/{n}.png": picture_bytes(n) for n in range(5)}
    other = "what,ever\nx,y\n"
    archive = tmp_path / "pets.zip"
    archive.write_bytes(zipped({**files, "animals.csv": table, "other.csv": other, "Thumbs.db": b"x"}))
    page.get_by_label("Zip archive, manifest or table").set_input_files(archive)
    page.get_by_role("button", name="Import").click()
    page.wait_for_url(re.compile(r"/transfers/\d+/$"))
    transfer = Transfer.objects.get()
    import_job.run(transfer.pk)
    page.get_by_text("Please check this before the import.").wait_for()
    check_accessibility(page)
    take_screenshot(page, f"import-review-{width}-{scheme}")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    take_screenshot(page, f"import-review-end-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("group", name="Labels").get_by_label("colour").first.check()
    page.get_by_role("group", name="Labels").get_by_label("animal").first.uncheck()
    page.get_by_role("button", name="Update preview").click()
    page.get_by_text("Waiting for a worker").wait_for()
    import_job.run(transfer.pk)
    page.get_by_text("blue 1").wait_for()
    page.locator("#review").get_by_role("button", name="Import").click()
    page.get_by_text("Waiting for a worker").wait_for()
    import_job.run(transfer.pk)
    page.get_by_role("link", name="Show 5 images").wait_for()
    take_screenshot(page, f"import-report-{width}-{scheme}")
    assert sorted(map(len, labels_by_name(project).values())) == [0, 0, 1, 1, 1]
