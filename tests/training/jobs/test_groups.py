"""A training of a project with a column that is never split: the engine gets the groups of the manifest."""

from __future__ import annotations

from collections import defaultdict

import pytest

from projects.datasets import publish
from projects.labels import metadata
from projects.models import MetadataColumn
from tests.factories import make_project, make_version
from training.jobs import train_version
from training.models import Status

pytestmark = pytest.mark.django_db


def test_the_samples_of_a_training_name_the_group_of_each_image() -> None:
    project = make_project(labels=2, images=20)
    ids = list(project.images.order_by("pk").values_list("pk", flat=True))
    for person in range(5):
        metadata.set_values(project, ids[person:35:5], {"person": f"p{person}"}, None)
    MetadataColumn.objects.update(is_never_split=True)
    version = make_version(project, 1, Status.RUNNING)
    publish.publish(version.dataset_version)

    samples = train_version._samples(version)

    people = metadata.load_values(ids)
    groups, splits = defaultdict(set), defaultdict(set)
    for sample in samples:
        person = people.get(int(sample.id), {}).get("person")
        groups[person].add(sample.group)
        splits[person].add(sample.split)
    assert groups.pop(None) == {None}
    assert all(len(names) == 1 for names in groups.values()) and len(groups) == 5
    assert len(set.union(*groups.values())) == 5
    assert all(len(sides) == 1 for person, sides in splits.items() if person)
    assert {"TRAIN", "EVAL"} == {sample.split for sample in samples}
