"""A real OpenID Connect server (oidc-provider-mock) on its own port, whose ID tokens a test can forge."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import requests
from werkzeug.serving import make_server

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # http on this machine
import flask
import oidc_provider_mock

CLIENT = "exeml-test"


class OidcServer:
    """`forge` gets the claims of an ID token and its signing key as PEM, and returns another token."""

    forge: Callable[[dict[str, Any], str], str] | None = None
    refuses_user_info = False
    key = ""  # as PEM; known once the server has answered

    def __init__(self) -> None:
        app = oidc_provider_mock.app(require_nonce=True)
        app.after_request(self._forged)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def serve(self) -> None:
        self._server.serve_forever(0.05)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def set_person(self, subject: str, **claims: Any) -> None:
        requests.put(f"{self.url}/users/{subject}", json=claims, timeout=5).raise_for_status()

    def consent(self, authorize_url: str, subject: str) -> str:
        """The person signs in at the provider; the path and query of the callback."""
        answer = requests.post(authorize_url, data={"sub": subject}, allow_redirects=False, timeout=5)
        assert answer.status_code == 302, answer.text
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}"

    def deny(self, authorize_url: str) -> str:
        answer = requests.post(authorize_url, data={"action": "deny"}, allow_redirects=False, timeout=5)
        state = parse_qs(urlsplit(authorize_url).query)["state"][0]
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}&state={state}"

    def logout_token(self, kind: str = "logout+jwt", key: str = "", **changes: Any) -> str:
        """What a provider sends when somebody has signed out there (None: a claim is left out)."""
        now = int(time.time())
        events = {"http://schemas.openid.net/event/backchannel-logout": {}}
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "1", "events": events}
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(claims, key or self.key, "RS256", headers={"typ": kind})

    def _forged(self, response: flask.Response) -> flask.Response:
        self.key = flask.g.oidc_provider_mock_storage.jwk.as_pem(is_private=True)
        if flask.request.path == "/userinfo" and self.refuses_user_info:
            return flask.Response(status=401)
        if flask.request.path == "/oauth2/token" and self.forge and response.status_code == 200:
            body = json.loads(response.get_data())
            claims = jwt.decode(body["id_token"], options={"verify_signature": False})
            body["id_token"] = self.forge(claims, self.key)
            response.set_data(json.dumps(body))
        return response


@contextmanager
def running_server() -> Iterator[OidcServer]:
    server = OidcServer()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(5)
