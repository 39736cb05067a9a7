"""Builders of test data, such as `make_project(labels=2, images=6)`, and the people of the tests.

Alice manages, Bob labels, Vera views, Mallory is in another team.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from PIL import Image as Picture

from projects.models import Annotation, DatasetVersion, Image, Label, Membership, Project, Role, Team
from projects.models.label import HOT_KEYS
from training.models import Device, InstanceFlavor, Metric, Status, TrainingVersion

PASSWORD = "a good long password"


def make_user(name: str, **kwargs: object) -> User:
    user = User.objects.filter(username=name).first()
    return user or User.objects.create_user(name, password=PASSWORD, **kwargs)


def make_team(name: str = "Greenhouse") -> Team:
    """A team with Alice, Bob and Vera; Mallory manages another one."""
    team, _ = Team.objects.get_or_create(name=name)
    strangers, _ = Team.objects.get_or_create(name="Strangers")
    roles = {
        (team, "alice"): Role.MANAGER,
        (team, "bob"): Role.LABELER,
        (team, "vera"): Role.VIEWER,
        (strangers, "mallory"): Role.MANAGER,
    }
    there = set(Membership.objects.filter(team__in=[team, strangers]).values_list("team", "user__username"))
    missing = [(group, person) for group, person in roles if (group.pk, person) not in there]
    people = _people([person for _, person in missing]) if missing else {}
    Membership.objects.bulk_create(
        Membership(team=group, user=people[person], role=roles[group, person]) for group, person in missing
    )
    return team


def _people(names: Sequence[str]) -> dict[str, User]:
    """The users with these names; the new ones are made at once."""
    found = User.objects.in_bulk(names, field_name="username")
    new = [User(username=name, password=make_password(PASSWORD)) for name in names if name not in found]
    return found | {user.username: user for user in User.objects.bulk_create(new)}


def picture_bytes(seed: int = 0, size: tuple[int, int] = (32, 24), format: str = "PNG") -> bytes:
    """The bytes of a small picture that differs for every seed."""
    picture = Picture.new("RGB", size, ((seed * 37) % 256, (seed * 91) % 256, (seed // 256) % 256))
    picture.putpixel((seed % size[0], (seed // size[0]) % size[1]), (255, 255, 255))
    out = io.BytesIO()
    picture.save(out, format)
    return out.getvalue()


def store_file(image: Image, content: bytes) -> None:
    """Store the file of an image; one of an earlier test goes, since primary keys begin again."""
    if default_storage.exists(image.file_name):
        default_storage.delete(image.file_name)
    default_storage.save(image.file_name, ContentFile(content))


def make_image(project: Project, seed: int, labels: Sequence[Label] = (), with_file: bool = False) -> Image:
    """Create an image row with labels; with file and thumbnail only if a test opens them."""
    return _make_images(project, {seed: labels}, with_file)[0]


def _make_images(project: Project, labels: Mapping[int, Sequence[Label]], with_files: bool) -> list[Image]:
    """Create the images of some seeds, each with its labels."""
    contents = [picture_bytes(seed) for seed in labels]
    images = Image.objects.bulk_create(
        Image(
            project=project,
            sha256=hashlib.sha256(content).hexdigest(),
            name=f"picture-{seed}.png",
            format="PNG",
            width=32,
            height=24,
            size_bytes=len(content),
            is_labeled=bool(labels[seed]),
        )
        for seed, content in zip(labels, contents, strict=True)
    )
    Annotation.objects.bulk_create(
        Annotation(image=image, label=label, at=timezone.now())
        for image, given in zip(images, labels.values(), strict=True)
        for label in given
    )
    for image, content in zip(images, contents, strict=True) if with_files else ():
        store_file(image, content)
        thumbnail = io.BytesIO()
        Picture.open(io.BytesIO(content)).save(thumbnail, "WEBP")
        default_storage.save(image.thumbnail_name, ContentFile(thumbnail.getvalue()))
    return images


def make_project(
    name: str = "flowers",
    *,
    labels: int = 2,
    images: int = 6,
    unlabeled: int = 0,
    team: Team | None = None,
    is_multi_label: bool = False,
    with_files: bool = False,
) -> Project:
    """Create a project with `images` images per label (label-0, label-1 …) and some unlabeled ones."""
    project = Project.objects.create(
        team=team or make_team(), name=name, created_by=make_user("alice"), is_multi_label=is_multi_label
    )
    made = Label.objects.bulk_create(
        Label(
            project=project,
            name=f"label-{position}",
            colour=position % 10,
            position=position,
            hot_key=HOT_KEYS[position] if position < len(HOT_KEYS) else "",
        )
        for position in range(labels)
    )
    given = [[label] for label in made for _ in range(images)] + [[]] * unlabeled
    _make_images(project, dict(enumerate(given)), with_files)
    return project


def default_flavor() -> InstanceFlavor:
    """The flavor that the migration made the default."""
    return InstanceFlavor.objects.get(is_default=True)


def cpu_flavor() -> InstanceFlavor:
    return InstanceFlavor.objects.filter(device=Device.CPU).first()


def make_version(
    project: Project,
    number: int = 1,
    status: str = Status.INITIALIZING,
    *,
    accuracy: float | None = None,
    **fields: object,
) -> TrainingVersion:
    """Create a training version with this status and a reserved dataset version, without files."""
    name = f"V{number:03d}"
    dataset_version, _ = DatasetVersion.objects.get_or_create(
        project=project, name=name, defaults={"training_ratio": "0.8"}
    )
    if status != Status.INITIALIZING:
        fields.setdefault("started_at", timezone.now())
        fields.setdefault("heartbeat_at", timezone.now())
    if status in (Status.COMPLETED, Status.FAILED, Status.STOPPED):
        fields.setdefault("finished_at", timezone.now())
    if status == Status.COMPLETED:
        fields.setdefault("model_name", f"exeML-{project.name}-{name}")
    fields.setdefault("flavor", default_flavor())
    version = TrainingVersion.objects.create(
        project=project,
        number=number,
        status=status,
        dataset_version=dataset_version,
        training_ratio="0.8",
        flavor_name="Compute-intensive instance (GPU)",
        submitted_by=make_user("alice"),
        **fields,
    )
    if accuracy is not None:
        Metric.objects.create(training_version=version, name=Metric.Name.ACCURACY, value=accuracy)
    return version
