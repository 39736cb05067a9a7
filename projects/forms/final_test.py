"""Forms of test images: the split of selected images, and the choice of images for a final test."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from exeml_site.lib.fields import BoundedTextField
from projects.forms.label_data import ImagesForm
from projects.models import Split

NUMBER = re.compile(r"([0-9]{1,7}(?:[.,][0-9]{1,3})?)\s*(%?)", re.ASCII)
MAX_SHARE = 50  # percent of the labeled images


class SplitForm(ImagesForm):
    """Images, and whether they become test images or are for training and validation again."""

    split = forms.ChoiceField(
        choices=[(Split.TEST, "Test"), ("none", "Training and validation")],
        error_messages={
            "required": "Choose whether these are test images.",
            "invalid_choice": "Choose whether these are test images.",
        },
    )


class FinalTestForm(forms.Form):
    """How many of the `labeled` images are kept for a final test: “200”, or “10 %” of them."""

    amount = BoundedTextField(
        label="Images to keep",
        max_length=16,
        help_text="A number such as 200, or a share such as 10 %.",
        error_messages={"required": "Enter a number of images or a share, such as 10 %."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal"}),
    )
    takes_trained = forms.BooleanField(
        label="Also take images that earlier versions were trained on",
        required=False,
        help_text="The test results of these versions leave the images out; later versions are not affected.",
    )

    def __init__(self, data: Any = None, *, labeled: int) -> None:
        super().__init__(data)
        self.labeled = labeled

    def clean_amount(self) -> int:
        """The number of images."""
        match = NUMBER.fullmatch(self.cleaned_data["amount"].strip())
        if match is None:
            raise ValidationError("Enter a number of images or a share, such as 10 %.")
        value, is_share = float(match[1].replace(",", ".")), bool(match[2])
        if not is_share and not value.is_integer():
            raise ValidationError("Enter a whole number of images, or a share with %.")
        most = self.labeled * MAX_SHARE // 100
        number = int(value) if not is_share else round(self.labeled * value / 100)
        if number < 1:
            raise ValidationError("Keep at least one image.")
        if number > most:
            raise ValidationError(f"Keep at most half of the labeled images: {most:,} of {self.labeled:,}.")
        return number
