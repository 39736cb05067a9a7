"""Which tools there are: those that the token's scopes allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from exeml.client import Client, connect_async
from exeml.core.modes import Asynchronous
from exeml.errors import ExemlError
from exeml.mcp_server.read_tools import ReadTools
from exeml.mcp_server.write_tools import WriteTools

INSTRUCTIONS = """exeml trains image classifiers on labeled images. Projects hold images and labels; a
training publishes the labels as a dataset version and makes a training version (V001, V002 …), whose
evaluation is on images that it was not trained on. Every share comes with its 95 % interval: name it,
and call no version better where the comparison says that the difference may be chance. Look at images
before labeling them, label only what you see, and leave out images that you are not sure of.
undo_action takes labels back."""


async def build(client: Client[Asynchronous]) -> MCPServer[Any]:
    """The server with the tools that the token allows; the account is asked for once."""
    account = await client.account()
    server: MCPServer[Any] = MCPServer("exeml", instructions=INSTRUCTIONS, log_level="WARNING")
    read, write = ReadTools(client), WriteTools(client)
    for tool in read.tools:
        server.add_tool(_sentences(tool), annotations=ToolAnnotations(read_only_hint=True))
    for scope, tool in write.tools:
        if account.allows(scope):
            hints = ToolAnnotations(read_only_hint=False, destructive_hint=False)
            server.add_tool(_sentences(tool), annotations=hints)
    return server


def _sentences(tool: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The tool, whose refusals are sentences that an assistant can read."""

    @wraps(tool)
    async def guarded(**arguments: Any) -> Any:
        try:
            return await tool(**arguments)
        except (ExemlError, OSError, ValueError) as error:
            raise ToolError(str(error)) from error

    return guarded


def serve() -> None:
    """Answer on the standard input and output until it is closed."""

    async def run() -> None:
        async with connect_async() as client:
            server = await build(client)
            await server.run_stdio_async()

    anyio.run(run)
