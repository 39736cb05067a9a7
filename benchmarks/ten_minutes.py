"""The same work in Label Studio and in exeml: import images, then save labels one by one.

python -m benchmarks.ten_minutes --label-studio FOLDER/bin/label-studio [--images 10000] [--labels 1000]

Label Studio is the PyPI package in an environment of its own (`pip install label-studio`), started as its
documentation says; exeml is `manage.py up` with all its workers, so that it also makes thumbnails, searches
for duplicates and fits suggestions meanwhile. Both get the same generated photos from three connections, and
the labels from one, each as one request, as the pages send them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.importing import noise
from tests.supervisor_process import ADMIN_PASSWORD, Product, free_port

CONNECTIONS = 3
EDGE = "----exeml-benchmark"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="choice" toName="image">'
    '<Choice value="roses"/><Choice value="tulips"/></Choices></View>'
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--label-studio", required=True, help="its program, in its own environment")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=1_000)
    options = parser.parse_args()
    base = [noise(seed) for seed in range(100)]
    pictures = [base[n % 100] + f"{n}".encode() for n in range(options.images)]
    with tempfile.TemporaryDirectory(prefix="exeml-ten-minutes-") as folder:
        theirs = label_studio(options.label_studio, Path(folder), pictures, options.labels)
        ours = exeml(Path(folder), pictures, options.labels)
    print(
        f"{options.images:,} pictures of {len(base[0]) / 1000:.0f} kB, {options.labels:,} labels one by one"
    )
    for name, (bring, each) in (("Label Studio", theirs), ("exeml", ours)):
        p95 = sorted(each)[int(0.95 * len(each))]
        print(
            f"{name:<13} in {bring:7.1f} s   a label p50 {statistics.median(each):6.1f} ms, p95 {p95:6.1f} ms"
        )
    print(f"ratio         in {theirs[0] / ours[0]:7.1f}     a label p50 {ratio(theirs[1], ours[1]):6.1f}")


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(theirs) / statistics.median(ours)


def multipart(name: str, files: Sequence[tuple[str, bytes]]) -> bytes:
    parts = [
        f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n".encode()
        + content
        + b"\r\n"
        for file, content in files
    ]
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


class Connection:
    """A kept-alive connection. Raises RuntimeError for a response that is no success."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self._headers = headers

    def post(self, path: str, body: bytes, kind: str) -> bytes:
        self._http.request("POST", path, body, {**self._headers, "Content-Type": kind})
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{path}: {answer.status} {content[:300]!r}")
        return content


def in_batches(
    pictures: Sequence[bytes], size: int, connect: Callable[[], Connection], path: str, name: str
) -> float:
    """Seconds of sending all images in requests of `size` files."""
    batches = [
        [(f"photo-{n}.jpg", pictures[n]) for n in range(start, min(start + size, len(pictures)))]
        for start in range(0, len(pictures), size)
    ]
    kind = f"multipart/form-data; boundary={EDGE}"

    def work(mine: Sequence[Sequence[tuple[str, bytes]]]) -> None:
        connection = connect()
        for batch in mine:
            connection.post(path, multipart(name, batch), kind)

    began = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(work, [batches[n::CONNECTIONS] for n in range(CONNECTIONS)]))
    return time.perf_counter() - began


# --- Label Studio ---


def label_studio(
    program: str, folder: Path, pictures: Sequence[bytes], labels: int
) -> tuple[float, list[float]]:
    port = free_port()
    environment = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder / "label-studio"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "DATA_UPLOAD_MAX_NUMBER_FILES": "1000",
    }
    account = ("--username", "a@example.org", "--password", "a good long password", "--user-token", TOKEN)
    command = [program, "start", "--no-browser", "--port", str(port), *account]
    (folder / "label-studio").mkdir()
    with open(folder / "label-studio.log", "wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        return _work_there(port, pictures, labels)
    finally:
        server.terminate()
        server.wait(30)


def _work_there(port: int, pictures: Sequence[bytes], labels: int) -> tuple[float, list[float]]:
    headers = {"Authorization": f"Token {TOKEN}"}
    connection = Connection(port, headers)
    wanted = json.dumps({"title": "flowers", "label_config": LABEL_CONFIG}).encode()
    project = json.loads(connection.post("/api/projects/", wanted, "application/json"))["id"]
    seconds = in_batches(
        pictures, 50, lambda: Connection(port, headers), f"/api/projects/{project}/import", "file"
    )
    address = f"http://127.0.0.1:{port}/api/tasks/?project={project}&page_size={labels}"
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=300) as answer:
        tasks = [task["id"] for task in json.load(answer)["tasks"]]
    result = {"from_name": "choice", "to_name": "image", "type": "choices", "value": {"choices": ["roses"]}}
    body = json.dumps({"result": [result]}).encode()
    each = []
    for task in tasks[:labels]:
        began = time.perf_counter()
        connection.post(f"/api/tasks/{task}/annotations/", body, "application/json")
        each.append(1000 * (time.perf_counter() - began))
    return seconds, each


def wait_for(url: str, seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    raise RuntimeError(f"{url} does not answer")


# --- exeml ---


def exeml(folder: Path, pictures: Sequence[bytes], labels: int) -> tuple[float, list[float]]:
    with Product(folder / "exeml") as product:
        product.sign_in("admin", ADMIN_PASSWORD)
        address, _ = product.post("/projects/new/?team=1", {"name": "flowers", "is_multi_label": "no"})
        base = address.partition("/projects/")[2].partition("/")[0]
        headers = signed_in(product)
        upload = f"/projects/{base}/images/upload/"
        seconds = in_batches(pictures, 32, lambda: Connection(product.port, headers), upload, "files")
        page = product.get(f"/projects/{base}/label-data/?tab=all&show=500&sort=oldest")
        ids = [part.partition('"')[0] for part in page.split('data-image="')[1:]]
        ids = [ids[n % len(ids)] for n in range(labels)]
        connection = Connection(product.port, {**headers, "HX-Request": "true"})
        each = []
        for number, image in enumerate(ids):
            form = {"images": image, "add": ("roses", "tulips")[(number // len(set(ids))) % 2]}
            began = time.perf_counter()
            connection.post(
                f"/projects/{base}/label-data/label/?tab=unlabeled",
                urlencode(form).encode(),
                "application/x-www-form-urlencoded",
            )
            each.append(1000 * (time.perf_counter() - began))
        return seconds, each


def signed_in(product: Product) -> dict[str, str]:
    """The headers of the browser that signed in."""
    cookies = {cookie.name: cookie.value for cookie in product.cookies}
    return {
        "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
        "X-CSRFToken": cookies["csrftoken"] or "",
        "Accept": "application/json",
        "Referer": product.url,
    }


if __name__ == "__main__":
    main()
