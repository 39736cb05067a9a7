"""A real directory (OpenLDAP's slapd) on ports of its own, with people and groups."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ldap3 import MODIFY_ADD, MODIFY_DELETE, MODIFY_REPLACE, Connection, Server

from exeml_site.sign_in.ldap import LdapServer

BASE = "dc=example,dc=org"
PEOPLE, GROUPS, ROOT = f"ou=people,{BASE}", f"ou=groups,{BASE}", f"cn=root,{BASE}"
READER, READER_PASSWORD, ROOT_PASSWORD = f"cn=reader,{BASE}", "reader's password", "root's password"
PASSWORD = "correct horse battery"
# A server that takes a name without a password as an anonymous bind, as some do.
CONFIGURATION = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {folder}/pid
TLSCertificateFile {folder}/certificate.pem
TLSCertificateKeyFile {folder}/key.pem
allow bind_anon_cred
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{root_password}"
directory {folder}/data
overlay memberof
overlay ppolicy
ppolicy_default cn=policy,{base}
access to attrs=userPassword by anonymous auth
access to * by dn.exact="{reader}" read by * none
"""


def find_slapd() -> str:
    """The path of slapd; without it the test is skipped, or fails if EXEML_REQUIRE asks for a directory."""
    found = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found:
        return found
    if "ldap" in os.environ.get("EXEML_REQUIRE", "").split(","):
        pytest.fail("EXEML_REQUIRE asks for a directory, but there is no slapd (apt-get install slapd).")
    pytest.skip("there is no slapd (apt-get install slapd)")


class Directory:
    """`secure` and `starttls`: its two ports. The certificate is for localhost, not for 127.0.0.1."""

    def __init__(self, slapd: str, folder: Path) -> None:
        self.ca_file = str(folder / "certificate.pem")
        _write_certificate(folder)
        (folder / "data").mkdir()
        names = {"base": BASE, "root": ROOT, "reader": READER, "root_password": ROOT_PASSWORD}
        (folder / "slapd.conf").write_text(CONFIGURATION.format(folder=folder, **names))
        plain, secure = _free_port(), _free_port()
        self.starttls, self.secure = LdapServer("localhost", plain), LdapServer("localhost", secure, True)
        urls = f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{secure}"
        self.process = subprocess.Popen(
            [slapd, "-f", folder / "slapd.conf", "-h", urls, "-d", "0"], stderr=subprocess.DEVNULL
        )
        self._root = _connected(plain)
        self._add(BASE, ["dcObject", "organization"], dc="example", o="Example")
        for folder_dn in (PEOPLE, GROUPS):
            self._add(folder_dn, "organizationalUnit")
        rules = {"pwdAttribute": "userPassword", "pwdLockout": "TRUE"}  # else locked accounts sign in
        self._add(f"cn=policy,{BASE}", ["device", "pwdPolicy"], **rules)
        self._add(READER, ["organizationalRole", "simpleSecurityObject"], userPassword=READER_PASSWORD)

    def stop(self) -> None:
        self._root.unbind()
        self.process.terminate()
        self.process.wait(10)

    def add_person(self, uid: str, *groups: str, below: str = PEOPLE, **attributes: str) -> str:
        """The DN of a new person, member of the groups."""
        dn = f"uid={uid},{below}"
        values = {"cn": uid.title(), "sn": uid.title(), "userPassword": PASSWORD, **attributes}
        self._add(dn, "inetOrgPerson", **values)
        for group in groups:
            self.join(dn, group)
        return dn

    def join(self, dn: str, group: str) -> None:
        group_dn = f"cn={group},{GROUPS}"
        if self._root.search(group_dn, "(objectClass=*)", "BASE"):
            self._modify(group_dn, {"member": [(MODIFY_ADD, [dn])]})
        else:
            self._add(group_dn, "groupOfNames", member=dn)

    def leave(self, dn: str, group: str) -> None:
        group_dn = f"cn={group},{GROUPS}"
        self._modify(group_dn, {"member": [(MODIFY_ADD, [ROOT]), (MODIFY_DELETE, [dn])]})

    def disable(self, dn: str) -> None:
        self._modify(dn, {"pwdAccountLockedTime": [(MODIFY_REPLACE, ["000001010000Z"])]})

    def rename(self, dn: str, uid: str) -> str:
        assert self._root.modify_dn(dn, f"uid={uid}"), self._root.result
        return dn.replace(dn.split(",")[0], f"uid={uid}")

    def add_referral(self, url: str) -> None:
        self._add(f"ou=elsewhere,{PEOPLE}", ["referral", "extensibleObject"], ref=url)

    def _add(self, dn: str, kinds: str | list[str], **attributes: str) -> None:
        assert self._root.add(dn, kinds, attributes), self._root.result

    def _modify(self, dn: str, changes: dict[str, list[tuple[str, list[str]]]]) -> None:
        assert self._root.modify(dn, changes), self._root.result


@contextmanager
def running_directory(folder: Path) -> Iterator[Directory]:
    directory = Directory(find_slapd(), folder)
    try:
        yield directory
    finally:
        directory.stop()


def _connected(port: int) -> Connection:
    """A connection of the root, as soon as the server answers."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return Connection(Server("127.0.0.1", port), ROOT, ROOT_PASSWORD, auto_bind=True)
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    no_password = serialization.NoEncryption()
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    (folder / "key.pem").write_bytes(key.private_bytes(pem, traditional, no_password))
