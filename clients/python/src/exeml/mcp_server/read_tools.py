"""Tools that change nothing. Every token has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mcp.server.mcpserver import Image

from exeml.client import Client
from exeml.core.modes import Asynchronous
from exeml.project import Project

MAX_LISTED = 200
MAX_PICTURES = 12
CONTENT = list[str | Image]


async def find_project(client: Client[Asynchronous], name: str) -> Project[Asynchronous]:
    """By its name or its id."""
    return await client.project(int(name) if name.isascii() and name.isdecimal() else name)


def picture(content: bytes) -> Image:
    """An image for the assistant, in the format of its content."""
    formats = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"GI": "gif", b"RI": "webp"}
    return Image(data=content, format=formats.get(content[:2], "webp"))


class ReadTools:
    """Each method is a tool; its docstring is what the assistant reads."""

    def __init__(self, client: Client[Asynchronous]) -> None:
        self.client = client

    @property
    def tools(self) -> Sequence[Callable[..., Awaitable[Any]]]:
        return (
            self.list_projects,
            self.show_project,
            self.list_images,
            self.look_at_images,
            self.list_suggestions,
            self.list_issues,
            self.list_versions,
            self.show_version,
            self.read_evaluation,
            self.look_at_hardest_images,
            self.compare_versions,
            self.list_services,
        )

    async def list_projects(self, search: str = "") -> dict[str, Any]:
        """List the projects, the newest first. `search`: words of the name or the description."""
        projects = [project async for project in self.client.projects(search=search)]
        return {"projects": [project.model_dump(mode="json") for project in projects[:MAX_LISTED]]}

    async def show_project(self, project: str) -> dict[str, Any]:
        """One project, named by its name or id, with its labels and the number of images of each."""
        found = await find_project(self.client, project)
        labels = [label.model_dump(mode="json") async for label in found.labels()]
        return {**found.model_dump(mode="json"), "labels": labels}

    async def list_images(
        self,
        project: str,
        tab: str = "all",
        label: str = "",
        search: str = "",
        check: str = "",
        sort: str = "",
        limit: int = 50,
    ) -> dict[str, Any]:
        """List images with their labels.

        `tab`: all, unlabeled, suggested, labeled or bin. `label`: images with this label. `search`: a part of
        the file name. `check`: an issue that `list_issues` names. `sort`: newest, oldest, name, uncertain …
        """
        found = await find_project(self.client, project)
        filters = {"label": label, "q": search, "check": check, "sort": sort}
        given = {name: value for name, value in filters.items() if value}
        images = found.images(min(limit, MAX_LISTED), tab=tab, **given)
        return {"images": [image.model_dump(mode="json") async for image in images]}

    async def look_at_images(self, project: str, image_ids: list[int], large: bool = False) -> CONTENT:
        """Show up to 12 images: a line with the name and the labels, then the picture.

        `large` shows them in full size, for details.
        """
        found = await find_project(self.client, project)
        content: CONTENT = []
        for image_id in image_ids[:MAX_PICTURES]:
            image = await found.image(image_id)
            content.append(f"{image.id} {image.name}: {', '.join(image.labels) or 'unlabeled'}")
            content.append(picture(await (image.picture() if large else image.thumbnail())))
        return content

    async def list_suggestions(self, project: str, limit: int = 50) -> dict[str, Any]:
        """Labels that the model suggests for unlabeled images, the most confident first."""
        found = await find_project(self.client, project)
        rows = found.suggestions(min(limit, MAX_LISTED))
        return {"suggestions": [row.model_dump(mode="json") async for row in rows]}

    async def list_issues(self, project: str) -> dict[str, Any]:
        """Possible issues (wrong labels, duplicates, blurred …) with the number of images of each."""
        found = await find_project(self.client, project)
        return {"issues": [issue.model_dump(mode="json") async for issue in found.issues()]}

    async def list_versions(self, project: str) -> dict[str, Any]:
        """List the training versions with their states and accuracies, the newest first."""
        found = await find_project(self.client, project)
        versions = [version async for version in found.versions()]
        return {"versions": [version.model_dump(mode="json") for version in versions[:MAX_LISTED]]}

    async def show_version(self, project: str, version: str) -> dict[str, Any]:
        """One training version, such as V001, with its progress while it runs."""
        found = await find_project(self.client, project)
        return (await found.version(version)).model_dump(mode="json")

    async def read_evaluation(self, project: str, version: str) -> dict[str, Any]:
        """The evaluation of a version and its doubts.

        Accuracy, precision, recall and F1 with 95 % intervals, the figures of each label, the labels that are
        taken for each other, how precise the figures are, and what to do next.
        """
        found = await (await find_project(self.client, project)).version(version)
        metrics = await found.metrics
        confusion = (await found.confusion()).model_dump(mode="json")
        labels = [label.model_dump(mode="json") async for label in found.labels()]
        return {
            "metrics": metrics.model_dump(mode="json"),
            "labels": labels[:MAX_LISTED],
            "confusions": confusion.get("confusions", []),
        }

    async def look_at_hardest_images(self, project: str, version: str, limit: int = 6) -> CONTENT:
        """Show the mistakes of a version's evaluation as pictures, the most confident ones first."""
        found = await find_project(self.client, project)
        judged = await found.version(version)
        content: CONTENT = []
        async for row in judged.evaluated_images(min(limit, MAX_PICTURES), outcome="wrong"):
            confidence = "" if row.confidence is None else f" ({row.confidence:.0%})"
            predicted = ", ".join(row.predicted) or "nothing"
            line = f"{row.image_id} {row.name}: {', '.join(row.labels)}, predicted {predicted}{confidence}"
            content.append(line)
            if row.image_id is not None:
                content.append(picture(await (await found.image(row.image_id)).thumbnail()))
        return content or ["The version made no mistake on its validation images."]

    async def compare_versions(self, project: str, version: str, other: str) -> dict[str, Any]:
        """Compare two versions on the images that both were evaluated on, with a significance test."""
        found = await find_project(self.client, project)
        first, second = await found.version(version), await found.version(other)
        return (await first.compare(second)).model_dump(mode="json")

    async def list_services(self, project: str) -> dict[str, Any]:
        """List the services, the deployed versions, of a project."""
        found = await find_project(self.client, project)
        return {"services": [service.model_dump(mode="json") async for service in found.services()]}
