"""Projects of plain colours, which the colour bundle knows by heart, and versions trained on them."""

from __future__ import annotations

from collections.abc import Sequence

from projects.datasets.publish import publish
from projects.models import Image, Label, Project, Team
from tests.factories import make_image, make_project, make_version, store_file
from tests.training.bundles import colour_picture, give_bundle
from training.models import Status, TrainingVersion

NAMES = ("red", "green", "blue")


def add_colour(project: Project, label: Label, seed: int, colour: str, labels: Sequence[Label] = ()) -> Image:
    """An image of one colour, with its file, labeled as `label` and `labels`."""
    image = make_image(project, seed, [label, *labels])
    store_file(image, colour_picture(colour))
    return image


def make_colours(
    name: str = "colours",
    *,
    images: int = 10,
    names: Sequence[str] = NAMES,
    team: Team | None = None,
    is_multi_label: bool = False,
    first_seed: int = 0,
) -> Project:
    """A project of `images` images of each colour, with files."""
    project = make_project(name, labels=0, team=team, is_multi_label=is_multi_label)
    seed = first_seed
    for position, label_name in enumerate(names):
        label = Label.objects.create(project=project, name=label_name, position=position)
        for _ in range(images):
            add_colour(project, label, seed, label_name.lower())
            seed += 1
    return project


def make_colour_version(project: Project, number: int = 1, **fields: object) -> TrainingVersion:
    """A Completed version with a published dataset version and the colour bundle."""
    version = make_version(project, number, Status.COMPLETED, **fields)
    publish(version.dataset_version)
    give_bundle(version, is_multi_label=project.is_multi_label)
    return version
