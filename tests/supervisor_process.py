"""The real product in its own data folder: `with Product(folder) as product:` runs `manage.py up`.

Used by the journey test and the benchmarks, which request pages over HTTP as a browser does.
"""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
ADMIN_PASSWORD = "a good long password"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Product:
    """The programs `parts` under one supervisor, over `folder`; all of them and Redis by default."""

    def __init__(self, folder: Path, parts: str = "", **environment: str) -> None:
        self.folder, self.parts = folder, parts
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder.parent / f"{folder.name}-up.log"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("EXEML_", "DJANGO_"))
        }
        for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
            kept.pop(name, None)
        self.environment = kept | {
            "EXEML_DATA": str(folder),
            "EXEML_ADMIN_NAME": "admin",
            "EXEML_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        jar = http.cookiejar.CookieJar()
        self.cookies = jar
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def __enter__(self) -> Product:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *(["--only", self.parts] if self.parts else [])],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.wait_until_it_answers()
        except BaseException:
            self.process.send_signal(signal.SIGINT)  # a start that takes too long leaves nothing behind
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait_until_it_answers(self, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"`up` ended at once:\n{self.log.read_text()[-4000:]}")
            if "web" not in (self.parts or "web") and "on this machine." in self.log.read_text():
                return
            try:
                self.get("/sign-in/")
                return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(f"No answer after {seconds} s:\n{self.log.read_text()[-4000:]}")

    def get(self, path: str, **headers: str) -> str:
        request = urllib.request.Request(self.url + path, headers=headers)
        with self.opener.open(request, timeout=60) as answer:
            return answer.read().decode()

    def post(self, path: str, values: Mapping[str, str]) -> tuple[str, str]:
        """Post a form with the CSRF token; return the final URL and its page."""
        token = next((cookie.value for cookie in self.cookies if cookie.name.endswith("csrftoken")), "") or ""
        body = urllib.parse.urlencode({**values, "csrfmiddlewaretoken": token}).encode()
        request = urllib.request.Request(self.url + path, body, {"Referer": self.url})
        with self.opener.open(request, timeout=120) as answer:
            return answer.geturl(), answer.read().decode()

    def upload(self, path: str, field: str, files: Mapping[str, bytes], service_token: str = "") -> str:
        """Post files as multipart/form-data; services need their token."""
        token = next((cookie.value for cookie in self.cookies if cookie.name.endswith("csrftoken")), "") or ""
        edge = uuid.uuid4().hex
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, content in files.items()
        ]
        request = urllib.request.Request(
            self.url + path,
            b"".join(parts) + f"--{edge}--\r\n".encode(),
            {
                "Content-Type": f"multipart/form-data; boundary={edge}",
                "X-CSRFToken": token,
                "X-Auth-Token": service_token,
                "Accept": "application/json",
                "Referer": self.url,
            },
        )
        with self.opener.open(request, timeout=120) as answer:
            return answer.read().decode()

    def sign_in(self, name: str = "admin", password: str = ADMIN_PASSWORD) -> None:
        self.get("/sign-in/")
        self.post("/sign-in/", {"username": name, "password": password})

    def project_id(self, name: str) -> int:
        """Id of the project with this name in the project list."""
        page = self.get("/projects/")
        match = re.search(
            rf'href="[^"]*/projects/(\d+)/label-data/"[^>]*>\s*(?:<[^>]+>\s*)*{re.escape(name)}', page
        )
        assert match, f"{name} is not in the project list"
        return int(match[1])

    def form_values(self, html: str) -> dict[str, str]:
        """Values that the forms of the page's main part would send unchanged."""
        reader = _FormReader()
        reader.feed(html[html.find("<main") :])
        return reader.values


class _FormReader(HTMLParser):
    """Collects the values of inputs and of chosen options."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._select = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        name = given.get("name") or ""
        if tag == "input" and name and "disabled" not in given:
            if given.get("type") not in {"radio", "checkbox", "submit", "file"} or "checked" in given:
                self.values[name] = given.get("value") or ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" not in given and self._select in self.values:
                return
            self.values[self._select] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""
