"""Sign-in with the password of a directory: OpenLDAP, Active Directory, FreeIPA … (EXEML_LDAP_URL).

django-auth-ldap would do most of it, but needs python-ldap, which is compiled on each machine. It also finds
an account by its name, so that a name in the directory would open the local account of somebody else.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from ldap3 import ANONYMOUS, DEREF_NEVER, NO_ATTRIBUTES, NONE, SIMPLE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPOperationResult
from ldap3.core.results import (
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_INAPPROPRIATE_AUTHENTICATION,
    RESULT_INSUFFICIENT_ACCESS_RIGHTS,
    RESULT_INVALID_CREDENTIALS,
    RESULT_NO_SUCH_OBJECT,
    RESULT_SIZE_LIMIT_EXCEEDED,
    RESULT_SUCCESS,
    RESULT_UNWILLING_TO_PERFORM,
)
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from exeml_site.lib.outages.database import release_connection
from exeml_site.sign_in.ldap import ATTRIBUTE, LdapServer, LdapSettings
from projects.sign_in import invitations
from projects.sign_in.claims import MAX_NAME, MAX_UID, Identity, claim_text
from projects.sign_in.identities import ProviderUnavailable, account_of

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

logger = logging.getLogger(__name__)

PROVIDER = "ldap"
CONNECT_S, ANSWER_S = 5, 10
# Which of several servers of a directory answers makes no difference; a person keeps the id when renamed.
ID_ATTRIBUTES = ("entryUUID", "objectGUID", "ipaUniqueID", "nsUniqueId")
NAME_ATTRIBUTES = ("uid", "sAMAccountName")
FULL_NAME_ATTRIBUTES = ("displayName", "cn")
GROUPS = "groups"
# What servers answer to a wrong password, and to a right one of an entry that may not sign in.
NOT_ADMITTED = {
    RESULT_INVALID_CREDENTIALS,
    RESULT_INAPPROPRIATE_AUTHENTICATION,
    RESULT_INSUFFICIENT_ACCESS_RIGHTS,
    RESULT_UNWILLING_TO_PERFORM,
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_NO_SUCH_OBJECT,
}
UNAVAILABLE = gettext_lazy(
    "Passwords of the directory cannot be checked at the moment. Try again later, or ask an operator."
)

Attributes = dict[str, list[bytes]]


class LdapBackend(ModelBackend):
    """The account of somebody whose name and password the directory knows. Local accounts come first."""

    def authenticate(  # type: ignore[override]
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **more: Any,
    ) -> AbstractBaseUser | None:
        """Raises `SignInRefused` for somebody whom the directory knows and this site does not admit."""
        identity = identify(username, password) if username and password else None
        if identity is None:
            return None
        return account_of(identity, is_invited=request is not None and invitations.is_open(request))


def identify(username: str, password: str) -> Identity | None:
    """Who has this name and password in the directory. Raises `ProviderUnavailable`."""
    ldap = settings.LDAP
    if ldap is None or not password:  # a name without a password is an anonymous bind, which succeeds
        return None
    release_connection()
    for server in ldap.servers:
        try:
            return _identify(ldap, server, username, password)
        except (LDAPException, OSError, ValueError) as error:
            logger.warning("The directory at %s could not be asked: %s", server.host, error)
    raise ProviderUnavailable(UNAVAILABLE)


def _identify(ldap: LdapSettings, server: LdapServer, username: str, password: str) -> Identity | None:
    with _connected(ldap, server) as reader:
        _bind(reader, ldap.bind_dn, ldap.bind_password)
        found = _person(ldap, reader, username)
        if found is None or not _admits(ldap, server, found[0], password):
            return None
        dn, attributes = found
        name = _first(attributes, NAME_ATTRIBUTES) or username
        groups = _groups(ldap, reader, dn, name) if ldap.group_base else _member_of(attributes)
    values = {key: [_text(value) for value in some] for key, some in attributes.items()}
    return Identity(
        provider=PROVIDER,
        uid=claim_text(_id(attributes), MAX_UID),
        username=claim_text(name, MAX_NAME),
        full_name=claim_text(_first(attributes, FULL_NAME_ATTRIBUTES), 2 * MAX_NAME),
        email=claim_text(_first(attributes, (ldap.email,)), 254),
        claims={**values, GROUPS: groups},
    )


@contextmanager
def _connected(ldap: LdapSettings, server: LdapServer) -> Iterator[Connection]:
    """A connection that is encrypted, unless the operator allows a plain one, and follows no referrals."""
    tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=ldap.ca_file or None, sni=server.host)
    target = Server(
        server.host,
        port=server.port,
        use_ssl=server.is_secure_from_start,
        tls=tls,
        get_info=NONE,
        connect_timeout=CONNECT_S,
    )
    connection = Connection(target, auto_referrals=False, read_only=True, receive_timeout=ANSWER_S)
    try:
        connection.open()
        if not (server.is_secure_from_start or server.is_plain) and not connection.start_tls():
            raise LDAPException("StartTLS was refused")  # not translated: for the log
        yield connection
    finally:
        connection.unbind()


def _bind(connection: Connection, dn: str, password: str) -> None:
    """Sign in as `dn`; anonymously without one. Raises LDAPOperationResult."""
    connection.user, connection.password = dn or None, password.encode() or None
    connection.authentication = SIMPLE if dn else ANONYMOUS
    connection.bind()
    _check(connection)


def _admits(ldap: LdapSettings, server: LdapServer, dn: str, password: str) -> bool:
    """Whether the server takes the password of the entry. The connection that reads is another one."""
    with _connected(ldap, server) as connection:
        try:
            _bind(connection, dn, password)
        except LDAPOperationResult as refused:
            if refused.result not in NOT_ADMITTED:
                raise
            logger.info("The directory does not admit %s: %s", dn, refused)
            return False
        return True


def _person(ldap: LdapSettings, reader: Connection, username: str) -> tuple[str, Attributes] | None:
    """The entry of the only person with this name, and its DN."""
    condition = ldap.person_filter.replace("{username}", escape_filter_chars(username))
    ruled = {rule.claim for rule in settings.SIGN_IN_TEAMS if ATTRIBUTE.fullmatch(rule.claim)} - {GROUPS}
    wanted = {*ID_ATTRIBUTES, *NAME_ATTRIBUTES, *FULL_NAME_ATTRIBUTES, "memberOf", *ruled, ldap.email} - {""}
    found = _search(reader, ldap.base, condition, sorted(wanted), size_limit=2)
    if len(found) > 1:
        logger.warning("EXEML_LDAP_FILTER finds several entries for one name: %s", [dn for dn, _ in found])
    return found[0] if len(found) == 1 else None


def _groups(ldap: LdapSettings, reader: Connection, dn: str, name: str) -> list[str]:
    condition = ldap.group_filter.replace("{dn}", escape_filter_chars(dn))
    condition = condition.replace("{username}", escape_filter_chars(name))
    return [_common_name(group) for group, _ in _search(reader, ldap.group_base, condition, [])]


def _member_of(attributes: Attributes) -> list[str]:
    return [_common_name(_text(group)) for group in attributes.get("memberOf", [])]


def _search(
    reader: Connection, base: str, condition: str, attributes: list[str], size_limit: int = 0
) -> list[tuple[str, Attributes]]:
    """DN and attributes of each entry, without references to other servers. Raises LDAPOperationResult."""
    reader.search(
        base,
        condition,
        SUBTREE,
        dereference_aliases=DEREF_NEVER,
        attributes=attributes or NO_ATTRIBUTES,
        size_limit=size_limit,
        time_limit=ANSWER_S,
    )
    _check(reader, RESULT_SIZE_LIMIT_EXCEEDED)
    entries = [entry for entry in reader.response or [] if entry["type"] == "searchResEntry"]
    return [(entry["dn"], _named(attributes, entry["raw_attributes"])) for entry in entries]


def _named(names: list[str], attributes: Attributes) -> Attributes:
    """The attributes under the names that were asked for: case does not count in a directory."""
    values = {name.lower(): value for name, value in attributes.items()}
    return {name: values.get(name.lower(), []) for name in names}


def _check(connection: Connection, *expected: int) -> None:
    """Raises LDAPOperationResult unless the last operation succeeded or ended as `expected`."""
    result = connection.result
    if result["result"] not in (RESULT_SUCCESS, *expected):
        raise LDAPOperationResult(
            result=result["result"],
            description=result["description"],
            dn=result["dn"],
            message=result["message"],
            response_type=result["type"],
        )


def _id(attributes: Attributes) -> str:
    """The id that a directory gives to an entry for ever. Raises ValueError without one."""
    for name in ID_ATTRIBUTES:
        for value in attributes.get(name, []):
            return str(UUID(bytes_le=value)) if name == "objectGUID" else _text(value)
    raise ValueError("the entry has none of " + ", ".join(ID_ATTRIBUTES))  # not translated: for the log


def _first(attributes: Attributes, names: tuple[str, ...]) -> str:
    """The first value that one of the attributes has; empty if none has any."""
    return next((_text(value) for name in names for value in attributes.get(name, [])), "")


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _common_name(dn: str) -> str:
    """The first part of a group's DN: `cn=ml-team,ou=groups,dc=example,dc=org` is `ml-team`."""
    return str(parse_dn(dn)[0][1])
