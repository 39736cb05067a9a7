"""Whole archives as exporters, systems and people make them: labels, sets, and an account of every file."""

from __future__ import annotations

import io
import json
import random
import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from projects.forms.import_review import ImportReviewForm
from projects.models import Project, Transfer
from projects.transfers import import_job, imports
from projects.transfers.file_sources import LINK, SAME_PATH
from tests.factories import make_project, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, reasons, zipped

pytestmark = pytest.mark.django_db
CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
OUTCOMES = {"labeled", "unlabeled", "label_files", "system_files", "left_out"}


def case(name: str) -> bytes:
    path = CASES / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path.read_bytes()


def splits_by_name(project: Project) -> dict[str, str]:
    return dict(project.images.values_list("name", "split"))


def accounted(transfer: Transfer) -> dict[str, int]:
    """Files of the archive by outcome, which add up to all of them."""
    files: dict[str, int] = transfer.report["files"]
    assert set(files) <= OUTCOMES
    assert sum(files.values()) == transfer.report["total_files"]
    return {name: number for name, number in files.items() if number}


# --- splits ---


def test_folders_of_splits_alone_are_no_labels_and_their_splits_are_kept() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("split-folders-become-labels/only_splits.zip")})
    assert labels_by_name(project) == {"1.jpg": [], "2.jpg": [], "3.jpg": []}
    assert splits_by_name(project) == {"1.jpg": "TRAIN", "2.jpg": "EVAL", "3.jpg": "TEST"}
    assert accounted(done) == {"unlabeled": 3}
    assert project.labels.count() == 0


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_a_one_hot_table_in_each_folder_of_a_split_is_read(is_multi_label: bool) -> None:
    project = make_project(labels=0, is_multi_label=is_multi_label)
    done = imported(project, {"a.zip": case("split-folders-become-labels/roboflow_multilabel.zip")})
    labels = {name[0]: names for name, names in labels_by_name(project).items()}
    splits = {name[0]: split for name, split in splits_by_name(project).items()}
    assert splits == {"a": "TRAIN", "b": "TRAIN", "c": "EVAL", "d": "TEST"}
    assert not {"train", "valid", "test"} & set(project.labels.values_list("name", flat=True))
    several = [name for name, names in labels.items() if len(names) > 1]
    assert bool(several) == is_multi_label
    if not is_multi_label:
        assert all("2 labels" in reason for reason in reasons(done).values())
        assert len(reasons(done)) == sum(not names for names in labels.values()) > 0
    assert accounted(done)["label_files"] == 3


# --- tables ---


def test_every_table_of_an_archive_is_read() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("table-half-read/two_tables.zip")})
    assert labels_by_name(project) == {"0.jpg": ["cat"], "1.jpg": ["dog"], "2.jpg": ["cat"], "3.jpg": ["dog"]}
    assert accounted(done) == {"labeled": 4, "label_files": 2}


def test_images_that_no_table_names_are_imported_without_a_label() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("table-half-read/some_listed.zip")})
    assert sorted(map(len, labels_by_name(project).values())) == [0, 0, 0, 1, 1]
    assert accounted(done) == {"labeled": 2, "unlabeled": 3, "label_files": 1}


def test_two_tables_that_agree_are_merged_and_a_contradiction_gives_no_label() -> None:
    project = make_project(labels=0)
    files = {f"{n}.png": picture_bytes(n) for n in range(3)}
    tables = {
        "a.csv": "image,label\n0.png,cat\n1.png,cat\n",
        "b.csv": "image,label,split\n0.png,CAT,test\n1.png,dog,train\n2.png,dog,val\n",
    }
    done = imported(project, {"a.zip": zipped({**files, **tables})})
    assert labels_by_name(project) == {"0.png": ["cat"], "1.png": [], "2.png": ["dog"]}
    assert splits_by_name(project) == {"0.png": "TEST", "1.png": "TRAIN", "2.png": "EVAL"}
    assert "“a.csv” says “cat”, “b.csv” says “dog”" in reasons(done)["1.png"]


