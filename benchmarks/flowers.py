"""Accuracy and wall time of a training with the default configuration, through the whole product.

    python -m benchmarks.flowers FOLDER [--hours 1]

FOLDER holds a folder for each label and `split.csv` (path,set). The photos whose set is `train` are uploaded
to the real product, labeled and trained with over HTTP as a browser would; the version is deployed and asked
for every photo whose set is `test`, which it has never seen. The usual peer, a frozen EfficientNet-Lite0 with
a linear head, reaches 0.89 on 400 + 100 photos of five flowers; note that the product keeps a fifth of the
uploaded photos for its own validation and trains on the rest.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.supervisor_process import Product

BATCH = 50  # files of one upload


def rows_of(folder: Path) -> dict[str, list[Path]]:
    """Paths by set."""
    sets = defaultdict(list)
    with open(folder / "split.csv", newline="") as file:
        for row in csv.DictReader(file):
            sets[row["set"]].append(folder / row["path"])
    return sets


def create_project(product: Product, name: str) -> int:
    product.get("/projects/new/")
    address, _ = product.post("/projects/new/", {"name": name, "is_multi_label": "no"})
    found = re.search(r"/projects/(\d+)/", address)
    assert found, f"no project was created: {address}"
    return int(found[1])


def upload_and_label(product: Product, project: int, photos: list[Path]) -> None:
    images = defaultdict(list)
    for start in range(0, len(photos), BATCH):
        batch = {f"{path.parent.name}--{path.name}": path for path in photos[start : start + BATCH]}
        content = {name: path.read_bytes() for name, path in batch.items()}
        answer = product.upload(f"/projects/{project}/images/upload/", "files", content)
        for outcome in json.loads(answer)["outcomes"]:
            if outcome["image"]:
                images[outcome["name"].split("--")[0]].append(str(outcome["image"]))
    for label, ids in images.items():
        product.post(f"/projects/{project}/label-data/label/", {"images": ",".join(ids), "add": label})


def train(product: Product, project: int, hours: str) -> tuple[float, str]:
    """Seconds from Submit to the end, and the page of the version."""
    version = start_training(product, project, hours)
    began = time.monotonic()
    while re.search("Initializing|Running", product.get(f"{version}status/")):
        time.sleep(2)
    return time.monotonic() - began, product.get(version)


def start_training(product: Product, project: int, hours: str = "1") -> str:
    """Submit the default configuration but for the time limit; the version's address."""
    configure = f"/projects/{project}/train-model/configure/"
    values = product.form_values(product.get(configure)) | {"max_training_hours": hours}
    _, receipt = product.post(configure, values)
    product.post(f"{configure}submit/", product.form_values(receipt))
    return f"/projects/{project}/train-model/1/"


def deploy(product: Product, project: int) -> tuple[str, str]:
    """The address and the token of a service of the newest version, once it is Running."""
    page = product.get(f"/projects/{project}/deploy-service/")
    address, page = product.post(f"/projects/{project}/deploy-service/deploy/", product.form_values(page))
    found = re.search(r'id="token-text"[^>]*>\s*([\w-]+)', page)
    assert found, f"no token was shown at {address}"
    service = re.search(r"/v1/infers/([0-9a-f-]{36})", page)
    assert service, "the page names no address to call"
    return f"/v1/infers/{service[1]}", found[1]


def ask(product: Product, address: str, token: str, photo: Path) -> str:
    """The predicted label; a service that is still being deployed is asked again."""
    for _ in range(60):
        try:
            answer = product.upload(address, "images", {photo.name: photo.read_bytes()}, token)
            return str(json.loads(answer)["predicted_label"])
        except OSError:
            time.sleep(1)
    raise TimeoutError("the service did not answer within a minute")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", default="1", help="Max. Training Time (default 1)")
    options = parser.parse_args()
    sets = rows_of(options.folder)
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder) / "data") as product:
        product.sign_in()
        project = create_project(product, "benchmark")
        began = time.monotonic()
        upload_and_label(product, project, sets["train"])
        uploaded = time.monotonic() - began
        seconds, page = train(product, project, options.hours)
        words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
        print(re.search(r"Training Details.{0,500}", words))
        address, token = deploy(product, project)
        right = [ask(product, address, token, photo) == photo.parent.name for photo in sets["test"]]
    accuracy = sum(right) / len(right)
    print(f"uploaded and labeled {len(sets['train'])} photos in {uploaded:.0f} s")
    print(f"trained in {seconds:.0f} s; test accuracy {accuracy:.3f} ({sum(right)} of {len(right)})")


if __name__ == "__main__":
    main()
