"""The MCP server, called as an assistant calls it, over the real server."""

from __future__ import annotations

import asyncio
import base64
import io
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client, StdioServerParameters, stdio_client
from PIL import Image as Pillow

import exeml
from exeml.mcp_server.main import build
from projects.models import Annotation, Project
from tests.factories import make_project, picture_bytes, store_file
from tests.training.views.test_evaluation import LABELS, completed

pytestmark = pytest.mark.django_db(transaction=True)
T = TypeVar("T")
Server = Callable[..., tuple[str, str]]

SOURCE = Path(exeml.__file__).resolve().parents[1]
READ = {
    "list_projects",
    "show_project",
    "list_images",
    "look_at_images",
    "list_suggestions",
    "list_issues",
    "list_versions",
    "show_version",
    "read_evaluation",
    "look_at_hardest_images",
    "compare_versions",
    "list_services",
}
BY_SCOPE = {
    "read": set(),
    "label": {"label_images", "undo_action", "confirm_suggestions", "refuse_suggestions"},
    "train": {"start_training", "stop_training"},
    "deploy": {"predict"},
}


def with_assistant(server: Server, *scopes: str, talk: Callable[[Client], Awaitable[T]]) -> T:
    """What `talk` returns, with a connection to a server whose token has these scopes."""
    url, token = server(*scopes)

    async def run() -> T:
        async with exeml.connect_async(url, token) as client, Client(await build(client)) as assistant:
            return await talk(assistant)

    return asyncio.run(run())


def call(server: Server, scope: str, tool: str, **arguments: Any) -> Any:
    """The structured answer of a tool."""

    async def talk(assistant: Client) -> Any:
        return await assistant.call_tool(tool, arguments)

    return with_assistant(server, scope, talk=talk)


@pytest.fixture
def project() -> Project:
    return make_project(labels=2, images=2, unlabeled=2, with_files=True)


@pytest.mark.parametrize("scope", BY_SCOPE)
def test_the_tools_are_those_that_the_token_allows(server: Server, scope: str) -> None:
    async def talk(assistant: Client) -> dict[str, bool]:
        tools = (await assistant.list_tools()).tools
        return {tool.name: bool(tool.annotations and tool.annotations.read_only_hint) for tool in tools}

    tools = with_assistant(server, scope, talk=talk)
    assert set(tools) == READ | BY_SCOPE[scope]
    assert {name for name, is_read_only in tools.items() if is_read_only} == READ


def test_an_assistant_finds_projects_and_looks_at_images(server: Server, project: Project) -> None:
    async def talk(assistant: Client) -> tuple[Any, Any, Any]:
        projects = await assistant.call_tool("list_projects", {})
        images = await assistant.call_tool("list_images", {"project": "flowers", "tab": "unlabeled"})
        ids = [image["id"] for image in images.structured_content["images"]]
        return (
            projects,
            images,
            await assistant.call_tool("look_at_images", {"project": "flowers", "image_ids": ids}),
        )

    projects, images, seen = with_assistant(server, "read", talk=talk)
    assert [row["name"] for row in projects.structured_content["projects"]] == ["flowers"]
    assert len(images.structured_content["images"]) == 2
    line, picture, *_ = seen.content
    assert line.text.endswith("unlabeled") and len(seen.content) == 4
    opened = Pillow.open(io.BytesIO(base64.b64decode(picture.data)))
    assert picture.mime_type == "image/webp" and opened.format == "WEBP"


def test_an_assistant_labels_and_takes_it_back(server: Server, project: Project) -> None:
    ids = list(project.images.filter(is_labeled=False).values_list("pk", flat=True))
    answer = call(server, "label", "label_images", project="flowers", image_ids=ids, add=["label-0"])
    assert answer.structured_content["changed_count"] == 2
    assert Annotation.objects.filter(image_id__in=ids).count() == 2
    event_id = answer.structured_content["event_id"]
    call(server, "label", "undo_action", project="flowers", event_id=event_id)
    assert Annotation.objects.filter(image_id__in=ids).count() == 0


def test_an_assistant_reads_the_evaluation_and_sees_the_mistakes(server: Server) -> None:
    version = completed()
    mistakes = version.evaluated_images.filter(is_correct=False).select_related("image")
    for row in mistakes:
        assert row.image is not None
        store_file(row.image, picture_bytes(row.pk))
    evaluation = call(server, "read", "read_evaluation", project="flowers", version="V001").structured_content
    accuracy = evaluation["metrics"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert {row["label"] for row in evaluation["labels"]} == set(LABELS)
    assert evaluation["confusions"] and evaluation["metrics"]["notes"]
    content = call(server, "read", "look_at_hardest_images", project="flowers", version="1", limit=2).content
    line, picture, *others = content
    surest = max(mistakes, key=lambda row: row.confidence)
    assert line.text.startswith(f"{surest.image_id} picture-") and line.text.endswith(
        f": {surest.truth[0]}, predicted {surest.predicted[0]} ({surest.confidence:.0%})"
    )
    assert picture.type == "image" and len(others) == 2


def test_a_refusal_is_a_sentence_that_the_assistant_can_read(server: Server, project: Project) -> None:
    answer = call(server, "read", "show_project", project="trees")
    assert answer.is_error and "You see no project “trees”." in answer.content[0].text
    answer = call(server, "train", "start_training", project="flowers")
    assert answer.is_error and "(422)" in answer.content[0].text


def test_only_image_files_are_read_from_the_machine(server: Server, project: Project) -> None:
    service = "c80ea3d5-6d3a-4e8b-b489-66037976df33"
    answer = call(server, "deploy", "predict", project="flowers", service_id=service, paths=["/etc/passwd"])
    assert answer.is_error and "/etc/passwd is no image file." in answer.content[0].text


def test_the_command_answers_on_its_standard_input(server: Server) -> None:
    url, token = server("label")
    environment = {"EXEML_URL": url, "EXEML_TOKEN": token, "PYTHONPATH": str(SOURCE)}
    command = StdioServerParameters(command=sys.executable, args=["-m", "exeml", "mcp"], env=environment)

    async def talk() -> set[str]:
        async with Client(stdio_client(command)) as assistant:
            return {tool.name for tool in (await assistant.list_tools()).tools}

    assert asyncio.run(talk()) == READ | BY_SCOPE["label"]