def test_a_table_means_the_image_in_its_own_folder() -> None:
    project = make_project(labels=0)
    files = {
        "train/1.png": picture_bytes(1),
        "train/labels.csv": "image,label\n1.png,cat\n",
        "test/1.png": picture_bytes(2),
        "test/labels.csv": "image,label\n1.png,dog\n",
    }
    imported(project, {"a.zip": zipped(files)})
    rows = project.images.values_list("split", "annotations__label__name")
    assert set(rows) == {("TRAIN", "cat"), ("TEST", "dog")}


def test_a_sample_of_answers_to_hand_in_gives_no_labels() -> None:
    project = make_project(labels=0)
    files = {
        "train/1.png": picture_bytes(1),
        "test/2.png": picture_bytes(2),
        "train.csv": "id,label\n1.png,cat\n",
        "sample_submission.csv": "id,label\n2.png,cat\n",
    }
    done = imported(project, {"a.zip": zipped(files)})
    assert labels_by_name(project) == {"1.png": ["cat"], "2.png": []}
    assert "made up" in reasons(done)["sample_submission.csv"]


def test_a_stray_label_file_breaks_nothing_and_is_named() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("peer-label-files/folders_with_foreign_jsonl.zip")})
    assert labels_by_name(project) == {"a.jpg": ["cat"], "b.jpg": ["dog"]}
    assert list(reasons(done)) == ["captions.jsonl"]
    assert accounted(done) == {"labeled": 2, "left_out": 1}


@pytest.mark.parametrize("content", ["{broken", "image,label\nelsewhere.png,cat\n", "\x00\x01", ""])
def test_whatever_lies_beside_good_folders_they_are_imported(content: str) -> None:
    project = make_project(labels=0)
    files = {"a/1.png": picture_bytes(1), "b/2.png": picture_bytes(2)}
    for suffix in ("csv", "json", "jsonl", "manifest", "xml", "txt"):
        again = make_project(f"p-{suffix}", labels=0)
        done = imported(again, {"a.zip": zipped({**files, f"notes.{suffix}": content})})
        assert done.status == "Completed", done.problem
        assert labels_by_name(again) == {"1.png": ["a"], "2.png": ["b"]}
        assert accounted(done) == {"labeled": 2, "left_out": 1}
    assert project.images.count() == 0


PEERS = [
    "fname_target.csv", "kaggle_image_id.csv", "labelstudio.csv", "labelstudio.json",
    "modelarts_array.manifest", "modelarts_number.manifest", "no_extension.csv", "other_case.csv",
    "query.csv", "vertex.jsonl",
]  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_label_files_of_other_products_label_the_images_beside_them(name: str) -> None:
    project = make_project(labels=0)
    files = {"images.zip": case("peer-label-files/images.zip"), name: case(f"peer-label-files/{name}")}
    done = imported(project, files)
    assert done.status == "Completed", done.problem
    named = {"a.jpg": ["cat"], "b.jpg": ["dog"]}
    numbered = {"a.jpg": ["0"], "b.jpg": ["1"]}  # all that this file says
    assert labels_by_name(project) == (numbered if name == "modelarts_number.manifest" else named)


def test_a_list_of_numbers_takes_its_names_from_the_list_of_names() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("peer-label-files/cvat_imagenet_txt.zip")})
    assert labels_by_name(project) == {"a.jpg": ["cat"], "b.jpg": ["dog"]}
    assert accounted(done) == {"labeled": 2, "label_files": 2}


def test_lines_of_boxes_beside_the_images_are_no_labels() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("yolo-lines-become-labels/yolo.zip")})
    assert project.labels.count() == 0
    assert project.images.count() > 0
    assert any("boxes" in reason for reason in reasons(done).values())
    accounted(done)


# --- names ---


