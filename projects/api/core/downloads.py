"""Answers that are files, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any


def file_answer(*media_types: str, description: str = "The file.") -> dict[str, Any]:
    """`openapi_extra` of an operation that sends a file of one of these types."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in media_types}
    return {"responses": {200: {"description": description, "content": content}}}
