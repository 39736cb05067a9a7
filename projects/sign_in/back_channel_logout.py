"""Sessions that the provider ends (OpenID Connect Back-Channel Logout 1.0).

A token ends sessions that began before it was issued, so one that is sent again ends no later sign-in.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.http import HttpRequest
from requests import RequestException

from projects.sign_in import oidc, sessions
from projects.sign_in.identities import ProviderUnavailable, SignInRefused

logger = logging.getLogger(__name__)

TYPE = "logout+jwt"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
LONGEST_S = 10 * 60  # for which a token counts, however late it says that it expires


def end_sessions(request: HttpRequest) -> int:
    """End the sessions that the logout token in `request.POST` names; how many. Raises `SignInRefused`."""
    try:
        claims = _verified(request, request.POST.get("logout_token", ""))
    except RequestException as error:
        logger.warning("The sign-in provider %s: %s", oidc.configured().issuer, error)
        raise ProviderUnavailable(oidc.NO_ANSWER) from error
    except (jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("A logout token of %s could not be verified: %r", oidc.configured().issuer, error)
        raise SignInRefused(oidc.WRONG_ANSWER) from error
    until = datetime.fromtimestamp(claims["iat"], UTC) + timedelta(seconds=oidc.CLOCKS_DIFFER_S)
    person = _person(str(claims["sub"])) if claims.get("sub") else None
    if person is None and claims.get("sub"):
        return 0
    return sessions.end_of_provider(oidc.configured().issuer, person, str(claims.get("sid") or ""), until)


def _verified(request: HttpRequest, token: str) -> Mapping[str, Any]:
    """The claims of a logout token. An ID token is none: it has another type, a nonce and no event."""
    kind = str(jwt.get_unverified_header(token).get("typ", "")).lower().removeprefix("application/")
    if kind != TYPE:
        raise jwt.InvalidTokenError(f"the type is {kind!r}, not {TYPE}")  # not translated: for the log
    adapter = oidc.provider(request).get_oauth2_adapter(request)
    claims = oidc.signed_claims(adapter, token, ["iss", "aud", "iat", "jti"])
    if not isinstance(claims["events"][EVENT], Mapping) or "nonce" in claims:
        raise jwt.InvalidTokenError("it is no logout token")  # not translated: for the log
    if not (claims.get("sub") or claims.get("sid")):
        raise jwt.MissingRequiredClaimError("sub")
    if time.time() - claims["iat"] > LONGEST_S:
        raise jwt.ExpiredSignatureError("it is too old")  # not translated: for the log
    return claims


def _person(subject: str) -> User | None:
    account = SocialAccount.objects.select_related("user").filter(
        provider=oidc.configured().issuer, uid=subject
    )
    found = account.first()
    return found.user if found else None
