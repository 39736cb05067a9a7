"""Code samples that call a service: curl, Python and JavaScript."""

from __future__ import annotations

import json
from typing import NamedTuple


class Snippet(NamedTuple):
    key: str
    name: str
    text: str

    @property
    def source(self) -> str:
        """DOM id of the element that holds the text."""
        return f"snippet-text-{self.key}"


def snippets(url: str, token: str) -> list[Snippet]:
    return [
        Snippet("curl", "curl", _curl(url, token)),
        Snippet("python", "Python", _python(json.dumps(url), json.dumps(token))),
        Snippet("javascript", "JavaScript", _javascript(json.dumps(url), json.dumps(token))),
    ]


def _curl(url: str, token: str) -> str:
    return f"curl -F 'images=@photo.jpg' \\\n     -H 'X-Auth-Token: {token}' \\\n     {url}"


def _python(url: str, token: str) -> str:
    return f"""import requests  # pip install requests

with open("photo.jpg", "rb") as photo:
    answer = requests.post(
        {url},
        headers={{"X-Auth-Token": {token}}},
        files={{"images": photo}},
        timeout=40,
    )
answer.raise_for_status()
print(answer.json()["predicted_label"])"""


def _javascript(url: str, token: str) -> str:
    return f"""// Node.js 20 or newer
import {{ openAsBlob }} from "node:fs";

const body = new FormData();
body.append("images", await openAsBlob("photo.jpg"), "photo.jpg");
const answer = await fetch({url}, {{
  method: "POST",
  headers: {{ "X-Auth-Token": {token} }},
  body,
}});
if (!answer.ok) throw new Error(await answer.text());
console.log((await answer.json()).predicted_label);"""
