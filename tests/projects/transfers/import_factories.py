"""Builders of imports: archives in memory, and an import that has run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from projects.models import Project, Transfer
from projects.transfers import import_job, imports, upload_parts
from tests.factories import make_user


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def sample(source: str, *labels: str, **more: Any) -> str:
    """A line of a manifest."""
    marks = [{"type": "modelarts/image_classification", "name": name} for name in labels]
    return json.dumps({"source": source, "annotation": marks, **more}) + "\n"


def prepared(project: Project, files: Mapping[str, bytes], **options: Any) -> Transfer:
    """An import whose files are uploaded and which waits for a worker."""
    file_list = [{"name": name, "size": len(content)} for name, content in files.items()]
    transfer = imports.create_import(project, file_list, options, make_user("bob"))
    for number, content in enumerate(files.values()):
        for part in range(upload_parts.part_count(len(content))):
            start = part * upload_parts.PART_BYTES
            upload_parts.save_part(transfer, number, part, content[start : start + upload_parts.PART_BYTES])
    imports.start_import(transfer)
    return transfer


def imported(project: Project, files: Mapping[str, bytes], **options: Any) -> Transfer:
    """A finished import."""
    transfer = prepared(project, files, **options)
    import_job.run(transfer.pk)
    transfer.refresh_from_db()
    return transfer


def labels_by_name(project: Project) -> dict[str, list[str]]:
    """The labels of a project's images by file name, the bin excluded."""
    return {
        image.name: sorted(annotation.label.name for annotation in image.annotations.select_related("label"))
        for image in project.images.filter(deleted_at=None).prefetch_related("annotations")
    }


def reasons(transfer: Transfer) -> dict[str, str]:
    return dict(transfer.rejected_files.values_list("name", "reason"))
