"""Metadata of images: columns, values, and their undo."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from projects.formats.manifest import EntryLabel
from projects.images.bin import purge
from projects.labels import actions, metadata
from projects.labels.bulk_import import import_labels
from projects.labels.counts import counts_of
from projects.labels.event_text import describe_event
from projects.models import LabelEvent, MetadataColumn, MetadataValue, Project
from tests.factories import make_project, make_user

pytestmark = pytest.mark.django_db


def ids(project: Project) -> list[int]:
    return list(project.images.order_by("pk").values_list("pk", flat=True))


def test_values_are_set_changed_and_removed_with_undo() -> None:
    project, bob = make_project(labels=1, images=4), make_user("bob")
    images = ids(project)

    first = metadata.set_values(project, images[:3], {" Person ": "anna  lee"}, bob)
    second = metadata.set_values(project, images[1:3], {"person": "ben"}, bob)

    assert metadata.load_values(images) == {
        images[0]: {"Person": "anna lee"},
        images[1]: {"Person": "ben"},
        images[2]: {"Person": "ben"},
    }
    assert describe_event(first) == "3 images: Person set to “anna lee”"
    assert metadata.set_values(project, images[1:3], {"person": "ben"}, bob) is None
    actions.undo(second, bob)
    assert metadata.load_values(images)[images[1]] == {"Person": "anna lee"}
    undone = actions.undo(first, bob)
    assert (undone.restored, undone.skipped) == (3, 0)
    assert not MetadataValue.objects.exists() and not MetadataColumn.objects.exists()
    actions.redo(undone.event, bob)
    assert set(metadata.load_values(images)) == set(images[:3])


def test_undo_skips_images_whose_value_changed_since_and_ignores_changed_labels() -> None:
    project, bob = make_project(labels=2, images=3), make_user("bob")
    images = ids(project)
    event = metadata.set_values(project, images[:3], {"lot": "7"}, bob)
    metadata.set_values(project, images[:1], {"lot": "8"}, bob)
    actions.apply(project, [images[1]], add=[project.labels.last()], by=bob)
    labels = set(project.images.get(pk=images[1]).annotations.values_list("label__name", flat=True))

    undone = actions.undo(event, bob)

    assert (undone.restored, undone.skipped) == (2, 1)
    assert metadata.load_values(images) == {images[0]: {"lot": "8"}}
    after = project.images.get(pk=images[1]).annotations.values_list("label__name", flat=True)
    assert set(after) == labels == {"label-1"}


def test_an_import_of_labels_and_values_is_taken_back_at_once() -> None:
    project, bob = make_project(labels=1, images=2, unlabeled=2), make_user("bob")
    images = ids(project)
    entries = {images[2]: [EntryLabel("rose")], images[3]: [EntryLabel("rose")]}
    values = {images[0]: {"camera": "x"}, images[2]: {"camera": "y", "lot": "1"}}

    result = import_labels(project, entries, bob, values=values)

    assert result.labeled == 2 and len(result.event.changes) == 3
    assert metadata.load_values(images) == values
    undone = actions.undo(result.event, bob)
    assert undone.restored == 3
    assert not MetadataColumn.objects.exists()
    assert counts_of(project).images["labeled"] == 2


def test_imported_values_do_not_replace_those_of_an_image_unless_the_import_replaces() -> None:
    project, bob = make_project(labels=1, images=1), make_user("bob")
    (image,) = ids(project)
    metadata.set_values(project, [image], {"person": "anna"}, bob)

    kept = import_labels(project, {}, bob, values={image: {"Person": "ben", "lot": "1"}})
    assert metadata.load_values([image]) == {image: {"person": "anna", "lot": "1"}}
    assert describe_event(kept.event) == "Metadata of 1 image imported"
    import_labels(project, {}, bob, values={image: {"Person": "ben"}}, replaces=True)
    assert metadata.load_values([image])[image]["person"] == "ben"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"": "x"}, "Use 1 to 64 characters without a colon for the name of a column."),
        ({"a:b": "x"}, "Use 1 to 64 characters without a colon for the name of a column."),
        ({"n" * 65: "x"}, "Use 1 to 64 characters without a colon for the name of a column."),
        ({"lot": "v" * 201}, "A value can have 200 characters; “vvvvvvvvvvvvvvvvvvvv…” has 201."),
    ],
)
def test_bad_names_and_values_are_refused_with_a_sentence(values: dict[str, str], sentence: str) -> None:
    project = make_project(labels=1, images=1)
    with pytest.raises(ValidationError) as error:
        metadata.set_values(project, ids(project), values, make_user("bob"))
    assert error.value.messages == [sentence] and metadata.values_problem(values) == sentence
    assert not MetadataColumn.objects.exists() and not LabelEvent.objects.exists()


def test_a_project_has_at_most_twenty_columns() -> None:
    project = make_project(labels=1, images=1)
    metadata.set_values(project, ids(project), {f"c{n}": "x" for n in range(19)}, None)
    with pytest.raises(ValidationError) as error:
        metadata.set_values(project, ids(project), {"one": "x", "two": "x"}, None)
    assert error.value.messages == [
        "A project can have 20 columns of metadata. It has 19; 2 more cannot be added."
    ]


def test_images_of_other_projects_and_of_the_bin_stay_as_they_are() -> None:
    project, other = make_project("one", labels=1, images=2), make_project("two", labels=1, images=1)
    images, bob = ids(project), make_user("bob")
    actions.delete_images(project, images[:1], bob)
    event = metadata.set_values(project, [*images, *ids(other)], {"lot": "1"}, bob)
    assert [change["image"] for change in event.changes] == images[1:]


def test_the_summary_counts_values_and_images_without_one_in_three_queries(django_assert_num_queries) -> None:
    project, bob = make_project(labels=1, images=6), make_user("bob")
    images = ids(project)
    metadata.set_values(project, images[:3], {"person": "anna", "lot": "1"}, bob)
    metadata.set_values(project, images[3:5], {"person": "ben"}, bob)
    actions.delete_images(project, images[:1], bob)
    with django_assert_num_queries(3):
        rows = metadata.column_summaries(project)
    assert [(row.column.name, row.values, row.images, row.missing) for row in rows] == [
        ("person", 2, 4, 1),
        ("lot", 1, 2, 3),
    ]
    assert metadata.values_by_count(rows[0].column, 5) == [("anna", 2), ("ben", 2)]


def test_a_large_action_is_written_in_parts_and_undone_whole() -> None:
    project, bob = make_project(labels=1, images=230), make_user("bob")
    event = metadata.set_values(project, ids(project), {"lot": "1"}, bob)
    assert LabelEvent.objects.count() == 2
    assert describe_event(event) == "230 images: lot set to “1”"
    assert actions.undo(event, bob).restored == 230
    assert not MetadataValue.objects.exists()


def test_values_go_with_an_image_that_is_deleted_for_good() -> None:
    project, bob = make_project(labels=1, images=2), make_user("bob")
    images = ids(project)
    metadata.set_values(project, images, {"lot": "1"}, bob)
    actions.delete_images(project, images[:1], bob)
    assert MetadataValue.objects.count() == 2  # an image in the bin keeps its values
    purge(project, images[:1])
    assert list(MetadataValue.objects.values_list("image", flat=True)) == images[1:]
