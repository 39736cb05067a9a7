"""The data source of a project: a folder of the server or an S3 prefix that an operator allowed."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from projects.models import DataSource, Project
from projects.transfers.file_sources import FileSource, FolderSource, S3Source, clean_path

NOT_ALLOWED = "Begin with one of the places that operators allowed: {roots}."
NONE_ALLOWED = "Operators have not allowed any place yet (EXEML_SOURCE_ROOTS)."


def allowed_roots() -> list[str]:
    """The places below which data sources may lie, without what only the program needs to know."""
    return [_without_query(root) for root in settings.EXEML_SOURCE_ROOTS]


def _without_query(root: str) -> str:
    return root.partition("?")[0].rstrip("/") or "/"


def _root_of(address: str) -> str:
    """The allowed root that `address` lies below, as operators wrote it. Raises ValidationError."""
    fitting = [
        root
        for root in settings.EXEML_SOURCE_ROOTS
        if f"{address}/".startswith(_without_query(root).rstrip("/") + "/")
    ]
    if not fitting:
        raise ValidationError(_not_allowed())
    return max(fitting, key=len)


def _not_allowed() -> str:
    return NOT_ALLOWED.format(roots=", ".join(allowed_roots())) if allowed_roots() else NONE_ALLOWED


def check_address(address: str) -> str:
    """The address in one spelling. Raises ValidationError where it lies below no allowed root."""
    if ".." in address.split("/"):
        raise ValidationError("Give the folder itself, without “..”.")
    wanted = _normalized(address.strip())
    root = _without_query(_root_of(wanted))
    if not is_remote(wanted):
        _check_folder(wanted, root)
    return wanted


def is_remote(address: str) -> bool:
    return urlsplit(address).scheme == "s3"


def _normalized(address: str) -> str:
    if is_remote(address):
        return "s3://" + clean_path(address.removeprefix("s3://"))
    return "/" + clean_path(address)


def _check_folder(address: str, root: str) -> None:
    """Symbolic links must not lead out of the root either."""
    real, real_root = Path(address).resolve(), Path(root).resolve()
    if real != real_root and real_root not in real.parents:
        raise ValidationError(_not_allowed())
    if not real.is_dir():
        raise ValidationError("There is no such folder on the server.")


def open_source(address: str) -> FileSource:
    """Raises ValidationError where operators do not allow the address any more."""
    address = check_address(address)
    if not is_remote(address):
        return FolderSource(address)
    options = _root_of(address).partition("?")[2]
    return S3Source(f"{address}?{options}" if options else address)


@transaction.atomic
def set_source(project: Project, address: str, *, has_folder_labels: bool, by: User | None) -> DataSource:
    """Make `address` the project's data source. Raises ValidationError."""
    fields = {"address": check_address(address), "has_folder_labels": has_folder_labels, "chosen_by": by}
    source, _ = DataSource.objects.update_or_create(
        project=project, defaults={**fields, "synchronized_at": None}
    )
    return source


def file_address(source: DataSource | str, path: str) -> str:
    """What `Image.source` says of a file of the data source."""
    base = source if isinstance(source, str) else source.address
    return f"{base.rstrip('/')}/{path}"[-1024:]
