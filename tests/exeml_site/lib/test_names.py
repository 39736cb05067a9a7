"""Hidden characters are refused in every name that people choose, and removed from the names of files."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client

from exeml_site.lib.text import validate_name, without_hidden
from projects.formats.manifest import EntryLabel
from projects.forms.label_data import LabelForm
from projects.forms.projects import CreateProjectForm
from projects.images.upload import clean_name
from projects.labels.bulk_import import labels_problem
from projects.models import Team
from tests.factories import make_project, make_team
from training.forms.configuration import TrainingConfigurationForm
from training.forms.service_settings import TokenForm
from training.forms.versions import VersionNoteForm

HIDDEN = {
    "right-to-left override": "evil\u202egpj.exe",
    "left-to-right mark": "a\u200eb",
    "isolate": "a\u2066b",
    "Arabic letter mark": "a\u061cb",
    "zero-width space": "a\u200bb",
    "byte order mark": "a\ufeffb",
    "soft hyphen": "a\u00adb",
    "tag": "a\U000e0041b",
    "NUL": "a\x00b",
    "escape": "a\x1b[31mb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "lone surrogate": "a\ud800b",
}
PLAIN = ["rose", "Köln", "موز", "می\u200cخواهم", "香蕉", "👨\u200d👩\u200d👧", "e\u0301te\u0301", "क्\u200dष"]


@pytest.mark.parametrize("name", HIDDEN.values(), ids=HIDDEN)
def test_a_name_with_a_hidden_character_is_refused_and_the_character_named(name: str) -> None:
    with pytest.raises(ValidationError, match=r"Remove U\+[0-9A-F]{4,5}"):
        validate_name(name)
    assert without_hidden(name) == clean_name(name)
    validate_name(without_hidden(name))


@pytest.mark.parametrize("name", PLAIN)
def test_names_in_every_script_are_accepted(name: str) -> None:
    validate_name(name)
    assert without_hidden(name) == clean_name(name) == name


@pytest.mark.django_db
@pytest.mark.parametrize("name", HIDDEN.values(), ids=HIDDEN)
def test_every_form_refuses_it_at_the_field(name: str) -> None:
    project, team = make_project(images=0), make_team()
    forms = {
        "label": LabelForm({"name": name}, project=project),
        "project": CreateProjectForm({"name": name}, team=team),
        "token": TokenForm({"token-name": name}),
        "version": VersionNoteForm({"title": name}),
        "dataset version": TrainingConfigurationForm({"dataset_version": name}, project=project),
    }
    fields = {"version": "title", "dataset version": "dataset_version"}
    is_blank = name.split() != [name]  # str.split takes it as a blank, which a label has between words
    accepted = [kind for kind, form in forms.items() if fields.get(kind, "name") not in form.errors]
    assert accepted == (["label"] if is_blank else [])


@pytest.mark.django_db
@pytest.mark.parametrize("name", PLAIN)
def test_labels_in_every_script_are_accepted(name: str) -> None:
    assert LabelForm({"name": name}, project=make_project(images=0)).is_valid()


@pytest.mark.django_db
def test_an_imported_label_with_a_hidden_character_is_reported() -> None:
    problem = labels_problem(make_project(images=0), [EntryLabel("cat\u202e", annotated_by="")])
    assert "is not valid" in problem and "hidden characters" in problem


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["Green\u202ehouse", "Green\u200bhouse", "Green\x85house"])
def test_operators_cannot_give_such_names_either(admin_client: Client, name: str) -> None:
    inlines = {"memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0}
    answer = admin_client.post("/admin/projects/team/add/", {"name": name, **inlines})
    assert answer.status_code == 200 and "cannot have hidden or control characters" in answer.content.decode()
    assert not Team.objects.filter(name__startswith="Green").exists()
    user = User.objects.get(username="admin")
    page = f"/admin/auth/user/{user.pk}/change/"
    assert (
        "cannot have hidden"
        in admin_client.post(page, {"username": "admin", "first_name": name}).content.decode()
    )
    flavor = admin_client.post("/admin/training/instanceflavor/add/", {"name": name})
    assert "cannot have hidden" in flavor.content.decode()
