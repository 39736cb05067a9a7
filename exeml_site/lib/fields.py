"""Form fields whose values fit into the columns of the database."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from exeml_site.lib.params import MAX_INTEGER, parse_int

TOO_LONG = gettext_lazy("Use at most %(limit_value)d characters; these are %(show_value)d.")


class BoundedTextField(forms.CharField):
    """Text with a greatest length, which a sentence at the field states.

    Django's own field tells the browser as well, which cuts off what is pasted without a word.
    """

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        kwargs["error_messages"] = {"max_length": TOO_LONG} | kwargs.get("error_messages", {})
        super().__init__(max_length=max_length, **kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {name: value for name, value in super().widget_attrs(widget).items() if name != "maxlength"}


class MailField(forms.EmailField):
    """An e-mail address. Django's own field lets the browser cut off what is pasted."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["error_messages"] = {"max_length": TOO_LONG} | kwargs.get("error_messages", {})
        super().__init__(max_length=254, **kwargs)

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {name: value for name, value in super().widget_attrs(widget).items() if name != "maxlength"}


class IdField(forms.IntegerField):
    """The id of a row, or 0."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=0, max_value=MAX_INTEGER, **kwargs)


class RowsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A choice of rows by their ids. Django's own field asks the database for ids of any size."""

    def clean(self, value: Any) -> Any:
        for key in value if isinstance(value, (list, tuple)) else []:
            if parse_int(str(key)) is None:
                raise ValidationError(self.error_messages["invalid_choice"], "invalid_choice", {"value": key})
        return super().clean(value)
