"""The sample project that the first start creates."""

from __future__ import annotations

import io
import re

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from PIL import Image as Pillow

from projects import setup
from projects.models import Annotation, AnnotationSource, Image, InitialPassword, Project, Role, Team
from projects.workspace.sample_project import make_sample_project, read_scans
from tests.factories import make_team, make_user


@pytest.fixture(scope="module")
def scans() -> list:
    return read_scans()


@pytest.fixture
def few_scans(monkeypatch: pytest.MonkeyPatch, scans: list) -> list:
    """Only the first hundred scans: the tests of the rows need no more."""
    monkeypatch.setattr("projects.workspace.sample_project.read_scans", lambda: scans[:100])
    return scans[:100]


def test_every_scan_is_another_picture(scans: list) -> None:
    assert len({scan.png for scan in scans}) == len(scans) == 1797


def test_about_two_hundred_are_left_to_label_twenty_of_each_digit(scans: list) -> None:
    left = [scan.digit for scan in scans if not scan.is_labeled]
    assert {digit: left.count(digit) for digit in set(left)} == dict.fromkeys(range(10), 20)


def test_a_scan_is_dark_ink_on_white_paper(scans: list) -> None:
    picture = Pillow.open(io.BytesIO(scans[0].png))
    assert (picture.size, picture.mode) == ((64, 64), "L")
    assert picture.getpixel((0, 0)) == 255
    assert picture.getextrema()[0] < 32


@pytest.mark.django_db
def test_rows_files_and_thumbnails_agree(few_scans: list) -> None:
    project = make_sample_project(make_team(), make_user("alice"))
    assert project.name == "handwritten-digits"
    assert project.images.count() == len(few_scans)
    for image in project.images.all():
        assert default_storage.size(image.file_name) == image.size_bytes
        assert default_storage.exists(image.thumbnail_name)
        assert (image.width, image.height, image.format) == (64, 64, "PNG")
        assert image.is_labeled == image.annotations.exists()


@pytest.mark.django_db
def test_labels_are_the_digits_and_the_hot_keys_fit_them(few_scans: list) -> None:
    project = make_sample_project(make_team(), None)
    assert {label.name: label.hot_key for label in project.labels.all()} == {
        str(digit): str(digit) for digit in range(10)
    }
    named = {image.name: image for image in project.images.prefetch_related("annotations__label")}
    for scan in few_scans:
        labels = [one.label.name for one in named[scan.name].annotations.all()]
        assert labels == ([str(scan.digit)] if scan.is_labeled else [])
    assert set(Annotation.objects.values_list("source", flat=True)) == {AnnotationSource.SAMPLE}


@pytest.mark.django_db
def test_a_sample_that_cannot_be_stored_leaves_no_project(
    few_scans: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("projects.workspace.sample_project.save_whole", full)
    with pytest.raises(OSError, match="No space"):
        make_sample_project(make_team(), None)
    assert not Project.objects.exists()
    assert not Image.objects.exists()


@pytest.fixture
def data_folder(settings: object, tmp_path: object) -> None:
    settings.DATA_DIR = tmp_path  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.usefixtures("data_folder", "few_scans")
def test_the_first_start_makes_it_once_and_never_again_after_it_was_deleted() -> None:
    setup.make_administrator()
    setup.make_sample(lambda sentence: None)
    assert Team.objects.get(name="My team").projects.count() == 1
    Project.objects.all().delete()
    setup.make_sample(lambda sentence: None)
    assert not Project.objects.exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("data_folder", "few_scans")
def test_a_team_that_works_already_gets_no_sample() -> None:
    setup.make_administrator()
    Project.objects.create(team=Team.objects.get(name="My team"), name="ours")
    setup.make_sample(lambda sentence: None)
    assert Project.objects.count() == 1


@pytest.mark.django_db
def test_the_first_administrator_is_made_once_and_manages_the_first_team(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("EXEML_ADMIN_PASSWORD", raising=False)
    monkeypatch.delenv("EXEML_ADMIN_NAME", raising=False)
    first = setup.make_administrator()
    again = setup.make_administrator()
    assert first.is_new and len(first.password) >= 12
    assert re.fullmatch(r"operator-[a-z2-9]{6}", first.name)
    assert (again.is_new, again.password, again.name) == (False, "", first.name)
    membership = Team.objects.get(name="My team").memberships.get()
    assert (membership.user.username, membership.role) == (first.name, Role.MANAGER)
    assert membership.user.is_superuser and membership.user.check_password(first.password)
    assert InitialPassword.objects.get().user == membership.user


@pytest.mark.django_db
def test_the_name_of_the_first_administrator_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_ADMIN_NAME", "rosa")
    assert setup.make_administrator().name == "rosa"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["two words", "x" * 151, "bob"])
def test_a_name_that_no_account_can_have_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_user("bob")
    monkeypatch.setenv("EXEML_ADMIN_NAME", name)
    with pytest.raises(CommandError, match="EXEML_ADMIN_NAME"):
        call_command("setup")
    assert not User.objects.filter(is_superuser=True).exists()


@pytest.mark.django_db
def test_a_given_password_is_taken_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXEML_ADMIN_PASSWORD", "from the vault")
    made = setup.make_administrator()
    assert (made.is_new, made.password) == (True, "")
    assert Team.objects.get(name="My team").members.get().check_password("from the vault")
    assert not InitialPassword.objects.exists()
