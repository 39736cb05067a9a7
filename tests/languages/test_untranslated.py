"""Areas that are done have no text outside gettext; the walkers find what they are for."""

from __future__ import annotations

import pytest

from tests.languages.areas import DONE
from tests.languages.python_texts import python_texts
from tests.languages.script_texts import script_texts
from tests.languages.template_texts import template_texts
from tests.languages.untranslated import ROOT, untranslated


@pytest.mark.parametrize("area", DONE)
def test_every_text_of_an_area_that_is_done_is_marked(area: str) -> None:
    assert (ROOT / area).exists()
    assert [str(finding) for finding in untranslated(area)] == []


def test_texts_of_a_template_are_found_in_every_place() -> None:
    source = """{% load i18n %}
<h1>Sign in</h1>
<img alt="A flower" title="{% translate 'Rose' %}" src="{% static 'a b.png' %}">
<p data-text="Wait a moment">{{ n }} image{{ n|pluralize }}</p>
<input type="submit" value="Send"><input type="text" value="Send">
{% include "x.html" with title="All images" %}{# A comment #}
<p>{% translate "Label" %} {% blocktranslate count counter=n %}one{% plural %}many{% endblocktranslate %}</p>
<code>pip install it</code><p translate="no">As they are<b>!</b></p> 12 MB · exeml
"""
    assert [(found.line, found.text.strip()) for found in template_texts("x", source)] == [
        (4, "pluralize: n|pluralize"),
        (6, "All images"),
        (2, "Sign in"),
        (3, "alt: A flower"),
        (4, "data-text: Wait a moment"),
        (4, "image"),
        (5, "value: Send"),
    ]


def test_texts_of_a_module_are_found_and_strings_for_machines_are_not() -> None:
    source = '''"""A docstring is no text."""
log.warning("The disk is full.")
messages.success(request, "The image was deleted.")
raise ValidationError(f"Choose {n} images.")
title = "Images"
field = CharField(label="Name", widget=TextInput(attrs={"class": "input input-small"}))
class Kind(TextChoices):
    ONE = "one", "Single label"
gettext("All is well.") + ngettext("%(n)s image", "%(n)s images", n)
path = "projects/a b.html"; query = "SELECT a FROM b"
help = "Only for the terminal."  # not translated: the command line is English
'''
    assert [(found.line, found.text) for found in python_texts("x", source)] == [
        (3, "The image was deleted."),
        (4, "Choose {} images."),
        (5, "Images"),
        (6, "Name"),
        (8, "Single label"),
    ]


def test_texts_of_a_script_are_found_and_selectors_are_not() -> None:
    source = """// Not a text at all.
say("No connection to the server.");
say(`${count} images were moved.`);
say(interpolate(ngettext("%(n)s image moved", "%(n)s images moved", n), { n }, true));
box.innerHTML = '<h2 class="a b">Keys of this page</h2>';
document.querySelector("#messages .message, dialog [open]");
"""
    found = [(finding.line, finding.text) for finding in script_texts("x", source)]
    assert found == [
        (2, "No connection to the server."),
        (3, "${count} images were moved."),
        (5, '<h2 class="a b">Keys of this page</h2>'),
    ]
