"""Sign-in with an OpenID Connect provider: Keycloak, Entra, Google, GitLab or any other (EXEML_OIDC_URL).

django-allauth keeps the state, makes the challenge of PKCE and exchanges the code. It neither sends a nonce
nor checks the signature of the ID token, and it signs up whoever comes; this module does and does not.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import jwt
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.internal import statekit
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy
from requests import RequestException

from exeml_site.sign_in.environment import OidcSettings
from projects.sign_in.claims import MAX_NAME, MAX_UID, Identity, claim_text
from projects.sign_in.identities import ProviderUnavailable, SignInRefused, record_refusal

logger = logging.getLogger(__name__)

# Signed with a key that only the provider has; a shared secret (HS256) or none is refused.
ALGORITHMS = [
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]
CLOCKS_DIFFER_S = 60

EXPIRED = gettext_lazy("This sign-in has expired or was used already. Start again.")
CANCELLED = gettext_lazy("You cancelled at the provider. Start again, or use another way to sign in.")
REFUSED_THERE = gettext_lazy("The provider refused to sign you in. Ask those who run it.")
WRONG_ANSWER = gettext_lazy("The provider’s answer could not be verified. Start again, or ask an operator.")
NO_ANSWER = gettext_lazy("The provider does not answer. Try again, or sign in with a password.")


class OidcAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    def get_provider(self) -> OidcProvider:
        return provider(self.request)

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return request.build_absolute_uri(reverse("oidc_callback"))


class OidcProvider(OpenIDConnectProvider):  # type: ignore[misc]
    oauth2_adapter_class = OidcAdapter


def configured() -> OidcSettings:
    """The provider of the settings. Raises ImproperlyConfigured without one; views answer 404 then."""
    if settings.OIDC is None:
        raise ImproperlyConfigured("EXEML_OIDC_URL is not set.")
    return settings.OIDC


def provider(request: HttpRequest) -> OidcProvider:
    """The provider of the settings. Its id is its address: accounts of another provider are other people."""
    oidc = configured()
    app = SocialApp(
        provider="openid_connect",
        provider_id=oidc.issuer,
        name=oidc.name,
        client_id=oidc.client_id,
        secret=oidc.client_secret,
        settings={"server_url": oidc.issuer, "scope": list(oidc.scopes), "oauth_pkce_enabled": True},
    )
    return OidcProvider(request, app=app)


def begin(request: HttpRequest, next_url: str) -> HttpResponse:
    """Redirect to the provider. Raises `ProviderUnavailable`."""
    nonce = secrets.token_urlsafe(24)
    try:
        answer: HttpResponse = provider(request).redirect(
            request, "login", next_url=next_url, auth_params={"nonce": nonce}, nonce=nonce
        )
    except RequestException as error:
        raise _failure(error) from error
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s does not describe itself as a provider should: %r", configured().issuer, error)
        raise ProviderUnavailable(WRONG_ANSWER) from error
    return answer


def finish(request: HttpRequest) -> tuple[Identity, str]:
    """Whom the provider has identified, and the page to open then. Raises `SignInRefused`.

    The audit log has what the provider refused or could not prove, but not what a browser alone says.
    """
    oidc = provider(request)
    state_id = request.GET.get("state", "")
    state = statekit.unstash_state(request, provider_id=oidc.sub_id, state_id=state_id)
    if state is None:
        raise SignInRefused(EXPIRED)
    _check_answer(request.GET)
    adapter = oidc.get_oauth2_adapter(request)
    try:
        client = adapter.get_client(request, oidc.app)
        tokens = adapter.get_access_token_data(
            request, oidc.app, client, pkce_code_verifier=state.get("pkce_code_verifier")
        )
        claims = _verified_claims(adapter, tokens, state["nonce"])
        identity = _identity(claims, _user_info(adapter, tokens, claims["sub"]))
    except RequestException as error:
        refused = _failure(error)
        if not isinstance(refused, ProviderUnavailable):
            record_refusal(refused, configured().issuer)
        raise refused from error
    except (OAuth2Error, jwt.PyJWTError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("A sign-in at %s could not be verified: %r", configured().issuer, error)
        refused = SignInRefused(WRONG_ANSWER, "not-verified")
        record_refusal(refused, configured().issuer)
        raise refused from error
    return identity, state.get("next") or ""


def _failure(error: RequestException) -> SignInRefused:
    """A provider that answers no is not away."""
    logger.warning("The sign-in provider %s: %s", configured().issuer, error)
    is_no = error.response is not None and error.response.status_code < 500
    return SignInRefused(REFUSED_THERE, "refused") if is_no else ProviderUnavailable(NO_ANSWER)


def _check_answer(answer: Mapping[str, str]) -> None:
    if answer.get("error") == "access_denied":
        raise SignInRefused(CANCELLED)
    if answer.get("error") or not answer.get("code"):
        logger.warning(
            "The sign-in provider refused: %.200r %.200r",
            answer.get("error"),
            answer.get("error_description"),
        )
        raise SignInRefused(REFUSED_THERE)
    if answer.get("iss", configured().issuer).rstrip("/") != configured().issuer:
        raise SignInRefused(WRONG_ANSWER)  # the answer of another provider (RFC 9207)


def signed_claims(adapter: OidcAdapter, token: str, required: list[str]) -> dict[str, Any]:
    """The claims of a token. Raises PyJWTError unless the provider has signed it for this site."""
    config = adapter.openid_config
    if config["issuer"].rstrip("/") != configured().issuer:
        raise jwt.InvalidIssuerError(config["issuer"])
    claims: dict[str, Any] = jwt.decode(
        token,
        key=_key(config["jwks_uri"], token),
        algorithms=ALGORITHMS,
        issuer=config["issuer"],
        audience=configured().client_id,
        leeway=CLOCKS_DIFFER_S,
        options={"require": required},
    )
    return claims


def _verified_claims(adapter: OidcAdapter, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
    """The claims of the ID token. Raises PyJWTError unless it was signed for this site and this sign-in."""
    claims = signed_claims(adapter, tokens["id_token"], ["iss", "sub", "aud", "exp", "iat"])
    if not secrets.compare_digest(str(claims.get("nonce", "")), nonce):
        raise jwt.InvalidTokenError("the nonce is that of another sign-in")  # not translated: for the log
    audience, party = claims["aud"], claims.get("azp")
    if party != configured().client_id and (party or (isinstance(audience, list) and len(audience) > 1)):
        raise jwt.InvalidAudienceError(f"the token was issued to {party}")  # not translated: for the log
    return claims


def _key(keys_url: str, token: str) -> jwt.PyJWK:
    """The provider's key that a token names; a token that names none fits a provider with one key."""
    with get_adapter().get_requests_session() as session:
        answer = session.get(keys_url)
        answer.raise_for_status()
    keys = [key for key in jwt.PyJWKSet.from_dict(answer.json()).keys if key.public_key_use in (None, "sig")]
    key_id = jwt.get_unverified_header(token).get("kid")
    matching = [key for key in keys if key_id is None or key.key_id == key_id]
    if len(matching) != 1:
        raise jwt.InvalidKeyError("no key of the provider fits")  # not translated: for the log
    return matching[0]


def _user_info(adapter: OidcAdapter, tokens: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """More claims, where the provider has an address for them. Raises ValueError if they are another's."""
    if "userinfo_endpoint" not in adapter.openid_config:
        return {}
    info: dict[str, Any] = adapter._fetch_user_info(tokens["access_token"])
    if info["sub"] != subject:
        raise ValueError("the user info is that of another person")  # not translated: for the log
    return info


def _identity(claims: dict[str, Any], info: dict[str, Any]) -> Identity:
    """E-mail and whether it is verified come from one place: from both they could be of two addresses."""
    source = claims if "email" in claims else info
    verified = source.get("email_verified")
    is_verified = verified is True or verified == "true"  # 1 equals True
    everything = {**info, **claims}
    return Identity(
        provider=configured().issuer,
        uid=claim_text(claims["sub"], MAX_UID),
        username=claim_text(everything.get("preferred_username"), MAX_NAME),
        full_name=claim_text(everything.get("name"), 2 * MAX_NAME),
        email=claim_text(source.get("email"), 254) if is_verified else "",
        claims=everything,
    )
