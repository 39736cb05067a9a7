"""Columns that are never split: images of one value stay in one split."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from projects.datasets import publish
from projects.datasets.groups import bound_images, connected
from projects.datasets.readiness import preview_split, readiness
from projects.datasets.split import EVAL, TEST, TRAIN, LabeledImage, split
from projects.formats import manifest
from projects.labels import metadata
from projects.models import DatasetVersion, Image, MetadataColumn, MetadataValue, Project
from tests.factories import make_project, make_user

RATIO = Decimal("0.8")


def people(
    numbers: dict[int, dict[str, int]], splits: dict[int, str] | None = None, first: int = 0
) -> list[LabeledImage]:
    """Images of people: person → label → number of images."""
    images: list[LabeledImage] = []
    for person, labels in numbers.items():
        for label, count in labels.items():
            for _ in range(count):
                pk = first + len(images)
                images.append(LabeledImage(pk, f"{pk}", (label,), (splits or {}).get(pk, ""), bound=person))
    return images


def sides_of_people(images: list[LabeledImage], splits: dict[int, str]) -> dict[int | None, set[str]]:
    sides = defaultdict(set)
    for image in images:
        sides[image.bound].add(splits[image.id])
    return dict(sides)


@pytest.mark.parametrize("seed", range(20))
def test_no_person_is_on_both_sides_and_the_ratio_holds(seed: int) -> None:
    chance = random.Random(seed)
    images = people(
        {person: {f"label-{n}": chance.randint(0, 6) for n in range(4)} for person in range(40)},
    )
    result = split(images, RATIO, str(seed))
    assert all(len(sides) == 1 for sides in sides_of_people(images, result.splits).values())
    share = Counter(result.splits.values())[TRAIN] / len(images)
    assert 0.75 <= share <= 0.85, share
    assert not result.one_sided and not result.moved
    for n in range(4):
        assert {result.splits[image.id] for image in images if image.labels == (f"label-{n}",)} == {
            TRAIN,
            EVAL,
        }


def test_people_who_were_on_both_sides_are_split_anew_and_the_others_stay() -> None:
    images = people({person: {"a": 5, "b": 5} for person in range(20)})
    earlier = {image.id: EVAL if image.id % 5 == 0 else TRAIN for image in images}
    earlier |= {image.id: EVAL for image in images if image.bound == 7}
    kept = people({person: {"a": 5, "b": 5} for person in range(20)}, earlier)
    result = split(kept, RATIO, "p")
    assert all(len(sides) == 1 for sides in sides_of_people(kept, result.splits).values())
    assert sides_of_people(kept, result.splits)[7] == {EVAL}
    changed = {image.id for image in kept if image.split != result.splits[image.id]}
    assert set(result.moved) == changed and len(changed) > 20
    assert Counter(result.splits.values())[TRAIN] == 150  # 0.8 of the 19 people who are split anew


def test_a_new_image_joins_the_split_of_its_person() -> None:
    images = people({1: {"a": 5, "b": 5}, 2: {"a": 5, "b": 5}, 3: {"a": 3, "b": 3}})
    before = split(images, RATIO, "p").splits
    later = [*people({1: {"a": 5, "b": 5}, 2: {"a": 5, "b": 5}, 3: {"a": 3, "b": 3}}, before)]
    later += people({1: {"a": 2}, 2: {"b": 2}, 3: {"a": 9}}, first=1000)
    result = split(later, RATIO, "p")
    assert all(len(sides) == 1 for sides in sides_of_people(later, result.splits).values())
    assert not result.moved


def test_a_person_with_a_test_image_is_in_the_test_split() -> None:
    images = people({person: {"a": 5, "b": 5} for person in range(10)}, {0: TEST, 1: TRAIN, 12: TRAIN})
    result = split(images, RATIO, "p")
    assert {result.splits[image.id] for image in images if image.bound == 0} == {TEST}
    assert result.moved == (1,)
    assert TEST not in {result.splits[image.id] for image in images if image.bound != 0}


def test_new_duplicates_of_a_test_image_are_test_images_and_earlier_ones_stay() -> None:
    images = [LabeledImage(n, f"{n}", ("ab"[n % 2],)) for n in range(20)]
    images += [LabeledImage(n, f"{n}", ("a",), split, 1) for n, split in ((30, TEST), (31, ""), (32, EVAL))]
    result = split(images, RATIO, "p")
    assert [result.splits[n] for n in (30, 31, 32)] == [TEST, TEST, EVAL]
    assert result.moved == ()


def test_a_label_of_one_person_is_trained_on_and_named() -> None:
    images = people({1: {"a": 9}, 2: {"b": 5, "c": 5}, 3: {"b": 5, "c": 5}, 4: {"b": 5}})
    result = split(images, RATIO, "p")
    assert result.one_sided == ("a",)
    assert {result.splits[image.id] for image in images if image.labels == ("a",)} == {TRAIN}
    assert {result.splits[image.id] for image in images if image.labels == ("c",)} == {TRAIN, EVAL}


def test_ids_are_connected_through_shared_keys() -> None:
    keys = {5: ["x"], 1: ["y"], 9: ["x", "y"], 3: ["z"], 4: [], 7: ["z", "q"]}
    assert connected(keys) == {5: 1, 1: 1, 9: 1, 3: 3, 4: 4, 7: 3}


# --- in the database ---


def give_people(project: Project, number: int, *, is_never_split: bool = True) -> MetadataColumn:
    """Give the images of the project to `number` people in turn, by one action."""
    images = list(project.images.order_by("pk").values_list("pk", flat=True))
    for person in range(number):
        metadata.set_values(project, images[person::number], {"person": f"p{person}"}, make_user("bob"))
    column = MetadataColumn.objects.get(project=project)
    column.is_never_split = is_never_split
    column.save()
    return column


def publish_version(project: Project, name: str) -> DatasetVersion:
    version = DatasetVersion.objects.create(project=project, name=name, training_ratio=RATIO)
    publish.publish(version)
    return version


@pytest.mark.django_db
def test_duplicates_and_values_of_several_columns_connect_images() -> None:
    project = make_project(labels=2, images=4)
    pks = list(project.images.order_by("pk").values_list("pk", flat=True))
    bob = make_user("bob")
    metadata.set_values(project, pks[:2], {"person": "anna"}, bob)
    metadata.set_values(project, pks[1:3], {"session": "monday"}, bob)
    metadata.set_values(project, pks[5:7], {"camera": "x"}, bob)
    Image.objects.filter(pk__in=pks[2:4]).update(duplicate_group=pks[2])
    Image.objects.filter(pk__in=pks[6:]).update(duplicate_group=pks[6])
    assert bound_images(project) == {}
    project.metadata_columns.exclude(name="camera").update(is_never_split=True)
    assert bound_images(project) == dict.fromkeys(pks[:4], pks[0])


@pytest.mark.django_db
def test_a_published_manifest_names_values_and_groups_and_splits_no_person() -> None:
    project = make_project(labels=2, images=20)
    give_people(project, 8)
    version = publish_version(project, "V1")
    entries = publish.read_entries(version)
    sides = defaultdict(set)
    for entry in entries:
        sides[entry.values["person"]].add(entry.usage)
        assert entry.properties[manifest.GROUP].isdecimal()
    assert all(len(side) == 1 for side in sides.values())
    held_out = sum(side == {"EVAL"} for side in sides.values())
    assert 1 <= held_out <= 2  # a fifth of eight people
    groups = {"EVAL": held_out, "TRAIN": 8 - held_out}
    assert version.split["never_split"] == {"columns": ["person"], "groups": groups}


@pytest.mark.django_db
def test_turning_it_on_moves_images_and_the_preview_says_how_many() -> None:
    project = make_project(labels=2, images=20)
    column = give_people(project, 8, is_never_split=False)
    publish_version(project, "V1")
    before = dict(project.images.values_list("pk", "split"))
    column.is_never_split = True
    column.save()
    preview = preview_split(project, RATIO)
    version = publish_version(project, "V2")
    after = dict(project.images.values_list("pk", "split"))
    moved = sum(before[pk] != after[pk] for pk in before)
    assert preview.moved == moved == version.split["moved"] > 0
    assert (preview.train, preview.eval) == (version.train_count, version.eval_count)
    for person in range(8):
        held = MetadataValue.objects.filter(value=f"p{person}").values_list("image__split", flat=True)
        assert len(set(held)) == 1


@pytest.mark.django_db
def test_a_label_with_one_value_of_a_column_that_is_never_split_must_get_another() -> None:
    project = make_project(labels=3, images=6)
    column = give_people(project, 3)
    own = list(project.images.filter(annotations__label__name="label-2").values_list("pk", flat=True))
    metadata.set_values(project, own, {"person": "solo"}, make_user("bob"))
    state = readiness(project)
    assert state.missing == [
        "“person” is never split, so every label needs images of at least two of its values. Labels with one "
        "value: ‘label-2’ (“solo”). Add images of other values, or allow splitting “person”."
    ]
    assert preview_split(project, RATIO).one_sided == ("label-2",)
    metadata.set_values(project, own[:1], {"person": ""}, make_user("bob"))
    assert readiness(project).is_ready
    column.is_never_split = False
    column.save()
    assert readiness(project).is_ready
