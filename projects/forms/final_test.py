"""Forms of test images: the split of selected images, and the choice of images for a final test."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.display import count
from exeml_site.lib.fields import BoundedTextField
from projects.forms.label_data import ImagesForm
from projects.models import Split

NUMBER = re.compile(r"([0-9]{1,7}(?:[.,][0-9]{1,3})?)\s*(%?)", re.ASCII)
MAX_SHARE = 50  # percent of the labeled images
NO_NUMBER = gettext_lazy("Enter a number of images or a share, such as 10 %.")


class SplitForm(ImagesForm):
    """Images, and whether they become test images or are for training and validation again."""

    split = forms.ChoiceField(
        choices=[(Split.TEST, gettext_lazy("Test")), ("none", gettext_lazy("Training and validation"))],
        error_messages={
            "required": gettext_lazy("Choose whether these are test images."),
            "invalid_choice": gettext_lazy("Choose whether these are test images."),
        },
    )


class FinalTestForm(forms.Form):
    """How many of the `labeled` images are kept for a final test: “200”, or “10 %” of them."""

    amount = BoundedTextField(
        label=gettext_lazy("Images to keep"),
        max_length=16,
        help_text=gettext_lazy("A number such as 200, or a share such as 10 %."),
        error_messages={"required": NO_NUMBER},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal"}),
    )
    takes_trained = forms.BooleanField(
        label=gettext_lazy("Also take images that earlier versions were trained on"),
        required=False,
        help_text=gettext_lazy(
            "The test results of these versions leave the images out; later versions are not affected."
        ),
    )

    def __init__(self, data: Any = None, *, labeled: int) -> None:
        super().__init__(data)
        self.labeled = labeled

    def clean_amount(self) -> int:
        """The number of images."""
        match = NUMBER.fullmatch(self.cleaned_data["amount"].strip())
        if match is None:
            raise ValidationError(NO_NUMBER)
        value, is_share = float(match[1].replace(",", ".")), bool(match[2])
        if not is_share and not value.is_integer():
            raise ValidationError(gettext("Enter a whole number of images, or a share with a percent sign."))
        most = self.labeled * MAX_SHARE // 100
        number = int(value) if not is_share else round(self.labeled * value / 100)
        if number < 1:
            raise ValidationError(gettext("Keep at least one image."))
        if number > most:
            sentence = gettext("Keep at most half of the labeled images: %(most)s of %(labeled)s.")
            raise ValidationError(sentence % {"most": count(most), "labeled": count(self.labeled)})
        return number
