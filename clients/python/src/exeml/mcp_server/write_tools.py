"""Tools that a scope of the token allows: label, train, deploy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from exeml.client import Client
from exeml.core.modes import Asynchronous
from exeml.core.pictures import Picture
from exeml.mcp_server.read_tools import find_project
from exeml.records import Suggestion
from exeml.upload import SUFFIXES

MAX_PREDICTED = 100


class WriteTools:
    """Each method is a tool; its docstring is what the assistant reads."""

    def __init__(self, client: Client[Asynchronous]) -> None:
        self.client = client

    @property
    def tools(self) -> Sequence[tuple[str, Callable[..., Awaitable[Any]]]]:
        """Each with the scope that it needs."""
        return (
            ("label", self.label_images),
            ("label", self.undo_action),
            ("label", self.confirm_suggestions),
            ("label", self.refuse_suggestions),
            ("train", self.start_training),
            ("train", self.stop_training),
            ("deploy", self.predict),
        )

    async def label_images(
        self,
        project: str,
        image_ids: list[int],
        add: list[str] | None = None,
        remove: list[str] | None = None,
    ) -> dict[str, Any]:
        """Give images labels, or take labels from them, in one action.

        The answer has `event_id`, with which `undo_action` takes it back. In a project with one label per
        image an added label replaces the present one.
        """
        found = await find_project(self.client, project)
        action = await found.annotate(image_ids, add=add or (), remove=remove or ())
        return action.model_dump(mode="json")

    async def undo_action(self, project: str, event_id: int) -> dict[str, Any]:
        """Take back an action on labels, on all images that nobody changed since."""
        found = await find_project(self.client, project)
        return (await found.undo(event_id)).model_dump(mode="json")

    async def confirm_suggestions(self, project: str, seen: list[str]) -> dict[str, Any]:
        """Label images as suggested. `seen`: of `list_suggestions`, for images that you looked at."""
        found = await find_project(self.client, project)
        return (await found.confirm_suggestions(_suggestions(seen))).model_dump(mode="json")

    async def refuse_suggestions(self, project: str, seen: list[str]) -> dict[str, Any]:
        """Refuse suggestions; these labels are not suggested for these images again."""
        found = await find_project(self.client, project)
        return (await found.refuse_suggestions(_suggestions(seen))).model_dump(mode="json")

    async def start_training(
        self, project: str, max_training_hours: float = 1, max_inference_ms: int = 500
    ) -> dict[str, Any]:
        """Publish the labels and train on them, for at most so many hours (0.1 to 100).

        It goes on in a worker: `show_version` says how far it is.
        """
        found = await find_project(self.client, project)
        version = await found.train(max_training_hours=max_training_hours, max_inference_ms=max_inference_ms)
        return version.model_dump(mode="json")

    async def stop_training(self, project: str, version: str) -> dict[str, Any]:
        """End a training soon, with the best model so far."""
        found = await find_project(self.client, project)
        return (await (await found.version(version)).stop()).model_dump(mode="json")

    async def predict(
        self,
        project: str,
        service_id: str,
        image_ids: list[int] | None = None,
        paths: list[str] | None = None,
    ) -> dict[str, Any]:
        """Predict the labels of images of the project, and of image files, with a Running service."""
        image_ids, paths = image_ids or [], paths or []
        if len(image_ids) + len(paths) > MAX_PREDICTED:
            raise ValueError(f"At most {MAX_PREDICTED} images.")
        if wrong := [path for path in paths if Path(path).suffix.lower() not in SUFFIXES]:
            raise ValueError(f"{wrong[0]} is no image file.")
        found = await find_project(self.client, project)
        service = await found.service(service_id)
        pictures: list[Picture] = [await (await found.image(image_id)).content() for image_id in image_ids]
        predictions = await service.predict_many([*pictures, *paths])
        names = [*map(str, image_ids), *paths]
        rows = [
            {"image": name, **prediction.model_dump(mode="json")}
            for name, prediction in zip(names, predictions, strict=True)
        ]
        return {"predictions": rows}


def _suggestions(seen: list[str]) -> list[Suggestion]:
    return [Suggestion(image_id=0, label="", seen=text) for text in seen]
