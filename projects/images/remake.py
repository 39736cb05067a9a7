"""Makes thumbnails again, after the program has learned to read some pictures better."""

from __future__ import annotations

import logging

from django.core.files.storage import default_storage

from exeml_site.lib import jobs, storage
from projects.images.decode import ImageRefused, decode_image
from projects.images.thumbnail import make_thumbnail, stored_thumbnail
from projects.models import DuplicateKey, Embedding, Image
from projects.models.image import ImageQuerySet

log = logging.getLogger(__name__)


def remake_thumbnails(images: ImageQuerySet) -> int:
    """Make the thumbnails of `images` again, and return how many have changed.

    What was computed from a changed thumbnail is computed again by the jobs. Safe to run twice.
    """
    changed = 0
    projects: set[int] = set()
    for image in images.order_by("project_id", "pk").iterator(chunk_size=500):
        try:
            is_changed = _remake(image)
        except (ImageRefused, OSError) as problem:
            log.warning("The thumbnail of image %s stays as it is: %s", image.pk, problem)
            continue
        if is_changed:
            changed += 1
            projects.add(image.project_id)
    for project_id in projects:
        jobs.after("images_added", project_id)
    return changed


def _remake(image: Image) -> bool:
    with default_storage.open(image.file_name) as file:
        content = file.read()
    made = make_thumbnail(content)
    if stored_thumbnail(image) == made.content:
        return False
    seen, (brightness, sharpness) = decode_image(content), made.measures()
    storage.save_whole(image.thumbnail_name, made.content)
    measured = {"brightness": brightness, "sharpness": sharpness}
    Image.objects.filter(pk=image.pk).update(width=seen.width, height=seen.height, **measured)
    for computed in (Embedding, DuplicateKey):
        computed.objects.filter(image=image).delete()
    return True