@pytest.mark.parametrize(
    ("name", "labels"), [("mac_finder", {"Café", "Müsli"}), ("windows_gbk", {"猫", "狗"})]
)
def test_names_of_folders_in_other_encodings_are_the_labels(name: str, labels: set[str]) -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": case(f"zip-names-not-ascii/{name}.zip")})
    assert set(project.labels.values_list("name", flat=True)) == labels


def test_labels_that_differ_in_case_alone_become_one_and_the_report_says_so() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("labels-case/A_a.zip")})
    assert [label.name for label in project.labels.all()] == ["A"]
    assert done.report["merged_labels"] == {"a": "A"}


def test_folders_of_nas_servers_and_systems_are_left_out() -> None:
    project = make_project(labels=0)
    done = imported(project, {"a.zip": case("junk-folders/nas.zip")})
    assert labels_by_name(project) == {"1.jpg": ["cat"], "2.jpg": ["dog"]}
    assert accounted(done) == {"labeled": 2, "system_files": 2}


# --- broken archives ---


def test_one_bad_member_is_refused_and_the_others_are_imported() -> None:
    project = make_project(labels=0)
    files = {"a/1.png": picture_bytes(1), "b/2.png": picture_bytes(2) * 1, "b/3.png": picture_bytes(3)}
    for method in (8, 12, 14):
        again = make_project(f"method-{method}", labels=0)
        content = bytearray(_compressed(files, method))
        place = content.index(b"b/2.png") + len(b"b/2.png") + 4
        content[place : place + 12] = b"\xff" * 12
        done = imported(again, {"a.zip": bytes(content)})
        assert done.status == "Completed", (method, done.problem, done.traceback)
        assert sorted(labels_by_name(again)) == ["1.png", "3.png"]
        assert "broken" in reasons(done)["b/2.png"]
        assert accounted(done) == {"labeled": 2, "left_out": 1}
    assert project.images.count() == 0


def _compressed(files: dict[str, bytes], method: int) -> bytes:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


# --- the account of all files, over generated archives ---

NAMES = [
    "train/cat/{n}.png", "val/dog/{n}.png", "{n}.png", "a/{n}.PNG", "images/{n}.png", "deep/er/cat/{n}.png",
]  # fmt: skip
OTHERS = {
    "labels.csv": "image,label\n1.png,cat\n2.png,dog\nnone.png,dog\n",
    "more.csv": "image,label\n1.png,dog\n3.png,cat\n",
    "split.csv": "path,set\n4.png,test\n",
    "x.jsonl": json.dumps({"file_name": "5.png", "label": "cat"}) + "\n",
    "x.json": "{}",
    "readme.txt": "Thanks.",
    "1.txt": "cat\n",
    "train/cat/2.txt": "0 0.5 0.5 0.2 0.2\n",
    "film.mp4": "\0\0\0\x18ftypmp42",
    "notes.pdf": "%PDF-1.4",
    "broken.png": "\x89PNG\r\n",
    "empty.png": "",
    "__MACOSX/._1.png": "x",
    "cat/@eaDir/1.png/THUMB.jpg": "x",
    ".hidden": "x",
    "Thumbs.db": "x",
    "labels.csv.bak": "x",
}


@pytest.mark.parametrize("seed", range(12))
def test_every_file_of_an_archive_has_exactly_one_outcome(seed: int) -> None:
    chance = random.Random(seed)
    files: dict[str, bytes | str] = {
        chance.choice(NAMES).format(n=n): picture_bytes(chance.randrange(8)) for n in range(8)
    }
    files |= {name: OTHERS[name] for name in chance.sample(sorted(OTHERS), chance.randrange(len(OTHERS)))}
    project = make_project(labels=0, is_multi_label=bool(seed % 2))
    done = imported(project, {"a.zip": zipped(files)})

    assert done.status == "Completed", (done.problem, done.traceback)
    account = accounted(done)
    assert done.report["total_files"] == len(files)
    refused = {name for name in reasons(done) if name in files}
    assert account.get("left_out", 0) <= len(refused)  # each has its reason
    assert not {"train", "val", "images", "@eaDir", "__MACOSX"} & set(
        project.labels.values_list("name", flat=True)
    )


