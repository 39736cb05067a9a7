"""The network of a bundle served by others: LitServe, and FastAPI + PyTorch; each at its best setting.

Both decode and resize an image as the product does. LitServe asks the same OpenVINO model as the product;
FastAPI asks PyTorch, eager, with the bundle's weights. Their packages are installed into an environment of
their own, which sees the product's packages for torch and OpenVINO.

    python serving_peers.py BUNDLE PORT WORKERS THREADS     FastAPI + PyTorch, within that environment
"""

from __future__ import annotations

import http.client
import os
import site
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("litserve==0.2.19", "fastapi==0.165.0", "uvicorn==0.54.0", "python-multipart==0.0.34")
PATH = "/predict"
PROGRAMS = {"litserve": Path(__file__).with_name("litserve_peer.py"), "fastapi": Path(__file__)}
SETTINGS = ((1, 2), (2, 1))  # workers × threads of the network


def measure(
    bundle: Path, photo: bytes, calls: int, clients: Sequence[int], seconds: float
) -> dict[str, dict[str, Any]]:
    """{peer: {"single": …, "throughput": {clients: calls a second at the best setting}}}."""
    from benchmarks.calling import Caller, load, percentiles, timed
    from tests.supervisor_process import free_port

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder))
        for peer, program in PROGRAMS.items():
            results = found.setdefault(peer, {"single": None, "throughput": {}, "not_200": {}})
            for workers, threads in SETTINGS:
                port = free_port()
                command = [str(python), str(program), str(bundle), str(port), str(workers), str(threads)]
                with subprocess.Popen(
                    command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL
                ) as process:
                    try:
                        _wait(port)
                        caller = Caller(port, PATH, "")
                        single = percentiles(timed(lambda caller=caller: caller.call(photo), calls))
                        if results["single"] is None or single["p50"] < results["single"]["p50"]:
                            results["single"] = single
                        for count in clients:
                            one = load(lambda port=port: Caller(port, PATH, ""), photo, count, seconds)
                            if one["per_second"] > results["throughput"].get(count, 0):
                                results["throughput"][count] = one["per_second"]
                                results["not_200"][count] = one["not_200"]
                    finally:
                        process.terminate()
    return found


def _environment(folder: Path) -> Path:
    """A Python that has the peers' packages, and behind them those of this one."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    place = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(place, "behind.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError("The peer did not begin to answer.")


# --- within the peers' environment ---


def serve_fastapi(bundle: str, port: int, workers: int, threads: int) -> None:
    import uvicorn

    os.environ.update(PEER_BUNDLE=bundle, PEER_THREADS=str(threads))
    uvicorn.run(
        "benchmarks.peers.serving_peers:fastapi_app",
        factory=True,
        port=port,
        workers=workers,
        log_level="warning",
    )


def fastapi_app() -> Any:
    import fastapi
    import torch

    from training.engine.backbones.classifier import Ensemble
    from training.engine.bundle.bundle import read_description
    from training.engine.bundle.writer import read_members
    from training.engine.data.images import read_square, resize_square

    torch.set_num_threads(int(os.environ["PEER_THREADS"]))
    bundle = Path(os.environ["PEER_BUNDLE"])
    description, module = read_description(bundle), Ensemble(read_members(bundle)).eval()
    labels, side = description["labels"], description["preprocessing"]["side"]
    app = fastapi.FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {}

    def predict(images: Any) -> dict[str, Any]:
        square = read_square(images.file.read(), side)
        inputs = [torch.from_numpy(resize_square(square, size).copy())[None] for size in module.sizes]
        with torch.inference_mode():
            scores = (module(*inputs)[0][0] / description["temperature"]).softmax(0)
        best = scores.argsort(descending=True)[:5].tolist()
        return {"scores": [[labels[one], float(scores[one])] for one in best]}

    predict.__annotations__["images"] = fastapi.UploadFile
    app.post("/predict")(predict)
    return app


if __name__ == "__main__":
    folder, *numbers = sys.argv[1:]
    serve_fastapi(folder, *map(int, numbers))
