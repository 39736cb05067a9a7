"""Networks and recipes of candidates in plain words."""

from __future__ import annotations

from django.utils.translation import gettext, gettext_lazy

# Recipes of the engine; in a mix they are joined by “ + ”.
FINE_TUNED, LAST_BLOCKS = "fine-tuned", "last blocks"
RECIPE_TEXTS = {
    "linear head": gettext_lazy("Linear head on frozen features"),
    "joint linear head": gettext_lazy("Joint linear head on frozen features"),
    "linear head on turned images": gettext_lazy("Linear head on frozen features, images turned as well"),
    "joint linear head on turned images": gettext_lazy(
        "Joint linear head on frozen features, images turned as well"
    ),
    "second-order linear head": gettext_lazy("Linear head on frozen features and their covariance"),
    "second-order joint linear head": gettext_lazy(
        "Joint linear head on frozen features and their covariance"
    ),
    "second-order linear head on turned images": gettext_lazy(
        "Linear head on frozen features and their covariance, images turned as well"
    ),
    "second-order joint linear head on turned images": gettext_lazy(
        "Joint linear head on frozen features and their covariance, images turned as well"
    ),
    "distilled": gettext_lazy("Distilled: one network that learned the answers of a mix"),
}
HEADS_OF_MIXES = {
    "linear head": gettext_lazy("a linear head"),
    "joint linear head": gettext_lazy("a joint linear head"),
    "linear head on turned images": gettext_lazy("a linear head on turned images"),
    "joint linear head on turned images": gettext_lazy("a joint linear head on turned images"),
    "second-order linear head": gettext_lazy("a second-order linear head"),
    "second-order joint linear head": gettext_lazy("a joint second-order linear head"),
    "second-order linear head on turned images": gettext_lazy("a second-order linear head on turned images"),
    "second-order joint linear head on turned images": gettext_lazy(
        "a joint second-order linear head on turned images"
    ),
}


def short_network(names: str) -> str:
    """“EfficientNet-Lite0 + EfficientNet-Lite2” as “Lite0 + Lite2”."""
    return names.replace("EfficientNet-Lite", "Lite")


def recipe_text(recipe: str) -> str:
    """“fine-tuned + last blocks + joint linear head” in plain words; an unknown recipe as it is."""
    parts = recipe.split(" + ")
    tuned = [_tuned_text(part, parts.count(part)) for part in (FINE_TUNED, LAST_BLOCKS) if part in parts]
    if not tuned:
        return _with_capital(str(RECIPE_TEXTS.get(recipe, recipe)))
    text = _joined(tuned)
    heads = [str(HEADS_OF_MIXES.get(part, part)) for part in parts if part not in (FINE_TUNED, LAST_BLOCKS)]
    if heads:
        text = gettext("%(networks)s, mixed with %(heads)s") % {"networks": text, "heads": _joined(heads)}
    elif len(parts) > 1:
        text = gettext("%(networks)s, mixed") % {"networks": text}
    return _with_capital(text)


def _tuned_text(part: str, networks: int) -> str:
    if part == FINE_TUNED:
        return (
            gettext("%(count)s fine-tuned") % {"count": networks} if networks > 1 else gettext("fine-tuned")
        )
    if networks > 1:
        return gettext("last blocks of %(count)s fine-tuned") % {"count": networks}
    return gettext("last blocks fine-tuned")


def _joined(parts: list[str]) -> str:
    text = parts[0]
    for part in parts[1:]:
        text = gettext("%(first)s and %(second)s") % {"first": text, "second": part}
    return text


def _with_capital(text: str) -> str:
    return text[:1].upper() + text[1:]
