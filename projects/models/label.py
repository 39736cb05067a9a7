"""Label: one class of a project."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.display import count
from exeml_site.lib.text import HIDDEN
from projects.models.project import Project

LABEL_NAME = RegexValidator(
    rf"\A(?=\S)[^{HIDDEN}/\\,;]{{1,64}}(?<=\S)\Z",
    gettext_lazy("Use 1 to 64 characters without slash, comma, semicolon, line break or hidden characters."),
)


MAX_LABELS = 2_000  # of a project: every page of it lists them, and every label is a class of the network
LABEL_COLOURS = 10  # CSS tokens --label-0 … --label-9
HOT_KEYS = "1234567890abcdefghijklmnopqrstuvwxyz"  # in the order in which new labels receive them
HOT_KEY = RegexValidator(r"\A[0-9a-z]\Z", gettext_lazy("Use one of the keys 0 to 9 or a to z."))


def too_many_labels(there: int, new: int) -> ValidationError:
    """A project with `there` labels cannot get `new` ones."""
    sentence = gettext("A project can have at most %(limit)s labels. It would have %(total)s.")
    return ValidationError(sentence % {"limit": count(MAX_LABELS), "total": count(there + new)})


class Label(models.Model):
    """One class of a project. Its `hot_key` labels the selected images; the 37th label starts without one."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="labels")
    name = models.CharField(max_length=64, validators=[LABEL_NAME])
    colour = models.PositiveSmallIntegerField(default=0)
    position = models.PositiveIntegerField(default=0)
    hot_key = models.CharField(max_length=1, blank=True, validators=[HOT_KEY])
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "hot_key"],
                condition=~models.Q(hot_key=""),
                name="hot_key_unique_in_project",
                violation_error_message=gettext_lazy("Another label of this project has this key."),
            ),
            models.UniqueConstraint(
                "project",
                Lower("name"),
                name="label_name_unique_in_project",
                violation_error_message=gettext_lazy("This project already has a label of this name."),
            ),
            models.CheckConstraint(
                condition=models.Q(colour__lt=LABEL_COLOURS), name="label_colour_is_a_token"
            ),
        ]

    def __str__(self) -> str:
        return self.name