def test_links_and_members_of_the_same_path_are_named_with_their_reason() -> None:
    link = zipfile.ZipInfo("cat/link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the same path
        for name, seed in (("cat/a.png", 1), ("dog/b.png", 2), ("dog/b.png", 3)):
            archive.writestr(name, picture_bytes(seed))
        archive.writestr(link, "a.png")
    project = make_project(labels=0)
    done = imported(project, {"a.zip": file.getvalue()})
    assert labels_by_name(project) == {"a.png": ["cat"], "b.png": ["dog"]}
    assert reasons(done) == {"cat/link.png": LINK, "dog/b.png": SAME_PATH}
    assert accounted(done) == {"labeled": 2, "left_out": 2}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1251", "gb18030"])
def test_texts_beside_images_are_read_in_their_encoding(encoding: str) -> None:
    words = ("苹果", "香蕉") if encoding == "gb18030" else ("кошка", "собака")
    files = {f"{name}.png": picture_bytes(seed) for seed, name in enumerate("ab")}
    texts = {"a.txt": words[0].encode(encoding), "b.png.txt": words[1].encode(encoding)}
    project = make_project(labels=0)
    waiting = imported(project, {"a.zip": zipped({**files, **texts})}, is_reviewed=encoding != "cp1251")
    if encoding == "cp1251":
        assert waiting.report["preview"]["labels"] == [["кошка", 1], ["собака", 1]]
        assert any(doubt["name"] == "texts_encoding" for doubt in waiting.report["preview"]["doubts"])
    else:
        assert labels_by_name(project) == {"a.png": [words[0]], "b.png": [words[1]]}


def test_files_named_as_in_addresses_are_found() -> None:
    project = make_project(labels=0)
    imported(
        project,
        {"a.zip": zipped({"my%20pic.png": picture_bytes(1), "l.csv": "image,label\nmy pic.png,cat\n"})},
    )
    assert list(labels_by_name(project).values()) == [["cat"]]


def test_the_report_says_why_a_label_file_that_the_page_left_out_is_not_used() -> None:
    project = make_project(labels=0)
    table = "image_id,label\na.png,4\n"
    done = imported(
        project,
        {"a.zip": zipped({"a.png": picture_bytes(1), "sample_submission.csv": table})},
        is_reviewed=False,
    )
    form = ImportReviewForm(
        {"labels_from": "auto", "existing": "keep", "file-0-image": "0"},
        preview=done.report["preview"],
        options=done.options,
    )
    assert form.is_valid(), form.errors
    imports.continue_import(done, form.options, is_reviewed=True)
    import_job.run(done.pk)
    assert "sample submission" in reasons(done)["sample_submission.csv"]


# --- keys of new labels ---


def test_labels_get_their_keys_in_the_order_of_their_names_not_of_the_files() -> None:
    project = make_project(labels=0)
    names = ["tulips", "daisy", "rose 10", "rose 9"]
    number_of_files = 30  # more than the first chunk
    files = {
        f"{name}/{number}.png": picture_bytes(100 * index + number)
        for index, name in enumerate(names)
        for number in range(number_of_files)
    }
    imported(project, {"a.zip": zipped(files)})
    labels = project.labels.order_by("position").values_list("name", "hot_key")
    assert list(labels) == [("daisy", "1"), ("rose 9", "2"), ("rose 10", "3"), ("tulips", "4")]


def test_a_label_whose_images_are_all_refused_is_not_created() -> None:
    project = make_project(labels=0)
    done = imported(
        project, {"a.zip": zipped({"daisy/1.png": picture_bytes(1), "broken/2.png": b"\x89PNG but cut"})}
    )
    assert done.status == Transfer.Status.COMPLETED
    assert set(project.labels.values_list("name", flat=True)) == {"daisy"}
