"""Where the server's URL and the token come from: arguments, the environment, the file of `exeml login`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from exeml.errors import SettingsMissing

URL, TOKEN, FILE = "EXEML_URL", "EXEML_TOKEN", "EXEML_CONFIG"


def config_file() -> Path:
    """The file that `exeml login` writes; EXEML_CONFIG names another one."""
    if named := os.environ.get(FILE):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "exeml" / "config.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "exeml" / "config.json"


def find(url: str | None, token: str | None) -> tuple[str, str]:
    """The URL and the token to use. A stored token is for its own server alone.

    Raises SettingsMissing.
    """
    url = url or os.environ.get(URL)
    token = token or os.environ.get(TOKEN)
    if not (url and token):
        stored = _stored()
        url = url or stored.get("url", "")
        if not token and stored.get("url") == normalized(url or ""):
            token = stored.get("token", "")
    if not url:
        raise SettingsMissing(f"No server is named. Run `exeml login`, set {URL}, or give the URL.")
    if not token:
        raise SettingsMissing(f"There is no token for {url}. Run `exeml login`, set {TOKEN}, or give one.")
    if not token.isascii() or not token.isprintable():
        raise SettingsMissing("The token has characters that no token has.")
    return normalized(url), token.strip()


def normalized(url: str) -> str:
    """The URL of the site, without a slash or the path of the API at its end."""
    url = url.strip().rstrip("/").removesuffix("/api/v1").rstrip("/")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise SettingsMissing(f"“{url}” is no URL of a server; it begins with http:// or https://.")
    return url


def store(url: str, token: str) -> Path:
    """Write the file that only its owner may read. Returns its path."""
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"url": normalized(url), "token": token}, file)
    part.replace(path)
    return path


def forget() -> bool:
    """Remove the file. False if there was none."""
    is_there = config_file().exists()
    config_file().unlink(missing_ok=True)
    return is_there


def _stored() -> dict[str, str]:
    try:
        values = json.loads(config_file().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsMissing(f"{config_file()} cannot be read: {error}") from error
    return values if isinstance(values, dict) else {}
