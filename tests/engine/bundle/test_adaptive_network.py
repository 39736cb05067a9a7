"""A model of a service answers a lone image with all threads, and images at once with one thread each."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.training.bundles import colour_picture, write_colour_bundle
from training.engine.bundle.adaptive_network import AdaptiveNetwork, answers_in_progress
from training.engine.bundle.bundle import Bundle
from training.engine.data.images import UnreadableImage

AT_ONCE = 2  # OpenVINO gives no more streams than there are cores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adaptive") / "bundle"
    write_colour_bundle(folder)
    return folder


def streams_of(bundle: Bundle) -> int:
    return int(bundle._network.request().get_compiled_model().get_property("NUM_STREAMS"))


def wait_for_parallel(bundle: Bundle) -> None:
    until = time.monotonic() + 30
    while bundle._network._parallel is None and time.monotonic() < until:
        time.sleep(0.01)


def test_a_lone_image_has_all_threads_and_several_one_each(folder: Path) -> None:
    bundle = Bundle.load(folder, 2, most_at_once=AT_ONCE)
    assert streams_of(bundle) == 1
    with answers_in_progress.counted(), answers_in_progress.counted():
        streams_of(bundle)  # the quick network answers while the other one is compiled
        wait_for_parallel(bundle)
        assert streams_of(bundle) == AT_ONCE
    assert streams_of(bundle) == 1


def test_without_answers_at_once_nothing_is_compiled_twice(folder: Path) -> None:
    bundle = Bundle.load(folder, 2)
    with answers_in_progress.counted(), answers_in_progress.counted():
        assert streams_of(bundle) == 1
    assert bundle._network._compile_parallel is None


def test_many_at_once_get_the_scores_of_one_alone(folder: Path) -> None:
    bundle, pictures = (
        Bundle.load(folder, 2, most_at_once=AT_ONCE),
        [colour_picture("red", size=(90, 60))] * 40,
    )
    alone = bundle.answer(pictures[0]).scores
    with ThreadPoolExecutor(4) as pool:
        found = [answer.scores for answer in pool.map(bundle.answer, pictures)]
        wait_for_parallel(bundle)
        found += [answer.scores for answer in pool.map(bundle.answer, pictures)]
    assert np.abs(np.stack(found) - alone).max() < 1e-5
    assert answers_in_progress.count == 0


def test_an_unreadable_image_is_no_longer_in_progress(folder: Path) -> None:
    with pytest.raises(UnreadableImage):
        Bundle.load(folder, 2).answer(b"no picture")
    assert answers_in_progress.count == 0


def test_the_quick_network_goes_on_where_the_other_one_cannot_be_compiled(folder: Path) -> None:
    tried = threading.Event()

    def refuse() -> None:
        tried.set()
        raise MemoryError

    bundle = Bundle.load(folder, 2)
    bundle._network = AdaptiveNetwork(bundle._network._quick, refuse)
    with answers_in_progress.counted():
        before = bundle.answer(colour_picture("blue")).scores
        assert tried.wait(10)
        assert np.array_equal(bundle.answer(colour_picture("blue")).scores, before)
