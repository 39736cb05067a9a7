"""The network of a bundle served by others: LitServe, and FastAPI + PyTorch; each at its best setting.

Both decode and resize an image as the product does. LitServe asks the same OpenVINO model as the product;
FastAPI asks PyTorch, eager, with the bundle's weights. Their packages are installed into an environment of
their own, which sees the product's packages for torch and OpenVINO.

    python serving_peers.py BUNDLE PORT WORKERS THREADS     FastAPI + PyTorch, within that environment
"""

from __future__ import annotations

import http.client
import os
import signal
import site
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("litserve==0.2.19", "fastapi==0.165.0", "uvicorn==0.54.0", "python-multipart==0.0.34")
PATH = "/predict"
PROGRAMS = {"litserve": Path(__file__).with_name("litserve_peer.py"), "fastapi": Path(__file__)}
SETTINGS = ((1, 2), (2, 1))  # workers × threads of the network
# Threads of BLAS wait busily, beside those of the network, which are asked for by name.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def measure(
    bundle: Path, photo: bytes, calls: int, clients: Sequence[int], seconds: float
) -> dict[str, dict[str, Any]]:
    """{peer: {"single": …, "throughput": {clients: calls a second at the best setting}}}."""
    from benchmarks.calling import Caller, load, percentiles, timed

    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder))
        for peer in PROGRAMS:
            results = found.setdefault(peer, {"single": None, "throughput": {}, "not_200": {}})
            for setting in SETTINGS:
                with ExitStack() as stack:
                    port, _ = run(python, peer, bundle, setting, stack)
                    caller = Caller(port, PATH, "")
                    single = percentiles(timed(lambda caller=caller: caller.call(photo), calls))
                    if results["single"] is None or single["p50"] < results["single"]["p50"]:
                        results["single"] = single
                    for count in clients:
                        one = load(lambda port=port: Caller(port, PATH, ""), photo, count, seconds)
                        if one["per_second"] > results["throughput"].get(count, 0):
                            results["throughput"][count] = one["per_second"]
                            results["not_200"][count] = one["not_200"]
    return found


def run_all(bundle: Path, folder: Path, stack: ExitStack) -> list[tuple[str, int, int]]:
    """Every peer in every setting, until the stack closes: its name, port and process."""
    python = _environment(folder)
    return [
        (f"{peer} {setting[0]}x{setting[1]}", *run(python, peer, bundle, setting, stack))
        for peer in PROGRAMS
        for setting in SETTINGS
    ]


def run(python: Path, peer: str, bundle: Path, setting: tuple[int, int], stack: ExitStack) -> tuple[int, int]:
    """A peer that answers until the stack closes: its port and its process."""
    from tests.supervisor_process import free_port

    port = free_port()
    command = [str(python), str(PROGRAMS[peer]), str(bundle), str(port), *map(str, setting)]
    # LitServe's workers outlive its first process, so the whole session ends.
    process = subprocess.Popen(
        command, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL, start_new_session=True
    )
    stack.callback(process.wait)
    stack.callback(os.killpg, process.pid, signal.SIGKILL)
    _wait(port)
    return port, process.pid


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
