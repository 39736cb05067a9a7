"""Form fields that choose a version, with its metrics, or a flavor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.utils.translation import gettext, ngettext

from exeml_site.lib.display import count
from training.evaluation.best_version import Ranking
from training.versions.flavors import FlavorOffer


class VersionField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of versions with their numbers on the same images, and the mark of the `ranking`.

    Its query set has the annotations of `with_overall_metrics`. The ranking is asked for when it is shown.
    """

    ranking: Callable[[], Ranking] = Ranking

    def label_from_instance(self, version: Any) -> str:
        return self.ranking().describe(version)


class InstanceFlavorField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of flavors, each with the remark of the `offer`, as in “runs on the CPU here”."""

    offer = FlavorOffer(())

    def label_from_instance(self, flavor: Any) -> str:
        remark = self.offer.remark(flavor)
        return f"{flavor.name} · {gettext(remark)}" if remark else str(flavor.name)


def ranking_help(ranking: Ranking) -> str:
    """On which images the offered versions are compared; empty where they are not."""
    if not ranking.images:
        return ""
    sentence = ngettext(
        "Accuracy and precision (macro average) are measured on the same %(count)s validation image, with "
        "its current labels.",
        "Accuracy and precision (macro average) are measured on the same %(count)s validation images, with "
        "their current labels.",
        ranking.images,
    )
    return sentence % {"count": count(ranking.images)}
