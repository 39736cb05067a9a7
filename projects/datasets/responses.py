"""The manifest of a dataset version as a response."""

from __future__ import annotations

from django.http import FileResponse
from django.utils.translation import gettext

from exeml_site.lib import storage
from projects import audit
from projects.datasets.publish import ManifestDamaged
from projects.models import DatasetVersion


def manifest_response(version: DatasetVersion) -> FileResponse:
    """The manifest exactly as it was published, as a file. Raises ManifestDamaged where it is missing."""
    try:
        path = storage.local_path(version.manifest)
    except OSError as error:
        sentence = gettext("The manifest of %(version)s is missing. Ask an operator to restore it.")
        raise ManifestDamaged(sentence % {"version": version}) from error
    file_name = f"{version.project.name}-{version.name}.manifest"
    audit.record_download(version.project, file_name)
    return FileResponse(path.open("rb"), as_attachment=True, filename=file_name, content_type="text/plain")
