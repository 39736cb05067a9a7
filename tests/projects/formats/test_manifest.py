"""The manifest format: strict writing, and reading that accepts variants of real files."""

from __future__ import annotations

import json

import pytest

from projects.formats.manifest import Entry, EntryLabel, ManifestError, read, write

FULL = Entry(
    source="images/1/ab/abc.jpg",
    usage="TRAIN",
    id="6f2b0c1d9e8a47f3b5d0a1c2e3f40516",
    entry_labels=(
        EntryLabel("roses", "human/anna", "2025-03-02 09:14:07"),
        EntryLabel(
            "vase",
            "modelarts/active-learning",
            "2025-03-02 09:15:40",
            0.53,
            True,
            0.74,
            {"material": "glass"},
        ),
    ),
    is_hard=False,
    hard_coefficient=0.25,
    properties={"exeml:image-id": 7, "@modelarts:hard_reasons": [1, 20]},
)


def lines(*samples: dict[str, object]) -> list[str]:
    return [json.dumps(sample) for sample in samples]


def one(**sample: object) -> Entry:
    (entry,) = read(lines({"source": "a.jpg"} | sample))
    return entry


def labeled(**annotation: object) -> EntryLabel:
    (entry_label,) = one(
        annotation=[{"type": "modelarts/image_classification", "name": "roses"} | annotation]
    ).entry_labels
    return entry_label


def test_a_line_is_compact_json_with_the_documented_keys() -> None:
    (line,) = write([Entry("a.jpg", "EVAL", (EntryLabel("Rosé", "human/bob", "2025-03-02 09:14:07"),))])

    assert line.decode() == (
        '{"source":"a.jpg","usage":"EVAL","annotation":[{"type":"modelarts/image_classification",'
        '"name":"Rosé","annotated-by":"human/bob","creation-time":"2025-03-02 09:14:07"}]}\n'
    )


@pytest.mark.parametrize("confidence", [float("inf"), float("nan"), -5.0, 7.0])
def test_a_confidence_that_is_none_is_not_written(confidence: float) -> None:
    (line,) = write([Entry("a.jpg", entry_labels=(EntryLabel("cat", confidence=confidence),))])
    assert json.loads(line)["annotation"] == [
        {"type": "modelarts/image_classification", "name": "cat", "annotated-by": "human"}
    ]


def test_what_is_empty_is_left_out() -> None:
    assert list(write([Entry("a.jpg")])) == [b'{"source":"a.jpg"}\n']


def test_what_was_written_is_read_back() -> None:
    entries = [FULL, Entry("b.jpg", "EVAL", (EntryLabel("tulips"),)), Entry("c.jpg")]

    assert list(read(write(entries))) == entries
    assert FULL.labels == ("roses", "vase")
    assert FULL.image_id == 7


def test_hard_is_written_as_text() -> None:
    (line,) = write([FULL])

    sample = json.loads(line)
    assert sample["hard"] == "false"
    assert sample["annotation"][1]["hard"] == "true"
    assert sample["hard-coefficient"] == 0.25


def test_a_line_break_in_a_value_stays_in_its_line() -> None:
    (line,) = write([Entry("a\nb.jpg")])

    assert line.count(b"\n") == 1
    assert [entry.source for entry in read([line])] == ["a\nb.jpg"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("TRAIN", "TRAIN"),
        ("train", "TRAIN"),
        ("Eval", "EVAL"),
        ("inference", "INFERENCE"),
        ("", ""),
        (None, ""),
    ],
)
def test_usage_in_any_case(written: str | None, meant: str) -> None:
    assert one(usage=written).usage == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("False", False),
        (True, True),
        (False, False),
        (1, True),
        ("0", False),
        ("?", None),
        (None, None),
    ],
)
def test_hard_as_text_truth_or_number(written: object, meant: bool | None) -> None:
    assert one(hard=written).is_hard is meant
    assert labeled(hard=written).is_hard is meant


@pytest.mark.parametrize(
    "task", ["modelarts/image_classification", "image_classification", "other/image_classification"]
)
def test_the_task_with_and_without_its_prefix(task: str) -> None:
    assert labeled(type=task).name == "roses"


@pytest.mark.parametrize("task", ["modelarts/object_detection", "", None])
def test_annotations_of_other_tasks_are_passed_over(task: str | None) -> None:
    assert one(annotation=[{"type": task, "name": "roses"}]).entry_labels == ()


def test_underscores_are_read_as_hyphens() -> None:
    entry_label = labeled(
        annotated_by="human/anna", creation_time="2025-03-02 09:14:07", hard_coefficient="0.5"
    )

    assert entry_label == EntryLabel("roses", "human/anna", "2025-03-02 09:14:07", hard_coefficient=0.5)


def test_a_property_that_is_text_is_passed_over() -> None:
    assert one(property='[{"type":0,"property":{}}]').properties == {}


def test_unknown_keys_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    content = ["", "   ", *lines({"source": "a.jpg", "sample-type": 0, "new": [1]}), "\n"]

    assert list(read(content)) == [Entry("a.jpg")]
    assert list(read([b'\xef\xbb\xbf{"source":"a.jpg"}\n'])) == [Entry("a.jpg")]
    assert list(read(['\ufeff{"source":"a.jpg"}\n'])) == [Entry("a.jpg")]


@pytest.mark.parametrize("share", ["x", 1.5, -0.1, None, "NaN", []])
def test_a_confidence_that_is_no_share_is_left_out(share: object) -> None:
    assert labeled(confidence=share).confidence is None


def test_an_unlabeled_image_has_no_labels() -> None:
    assert one().labels == one(annotation=[]).labels == ()
    assert one().image_id is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "Line 2 is not valid JSON."),
        ("[" * 100_000, "Line 2 is not valid JSON."),
        ("[]", "Line 2 must be one JSON object in braces."),
        ("{}", "Line 2 has no “source”: every line must name its image."),
        ('{"source":7}', "Line 2 has no “source”: every line must name its image."),
        ('{"source":" "}', "Line 2 has no “source”: every line must name its image."),
        (
            '{"source":"a","usage":"EXTRA"}',
            "Line 2 has the usage “EXTRA”: use TRAIN, EVAL, TEST or INFERENCE.",
        ),
        ('{"source":"a","annotation":{}}', "Line 2 has an “annotation” that is not a list of objects."),
        ('{"source":"a","annotation":[1]}', "Line 2 has an “annotation” that is not a list of objects."),
        (
            '{"source":"a","annotation":[{"type":"modelarts/image_classification"}]}',
            "Line 2 has a label without a “name”.",
        ),
        (b'{"source":"\xff"}', "Line 2 is not text in UTF-8."),
    ],
)
def test_a_bad_line_is_named_with_its_number(line: str | bytes, sentence: str) -> None:
    entries = read(['{"source":"a.jpg"}', line])

    assert next(entries) == Entry("a.jpg")
    with pytest.raises(ManifestError) as caught:
        next(entries)
    assert str(caught.value) == sentence
