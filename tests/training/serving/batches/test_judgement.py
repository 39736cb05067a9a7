"""Batches whose labels are known are judged: accuracy, labels, confusion, mistakes; trained images apart."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from projects.datasets import publish
from projects.images import upload
from projects.labels import actions
from projects.models import Image, Label, Project
from tests.factories import make_user
from tests.pages import html_of
from tests.training.bundles import colour_picture
from training.models import Batch, Service, TrainingVersion
from training.serving import deploy
from training.serving.batches import job, results
from training.serving.batches.judgement import Judgement


@pytest.fixture
def service(version: TrainingVersion) -> Iterator[Service]:
    """Of a model that names colours."""
    yield deploy.deploy(version, make_user("alice"), 1)[0]
    for folder in (settings.FILES_DIR / "batches", Path(settings.WORK_DIR) / "batches"):
        shutil.rmtree(folder, ignore_errors=True)


def picture(colour: str, seed: int = 0) -> bytes:
    """A picture of a colour that differs for every seed."""
    return colour_picture(colour, size=(40 + seed, 30))


def archive(files: dict[str, bytes]) -> SimpleUploadedFile:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as content:
        for name, data in files.items():
            content.writestr(name, data)
    return SimpleUploadedFile("pictures.zip", out.getvalue())


def judged(service: Service, *uploads: SimpleUploadedFile, chosen: str = "") -> tuple[Batch, Judgement]:
    batch = job.create_batch(service, uploads, "", make_user("bob"), chosen)
    job.run(batch.pk)
    batch.refresh_from_db()
    assert batch.status == "Completed", batch.problem
    return batch, Judgement.of_json(batch.judgement)


def add_image(project: Project, content: bytes, label: str = "") -> Image:
    (outcome,) = upload.add_images(project, [SimpleUploadedFile("a.png", content)], make_user("bob"))
    if label:
        found, _ = Label.objects.get_or_create(project=project, name=label, defaults={"position": 50})
        actions.apply(project, [outcome.image.pk], add=[found], by=make_user("bob"))
    return outcome.image


def train_on(version: TrainingVersion, *contents: bytes) -> None:
    """Publish a manifest whose training images these are."""
    dataset = version.dataset_version
    lines = [
        {
            "source": f"{number}.png",
            "usage": "TRAIN",
            "annotation": [],
            "property": {"exeml:sha256": hashlib.sha256(content).hexdigest()},
        }
        for number, content in enumerate(contents)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    dataset.manifest = default_storage.save(f"datasets/{dataset.pk}-test.manifest", ContentFile(text))
    dataset.sha256 = hashlib.sha256(text).hexdigest()
    dataset.published_at = dataset.created_at
    dataset.save()


def test_folders_named_like_labels_are_the_truth(service: Service, vera: Client) -> None:
    train_on(service.training_version)
    files = {f"red/{seed}.png": picture("red", seed) for seed in range(5)}
    files |= {f"blue/{seed}.png": picture("blue", seed) for seed in range(3)}
    files |= {"blue/wrong.png": picture("green"), "red/wrong.png": picture("blue", 9)}
    batch, judgement = judged(service, archive(files))
    assert (judgement.hits, judgement.judged, judgement.of_batch) == (8, 10, 10)
    interval = (judgement.accuracy.low, judgement.accuracy.high)
    assert interval == pytest.approx((0.4902, 0.9433), abs=1e-4), "as statsmodels' proportion_confint"
    truths = ["red"] * 6 + ["blue"] * 4
    predicted = ["red"] * 5 + ["blue"] + ["blue"] * 3 + ["green"]
    labels = ["blue", "green", "red"]
    precision, recall, _, _ = precision_recall_fscore_support(
        truths, predicted, labels=labels, zero_division=0
    )
    figures = {row.label: row for row in judgement.labels}
    assert [figures[label].precision.value for label in labels] == pytest.approx(list(precision))
    assert [figures[label].recall.value or 0 for label in labels] == pytest.approx(list(recall))
    assert judgement.confusion["matrix"] == confusion_matrix(truths, predicted, labels=labels).tolist()
    page = html_of(vera.get(reverse("batch_report", args=[service.project_id, service.pk, batch.pk])))
    assert "80.0 %" in page and "right on 8 of 10 images" in page and page.count("mistake-picture") == 2
    assert "8 of 10 right" in html_of(vera.get(reverse("service_batches", args=[*at(service)])))


def at(service: Service) -> tuple[int, str]:
    return service.project_id, str(service.pk)


def test_images_that_the_version_was_trained_on_are_counted_apart(service: Service, vera: Client) -> None:
    known_by_heart = [picture("red", seed) for seed in range(4)]
    train_on(service.training_version, *known_by_heart)
    files = {f"red/{seed}.png": content for seed, content in enumerate(known_by_heart)}
    files |= {"red/new.png": picture("red", 20), "blue/new.png": picture("green", 21)}
    batch, judgement = judged(service, archive(files))
    assert (judgement.hits, judgement.judged) == (1, 2)
    assert (judgement.trained, judgement.trained_hits) == (4, 4)
    page = html_of(vera.get(reverse("batch_report", args=[*at(service), batch.pk])))
    assert "4 images that V001 was trained on: 4 right. Not counted above." in page
    assert [line["is_trained_on"] for line in results.read_results(batch)].count(True) == 4


def test_the_images_of_a_version_that_this_one_continues_count_as_trained_on(service: Service) -> None:
    from tests.factories import make_version
    from training.models import Status

    version, content = service.training_version, picture("red", 3)
    earlier = make_version(version.project, 7, Status.COMPLETED)
    train_on(earlier, content)
    train_on(version)
    type(version).objects.filter(pk=version.pk).update(incremental_version=earlier)
    service.training_version.refresh_from_db()
    _, judgement = judged(service, archive({"red/a.png": content, "blue/b.png": picture("blue", 2)}))
    assert (judgement.trained, judgement.judged) == (1, 1)


def test_labels_of_the_same_images_in_the_project_are_the_truth(service: Service) -> None:
    train_on(service.training_version)
    add_image(service.project, picture("red", 1), "red")
    add_image(service.project, picture("green", 2), "blue")
    add_image(service.project, picture("green", 3))
    files = {
        f"{seed}.png": picture(colour, seed) for seed, colour in ((1, "red"), (2, "green"), (3, "green"))
    }
    _, judgement = judged(service, archive(files))
    assert (judgement.hits, judgement.judged, judgement.of_batch, judgement.without_label) == (1, 2, 0, 1)
    (mistake,) = judgement.mistakes
    assert (mistake["true_labels"], mistake["predicted_labels"]) == (["blue"], ["green"])


def test_a_table_and_text_files_are_read_as_imports_read_them(service: Service) -> None:
    train_on(service.training_version)
    table = b"file,label\na.png,red\nb.png,Blue\n"
    with_table = archive({"a.png": picture("red"), "b.png": picture("red", 2), "labels.csv": table})
    _, judgement = judged(service, with_table)
    assert (judgement.hits, judgement.judged) == (1, 2) and judgement.images == {"red": 1, "blue": 1}
    with_texts = archive(
        {"a.png": picture("red"), "a.txt": b"red\n", "b.png": picture("red", 2), "b.txt": b"green\n"}
    )
    _, judgement = judged(service, with_texts)
    assert (judgement.hits, judgement.judged) == (1, 2) and judgement.images == {"red": 1, "green": 1}


def test_folders_of_cameras_are_no_labels_and_labels_the_model_lacks_are_told(
    service: Service, vera: Client
) -> None:
    train_on(service.training_version)
    _, judgement = judged(service, archive({"cam1/a.png": picture("red"), "cam2/b.png": picture("red", 2)}))
    assert (judgement.judged, judgement.without_label) == (0, 2)
    files = {"red/a.png": picture("red"), "blue/b.png": picture("blue"), "lily/c.png": picture("red", 3)}
    batch, judgement = judged(service, archive(files))
    assert (judgement.hits, judgement.judged, judgement.unknown_label) == (2, 2, 1)
    page = html_of(vera.get(reverse("batch_report", args=[*at(service), batch.pk])))
    assert "1 image with a label that V001 does not know (lily). Not counted." in page


@pytest.mark.parametrize(
    ("chosen", "sources", "counted"),
    [("labeled", 3, (1, 2)), ("not trained", 2, (1, 2)), ("unlabeled", 1, (0, 0))],
)
def test_images_of_the_project_are_a_batch(
    chosen: str, sources: int, counted: tuple[int, int], service: Service
) -> None:
    trained = picture("red", 1)
    train_on(service.training_version, trained)
    add_image(service.project, trained, "red")
    add_image(service.project, picture("green", 2), "green")
    add_image(service.project, picture("green", 3), "blue")
    add_image(service.project, picture("green", 4))
    Image.objects.filter(name__startswith="picture-").delete()  # those of the factory have no files
    batch, judgement = judged(service, chosen=chosen)
    assert batch.total == sources and (judgement.hits, judgement.judged) == counted
    assert not list((Path(settings.WORK_DIR) / "batches").glob("*.images.json"))


def test_table_and_report_say_what_is_right(service: Service, vera: Client) -> None:
    train_on(service.training_version)
    files = {"red/a.png": picture("red"), "blue/b.png": picture("green"), "blue/c.jpg": b"hello"}
    batch, _ = judged(service, archive(files))

    def get(file: str) -> bytes:
        answer = vera.get(reverse("batch_download", args=[*at(service), batch.pk, file]))
        assert answer.status_code == 200
        return b"".join(answer.streaming_content)

    rows = list(csv.DictReader(io.StringIO(get("results.csv").decode("utf-8-sig"))))
    seen = {row["source"]: (row["true_label"], row["is_right"], row["is_trained_on"]) for row in rows}
    assert seen == {"red/a.png": ("red", "yes", "no"), "blue/b.png": ("blue", "no", "no")} | {
        "blue/c.jpg": ("blue", "", "no")
    }
    report = json.loads(get("report.json"))
    assert report["accuracy"]["hits"] == 1 and report["accuracy"]["support"] == 2
    assert report["without_answer"] == 1 and report["confusion"]["labels"] == ["blue", "green", "red"]
    picture_of = reverse(
        "batch_picture", args=[*at(service), batch.pk, batch.judgement["mistakes"][0]["number"]]
    )
    assert Picture.open(io.BytesIO(vera.get(picture_of).content)).format == "WEBP"
    assert vera.get(reverse("batch_picture", args=[*at(service), batch.pk, 99])).status_code == 404


def test_without_the_manifest_it_says_that_trained_images_may_be_counted(
    service: Service, vera: Client
) -> None:
    batch, judgement = judged(service, archive({"red/a.png": picture("red"), "blue/b.png": picture("blue")}))
    assert (judgement.judged, judgement.knows_training) == (2, False)
    page = html_of(vera.get(reverse("batch_report", args=[*at(service), batch.pk])))
    assert "The dataset of V001 cannot be read" in page


def test_pictures_of_mistakes_are_of_the_team_alone(service: Service, mallory: Client) -> None:
    train_on(service.training_version)
    batch, _ = judged(service, archive({"red/a.png": picture("blue"), "blue/b.png": picture("blue", 2)}))
    number = batch.judgement["mistakes"][0]["number"]
    assert mallory.get(reverse("batch_picture", args=[*at(service), batch.pk, number])).status_code == 404


def test_of_many_mistakes_the_surest_are_kept() -> None:
    judgement = Judgement(is_multi_label=False)
    for number in range(1000):
        line = {
            "source": str(number),
            "result": "SUCCESSFUL",
            "true_labels": ["red"],
            "labels_from": "batch",
            "predicted_labels": ["blue"],
            "scores": [["blue", number / 1000]],
            "is_known": True,
            "is_right": False,
            "is_trained_on": False,
            "sha256": "",
        }
        judgement.add(number, line)
    stored = judgement.as_json()["mistakes"]
    assert [mistake["number"] for mistake in stored] == list(range(999, 939, -1))
    assert Judgement.of_json(json.loads(json.dumps(judgement.as_json()))).judged == 1000


def test_the_manifest_that_publishing_writes_names_trained_images(service: Service) -> None:
    from training.serving.batches.truths import trained_sha256s

    version = service.training_version
    publish.publish(version.dataset_version)
    trained = trained_sha256s(version)
    manifest = publish.read_entries(version.dataset_version)
    assert trained and len(trained) == sum(entry.usage == "TRAIN" for entry in manifest)
