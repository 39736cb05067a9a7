"""The data source of a project: a server folder or an S3 prefix below a root that operators allow."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext

from exeml_site.lib.display import count
from projects.models import DataSource, Project
from projects.transfers.file_sources import FileSource, FolderSource, S3Source, clean_path

MAX_ADDRESS = 1024


def allowed_roots() -> list[str]:
    """The allowed roots of data sources, without their S3 options."""
    return [_without_query(root) for root in settings.EXEML_SOURCE_ROOTS]


def _without_query(root: str) -> str:
    return root.partition("?")[0].rstrip("/") or "/"


def _root_of(address: str) -> str:
    """The longest allowed root above `address`, as configured. Raises ValidationError if there is none."""
    fitting = [
        root
        for root in settings.EXEML_SOURCE_ROOTS
        if f"{address}/".startswith(_without_query(root).rstrip("/") + "/")
    ]
    if not fitting:
        raise ValidationError(_not_allowed())
    return max(fitting, key=len)


def _not_allowed() -> str:
    if not allowed_roots():
        return gettext("Operators have not allowed any location yet (EXEML_SOURCE_ROOTS).")
    sentence = gettext("The address must start with one of these locations: %(roots)s.")
    return sentence % {"roots": ", ".join(allowed_roots())}


def check_address(address: str) -> str:
    """The normalized address. Raises ValidationError if it is below no allowed root.

    An S3 address is a bucket and a prefix. Its options, such as the server that gets the credentials, are
    those of the root: nobody else can name one.
    """
    if ".." in address.replace("\\", "/").split("/"):
        raise ValidationError(gettext("Enter the folder itself, without “..”."))
    if len(address) > MAX_ADDRESS or not address.isprintable():
        sentence = gettext("Enter an address of at most %(limit)s characters in one line.")
        raise ValidationError(sentence % {"limit": count(MAX_ADDRESS)})
    normalized = _normalized(address.strip())
    if is_remote(normalized) and ("?" in normalized or "#" in normalized):
        raise ValidationError(
            gettext("Enter only the bucket and the prefix, without “?” and “#”. Operators set the options.")
        )
    root = _without_query(_root_of(normalized))
    if not is_remote(normalized):
        _check_folder(normalized, root)
    return normalized


def is_remote(address: str) -> bool:
    return address.startswith("s3://")


def _normalized(address: str) -> str:
    if is_remote(address):
        return "s3://" + clean_path(address.removeprefix("s3://"))
    return "/" + clean_path(address)


def _check_folder(address: str, root: str) -> None:
    """Symbolic links must not lead out of the root either."""
    real, real_root = Path(address).resolve(), Path(root).resolve()
    if real != real_root and real_root not in real.parents:
        raise ValidationError(_not_allowed())
    try:
        is_folder = real.is_dir()
    except OSError:  # a name that is too long
        is_folder = False
    if not is_folder:
        raise ValidationError(gettext("There is no such folder on the server."))


def open_source(address: str) -> FileSource:
    """The source at `address`. Raises ValidationError if the address is not allowed any more."""
    address = check_address(address)
    if not is_remote(address):
        return FolderSource(address)
    return S3Source(address, _root_of(address).partition("?")[2])


@transaction.atomic
def set_source(project: Project, address: str, *, has_folder_labels: bool, by: User | None) -> DataSource:
    """Make `address` the project's data source. Raises ValidationError."""
    fields = {"address": check_address(address), "has_folder_labels": has_folder_labels, "chosen_by": by}
    source, _ = DataSource.objects.update_or_create(
        project=project, defaults={**fields, "synchronized_at": None}
    )
    return source


def file_address(source: DataSource | str, path: str) -> str:
    """The value of `Image.source` for a file of the data source."""
    base = source if isinstance(source, str) else source.address
    return f"{base.rstrip('/')}/{path}"[-1024:]
