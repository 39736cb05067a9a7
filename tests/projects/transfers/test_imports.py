"""Imports of archives, manifests and tables; a killed import resumes without duplicates."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from django.core.files.storage import default_storage

from projects.labels import actions
from projects.models import LabelEvent, Project
from tests.factories import make_image, make_project, make_user, picture_bytes
from tests.projects.transfers.import_factories import imported, labels_by_name, reasons, sample, zipped

pytestmark = pytest.mark.django_db


def test_folders_of_an_archive_become_labels() -> None:
    project = make_project(labels=0)
    files = {
        f"flowers/{name}/{seed}.png": picture_bytes(seed)
        for seed, name in enumerate(["roses", "tulips", "roses"])
    }

    done = imported(project, {"flowers.zip": zipped(files)})

    assert (done.status, done.problem, done.total, done.cursor) == ("Completed", "", 3, 3)
    assert labels_by_name(project) == {"0.png": ["roses"], "1.png": ["tulips"], "2.png": ["roses"]}
    assert done.report["counts"] | {"refused": 0} == done.report["counts"]
    assert (done.report["counts"]["added"], done.report["counts"]["labeled"]) == (3, 3)
    image = project.images.get(name="1.png")
    assert (image.source, image.transfer, image.is_labeled) == (
        "flowers.zip/flowers/tulips/1.png",
        done,
        True,
    )
    assert default_storage.open(image.file_name).read() == picture_bytes(1)
    event = LabelEvent.objects.get()
    assert (event.kind, event.by, event.details["transfer"]) == ("import", make_user("bob"), done.pk)


@pytest.mark.parametrize("names", ["0123456789", "9876543210"])
def test_folders_named_by_digits_have_these_keys(names: str) -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": zipped({f"{name}/{name}.png": picture_bytes(int(name)) for name in names})})
    assert dict(project.labels.values_list("name", "hot_key")) == {digit: digit for digit in "0123456789"}


def test_one_folder_around_all_is_no_label() -> None:
    project = make_project(labels=0)
    imported(project, {"a.zip": zipped({f"photos/{seed}.png": picture_bytes(seed) for seed in range(3)})})
    assert list(labels_by_name(project).values()) == [[], [], []]


def test_folders_named_train_and_val_say_the_set() -> None:
    project = make_project(labels=0)
    files = {
        f"set/{side}/{label}/{seed}.png": picture_bytes(seed)
        for seed, (side, label) in enumerate(
            [("train", "a"), ("val", "a"), ("Validation", "b"), ("test", "b")]
        )
    }
    imported(project, {"a.zip": zipped(files)})
    sides = dict(project.images.values_list("name", "split"))
    assert sides == {"0.png": "TRAIN", "1.png": "EVAL", "2.png": "EVAL", "3.png": "TEST"}
    assert labels_by_name(project) == {"0.png": ["a"], "1.png": ["a"], "2.png": ["b"], "3.png": ["b"]}


def test_text_files_beside_the_images_hold_their_labels() -> None:
    project = make_project(labels=0, is_multi_label=True)
    files = {
        "in/10.jpg": picture_bytes(1, format="JPEG"),
        "in/10.txt": "roses\n\nvase\n",
        "in/11.jpg": picture_bytes(2, format="JPEG"),
        "in/11.txt": "﻿tulips",
        "in/12.jpg": picture_bytes(3, format="JPEG"),
    }
    done = imported(project, {"a.zip": zipped(files)})
    assert labels_by_name(project) == {"10.jpg": ["roses", "vase"], "11.jpg": ["tulips"], "12.jpg": []}
    assert done.report["labels_from"] == "texts"


def test_a_manifest_beside_the_images_of_an_archive_is_read_with_all_it_says() -> None:
    project = make_project(labels=0)
    marks = [
        {
            "type": "modelarts/image_classification",
            "name": "tulips",
            "annotated-by": "human/vera/vera",
            "creation-time": "2025-03-02 09:14:07",
        }
    ]
    machine = [
        {
            "type": "image_classification",
            "name": "roses",
            "annotated_by": "modelarts/active-learning",
            "confidence": 0.53,
        }
    ]
    lines = [
        {"source": "s3://bucket/flowers/in/0001.png", "usage": "train", "hard": "true", "annotation": marks},
        {"source": "obs://bucket/flowers/in/0002.png", "usage": "EVAL", "annotation": machine},
        {"source": "s3://bucket/flowers/in/with%20space.png"},
    ]
    files = {
        "in/0001.png": picture_bytes(1),
        "in/0002.png": picture_bytes(2),
        "in/with space.png": picture_bytes(3),
        "flowers.manifest": "\n".join(json.dumps(line) for line in lines),
    }

    done = imported(project, {"flowers.zip": zipped(files)})

    assert done.status == "Completed", done.problem
    assert labels_by_name(project) == {"0001.png": ["tulips"], "0002.png": ["roses"], "with space.png": []}
    first, second = (project.images.get(name=name) for name in ("0001.png", "0002.png"))
    assert (first.split, first.is_hard, second.split, second.is_hard) == ("TRAIN", True, "EVAL", False)
    mark = first.annotations.get()
    assert (mark.by, mark.source, mark.at.isoformat()) == (
        make_user("bob"),  # a file proves nothing about who labeled
        "import",
        "2025-03-02T09:14:07+00:00",
    )
    assert LabelEvent.objects.get().details["annotated_by"]["human/vera/vera"] == 1
    machine_mark = second.annotations.get()
    assert (machine_mark.by, machine_mark.source, machine_mark.confidence) == (
        make_user("bob"),
        "import",
        0.53,
    )


def test_a_manifest_alone_labels_images_that_are_here_already() -> None:
    project = make_project(labels=0, unlabeled=3)
    lines = (
        sample("s3://b/picture-0.png", "roses")
        + sample("/b/x/picture-2.png", "tulips")
        + sample("s3://b/none.png", "x")
    )
    done = imported(project, {"flowers.manifest": lines.encode()})
    assert labels_by_name(project) == {
        "picture-0.png": ["roses"],
        "picture-1.png": [],
        "picture-2.png": ["tulips"],
    }
    assert done.report["counts"]["present"] == 2
    assert "neither among the files nor in the project" in reasons(done)["none.png"]


def test_the_longest_common_end_of_the_path_decides_which_file_is_meant() -> None:
    project = make_project(labels=0)
    lines = sample("s3://bucket/in/roses/1.png", "roses") + sample("s3://bucket/in/tulips/1.png", "tulips")
    files = {"roses/1.png": picture_bytes(1), "tulips/1.png": picture_bytes(2), "a.manifest": lines}
    done = imported(project, {"a.zip": zipped(files)})
    by_source = {image.source: image for image in project.images.all()}
    assert by_source["a.zip/roses/1.png"].annotations.get().label.name == "roses"
    assert by_source["a.zip/tulips/1.png"].annotations.get().label.name == "tulips"
    assert reasons(done) == {}


def test_a_file_is_not_given_to_two_lines_that_mean_different_images() -> None:
    """The archive lacks tulips/1.png: its label must not land on roses/1.png."""
    project = make_project(labels=0)
    lines = sample("s3://b/in/tulips/1.png", "tulips") + sample("s3://b/in/roses/1.png", "roses")
    done = imported(project, {"a.zip": zipped({"roses/1.png": picture_bytes(1), "a.manifest": lines})})
    assert labels_by_name(project) == {"1.png": ["roses"]}
    assert list(reasons(done)) == ["1.png"]


def test_a_path_mapping_says_where_a_manifest_finds_its_images() -> None:
    project = make_project(labels=0)
    files = {"old/1.png": picture_bytes(1), "new/1.png": picture_bytes(2)}
    lines = sample("s3://bucket/2024/1.png", "roses")
    options = {"prefix": "s3://bucket/2024/", "folder": "new"}
    imported(project, {"a.zip": zipped(files), "a.manifest": lines.encode()}, **options)
    assert labels_by_sha(project) == {picture_sha(1): [], picture_sha(2): ["roses"]}


def picture_sha(seed: int) -> str:
    return hashlib.sha256(picture_bytes(seed)).hexdigest()


def labels_by_sha(project: Project) -> dict[str, list[str]]:
    return {
        image.sha256: [annotation.label.name for annotation in image.annotations.all()]
        for image in project.images.all()
    }


@pytest.mark.parametrize(
    "table",
    [
        "image,labels,set\na/1.png,roses,TRAIN\na/2.png,tulips,validation\n",
        "File;Class;Split\n1.png;roses;train\n2.png;tulips;val\n",
        "TRAIN,gs://bucket/a/1.png,roses\nVALIDATION,gs://bucket/a/2.png,tulips\n",
        "label\tfilename\tset\nroses\t1.png\ttrain\ntulips\t2.png\teval\n",
    ],
)
def test_tables_are_understood_as_people_write_them(table: str) -> None:
    project = make_project(labels=0)
    files = {"a/1.png": picture_bytes(1), "a/2.png": picture_bytes(2)}
    done = imported(project, {"a.zip": zipped(files), "labels.csv": table.encode()})
    assert done.status == "Completed", done.problem
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["tulips"]}
    assert dict(project.images.values_list("name", "split")) == {"1.png": "TRAIN", "2.png": "EVAL"}


def test_several_labels_stand_in_one_cell_in_several_columns_or_rows() -> None:
    project = make_project(labels=0, is_multi_label=True)
    files = {f"{n}.png": picture_bytes(n) for n in range(3)}
    table = "image,label,label\n0.png,roses;vase,\n1.png,roses,vase\n2.png,roses,\n2.png,vase,\n"
    imported(project, {"a.zip": zipped({**files, "labels.csv": table})})
    assert set(map(tuple, labels_by_name(project).values())) == {("roses", "vase")}


def test_a_manifest_of_rekognition_custom_labels_is_read() -> None:
    project = make_project(labels=0)
    line = {
        "source-ref": "s3://custom-labels/images/1.png",
        "set_Roses": 1,
        "set_Roses-metadata": {
            "confidence": 1,
            "job-name": "labeling-job/set_Roses",
            "class-name": "Roses",
            "human-annotated": "yes",
            "creation-date": "2020-03-06T17:46:39.176",
            "type": "groundtruth/image-classification",
        },
    }
    many = {
        "source-ref": "s3://custom-labels/images/2.png",
        "kinds": [0],
        "kinds-metadata": {
            "class-map": {"0": "Tulips"},
            "type": "groundtruth/image-classification-multilabel",
        },
    }
    files = {"images/1.png": picture_bytes(1), "images/2.png": picture_bytes(2)}
    lines = "\n".join(map(json.dumps, [line, many]))
    imported(project, {"a.zip": zipped(files), "output.manifest": lines.encode()})
    assert labels_by_name(project) == {"1.png": ["Roses"], "2.png": ["Tulips"]}


def test_every_refused_file_is_named_with_its_reason_and_the_others_are_added() -> None:
    project = make_project(labels=0)
    files = {
        "roses/1.png": picture_bytes(1),
        "roses/broken.jpg": b"\xff\xd8\xff not a picture at all",
        "tulips/empty.png": b"",
        "tulips/film.mp4": b"\0\0\0\x18ftypmp42",
        "tulips/2.png": picture_bytes(2),
        "__MACOSX/tulips/._2.png": b"x",
        "tulips/.DS_Store": b"x",
    }
    done = imported(project, {"a.zip": zipped(files)})
    assert labels_by_name(project) == {"1.png": ["roses"], "2.png": ["tulips"]}
    assert set(reasons(done)) == {"roses/broken.jpg", "tulips/empty.png", "tulips/film.mp4"}
    assert "a video" in reasons(done)["tulips/film.mp4"]
    assert done.report["counts"]["refused"] == 3


def test_a_label_that_cannot_be_is_told_and_its_image_is_added_without() -> None:
    project = make_project(labels=0)
    table = f"image,labels\n1.png,roses;tulips\n2.png,{'x' * 65}\n"
    files = {"1.png": picture_bytes(1), "2.png": picture_bytes(2), "t.csv": table}
    done = imported(project, {"a.zip": zipped(files)})
    assert labels_by_name(project) == {"1.png": [], "2.png": []}
    assert "2 labels" in reasons(done)["1.png"] and "is not valid" in reasons(done)["2.png"]
    assert done.report["counts"]["refused"] == 0


def test_the_same_picture_is_one_image_and_a_binned_one_comes_back() -> None:
    project = make_project(labels=1, images=2)
    binned = project.images.get(name="picture-1.png")
    actions.delete_images(project, [binned.pk], make_user("bob"))
    files = {
        "a.png": picture_bytes(0),
        "b.png": picture_bytes(1),
        "c.png": picture_bytes(7),
        "d.png": picture_bytes(7),
    }
    done = imported(project, {"a.zip": zipped(files)})
    counts = done.report["counts"]
    assert (counts["added"], counts["duplicate"], counts["restored"]) == (1, 2, 1)
    assert project.images.filter(deleted_at=None).count() == 3


@pytest.mark.parametrize(("existing", "expected"), [("keep", "label-0"), ("replace", "roses")])
def test_images_that_have_labels_keep_them_unless_the_import_shall_replace_them(
    existing: str, expected: str
) -> None:
    project = make_project(labels=1, images=1)
    lines = sample("picture-0.png", "roses")
    done = imported(project, {"a.manifest": lines.encode()}, existing=existing)
    assert labels_by_name(project) == {"picture-0.png": [expected]}
    assert ("labels were kept" in reasons(done).get("picture-0.png", "")) == (existing == "keep")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.zip": b"PK\x03\x04 cut off"}, "not a zip archive, or it is cut off"),
        ({"a.zip": zipped({})}, "no file to import"),
        ({"a.manifest": b'{"source": "a.png"}\n{"annotation": []}\n'}, "a.manifest: Line 2 has no “source”"),
        ({"a.csv": b"what,ever\n1,2\n"}, "No column holds image files"),
    ],
)
def test_what_cannot_be_imported_fails_with_a_sentence_and_writes_nothing(
    files: dict[str, bytes], sentence: str
) -> None:
    project = make_project(labels=0)
    done = imported(project, files)
    assert done.status == "Failed"
    assert sentence in done.problem
    assert not done.traceback
    assert project.images.count() == project.labels.count() == 0


def test_a_protected_archive_is_refused() -> None:
    content = bytearray(zipped({"1.png": picture_bytes(1)}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(magic) + offset] |= 1  # the flag that says encrypted
    assert "protected by a password" in imported(make_project(labels=0), {"a.zip": bytes(content)}).problem


def test_an_archive_that_lies_about_sizes_is_read_to_the_limit_only(settings: Any) -> None:
    settings.EXEML_MAX_IMAGE_MB = 1
    done = imported(make_project(labels=0), {"a.zip": zipped({"1.png": b"\0" * (3 << 20)})})
    assert reasons(done) == {"1.png": "The file is larger than 1 MB."}


def test_paths_that_lead_out_of_the_archive_are_only_names() -> None:
    project = make_project(labels=0)
    imported(
        project, {"a.zip": zipped({"../../etc/1.png": picture_bytes(1), "C:\\x\\2.png": picture_bytes(2)})}
    )
    assert set(labels_by_name(project)) == {"1.png", "2.png"}


def test_images_of_other_projects_are_not_touched() -> None:
    other = make_project("other", labels=0, unlabeled=1)
    project = make_project(labels=0)
    done = imported(project, {"a.manifest": sample("picture-0.png", "roses").encode()})
    assert labels_by_name(other) == {"picture-0.png": []}
    assert list(reasons(done)) == ["picture-0.png"]
    make_image(project, 5)


def test_a_table_with_sets_and_no_labels_adds_the_set_to_what_the_folders_say() -> None:
    project = make_project(labels=0)
    files = {"x/roses/1.png": picture_bytes(1), "x/tulips/1.png": picture_bytes(2)}
    table = "path,set\nroses/1.png,train\ntulips/1.png,test\n"
    done = imported(
        project, {"a.zip": zipped({**files, "x/split.csv": table, "x/groups.csv": "path,who\na,b\n"})}
    )
    assert (done.status, done.report["labels_from"]) == ("Completed", "folders")
    labels_and_splits = project.images.values_list("annotations__label__name", "split")
    assert set(labels_and_splits) == {("roses", "TRAIN"), ("tulips", "TEST")}


def test_a_table_about_something_else_is_left_alone() -> None:
    project = make_project(labels=0)
    files = {
        "a/1.png": picture_bytes(1),
        "b/2.png": picture_bytes(2),
        "credits.csv": "1.png,Ann,CC BY\n2.png,Bo,CC0\n",
    }
    imported(project, {"a.zip": zipped(files)})
    assert labels_by_name(project) == {"1.png": ["a"], "2.png": ["b"]}


def test_a_label_that_a_file_states_twice_is_one_label() -> None:
    project = make_project(labels=0)
    done = imported(
        project,
        {
            "a.zip": zipped(
                {"a.png": picture_bytes(1), "x.manifest": sample("s3://b/a.png", "cat", "cat")},
            )
        },
    )
    assert labels_by_name(project) == {"a.png": ["cat"]}
    assert not reasons(done)


def test_an_image_with_very_many_labels_in_as_many_rows_is_refused_soon() -> None:
    project = make_project(labels=0, is_multi_label=True)
    rows = "".join(f"a.png,label {number}\n" for number in range(60_000))
    files = {"a.png": picture_bytes(1), "labels.csv": f"image,label\n{rows}"}
    began = time.process_time()
    done = imported(project, {"a.zip": zipped(files)})
    assert time.process_time() - began < 20  # seconds; the square of the rows would take minutes
    assert "A project can have at most 2,000 labels" in done.problem
