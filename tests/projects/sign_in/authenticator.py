"""A security key in software: answers the options of a page as a browser does (WebAuthn, ES256)."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.cose import ES256

USER_PRESENT, HAS_KEY = 1, 64


def encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


class SoftwareKey:
    def __init__(self, origin: str = "https://testserver") -> None:
        self.origin, self.id = origin, secrets.token_bytes(16)
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._uses = 0

    def register(self, options: dict[str, Any]) -> dict[str, Any]:
        site = options["publicKey"]["rp"]["id"]
        public = cbor.encode(ES256.from_cryptography_key(self._private.public_key()))
        credential = bytes(16) + struct.pack(">H", len(self.id)) + self.id + public
        about = self._about(site, USER_PRESENT | HAS_KEY) + credential
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": about})
        client = self._client("webauthn.create", options)
        return self._answer({"clientDataJSON": encoded(client), "attestationObject": encoded(attestation)})

    def sign(self, options: dict[str, Any]) -> dict[str, Any]:
        about = self._about(options["publicKey"]["rpId"], USER_PRESENT)
        client = self._client("webauthn.get", options)
        signature = self._private.sign(about + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": encoded(client),
                "authenticatorData": encoded(about),
                "signature": encoded(signature),
            }
        )

    def _about(self, site: str, flags: int) -> bytes:
        self._uses += 1
        return hashlib.sha256(site.encode()).digest() + struct.pack(">BI", flags, self._uses)

    def _client(self, kind: str, options: dict[str, Any]) -> bytes:
        challenge = options["publicKey"]["challenge"]
        assert len(urlsafe_b64decode(challenge + "==")) >= 16
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _answer(self, response: dict[str, str]) -> dict[str, Any]:
        key_id = encoded(self.id)
        return {
            "id": key_id,
            "rawId": key_id,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
        }
