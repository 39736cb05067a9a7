"""Names in the order in which people read them."""

from __future__ import annotations

from exeml_site.lib.text import natural_key


def test_numbers_in_names_count_as_numbers_and_case_does_not() -> None:
    names = ["img 10", "Banana", "img 9", "apple", "10", "9", "²", "img"]
    assert sorted(names, key=natural_key) == ["9", "10", "apple", "Banana", "img", "img 9", "img 10", "²"]
