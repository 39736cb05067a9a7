"""LitServe with the product's own OpenVINO model; runs in the peers' environment (serving_peers.py).

python litserve_peer.py BUNDLE PORT WORKERS THREADS
"""

import sys
from pathlib import Path
from typing import Any

import litserve
from fastapi import Request


class Model(litserve.LitAPI):  # type: ignore[misc, name-defined, unused-ignore]
    """At the top of a module, since LitServe sends it to its workers."""

    bundle, threads = "", 1

    def setup(self, device: str) -> None:
        from training.engine.bundle.bundle import Bundle

        self.model = Bundle.load(Path(self.bundle), self.threads)

    def decode_request(self, request: Request) -> bytes:
        """LitServe looks at the annotation, which must be the class, and hands over the form."""
        return bytes(request["images"].file.read())

    def predict(self, picture: bytes) -> Any:
        return self.model.answer(picture)

    def encode_response(self, answer: Any) -> dict[str, Any]:
        best = answer.scores.argsort()[::-1][:5]
        return {"scores": [[self.model.labels[one], float(answer.scores[one])] for one in best]}


if __name__ == "__main__":
    model = Model()
    model.bundle, port, workers, model.threads = sys.argv[1], *map(int, sys.argv[2:])
    server = litserve.LitServer(model, accelerator="cpu", workers_per_device=workers)
    server.run(port=port, generate_client_file=False, log_level="warning", num_api_servers=1)
