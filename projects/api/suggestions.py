"""Suggestions of the model: list, confirm and refuse them as they were seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from django.forms import Form
from ninja import Field, Query, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.image_selection import check_names, images_page
from projects.api.core.pages import Key, PageParams
from projects.api.images import ActionOut
from projects.forms.label_data import MAX_IMAGES, SeenImagesForm
from projects.images.query import Query as ImageQuery
from projects.labels import suggestions
from projects.labels.seen_images import LeftImages
from projects.models import Annotation, Image, Label, Project, Role, Scope

router = Router(tags=["Suggestions"])


class SuggestedImageOut(Schema):
    """An image with its suggestion. `seen` is passed on to confirm or refuse what is shown here."""

    image_id: int
    name: str
    sha256: str
    label_id: int
    label: str
    confidence: float | None
    labels: list[str] = Field(description="Of a labeled image: those that the suggestion would replace.")
    seen: str


class SuggestionPage(Schema):
    items: list[SuggestedImageOut]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class SuggestionParams(PageParams):
    """Which suggestions are listed, the most confident first."""

    of: Literal["unlabeled", "labeled"] = Field(
        "unlabeled", description="labeled: images whose label is probably wrong."
    )
    label_id: Key | None = Field(None, description="Id of the suggested label, of unlabeled images.")
    above: float | None = Field(None, ge=0, le=1, description="Confidence, at least, of unlabeled images.")
    below: float | None = Field(None, ge=0, le=1, description="Confidence, at most, of unlabeled images.")


class SeenSuggestions(Body):
    """Either `seen`, or `image_ids`, whose suggestions are taken as they are at this moment."""

    seen: list[str] | None = Field(None, description="`seen` of listed suggestions: changed ones are left.")
    image_ids: list[Key] | None = Field(None, min_length=1, max_length=MAX_IMAGES)


class SuggestionActionOut(ActionOut):
    """Of those that were seen: how many were left since, and why as a sentence."""

    left_count: int
    left_reason: str

    @classmethod
    def of_left(cls, event_id: int | None, changed: int, left: LeftImages) -> SuggestionActionOut:
        return cls(
            event_id=event_id,
            changed_count=changed,
            left_count=left.changed + left.relabeled,
            left_reason=str(left),
        )


@router.get("/projects/{int:project_id}/suggestions", response=SuggestionPage)
@project_call(Role.VIEWER, Scope.READ)
def list_suggestions(request: ApiRequest, project: Project, params: Query[SuggestionParams]) -> Any:
    """Suggested labels of unlabeled images (To Be Confirmed), or of images with a probably wrong label."""
    check_names(request, SuggestionParams)
    if params.of == "labeled":
        _refuse_filters(params)
        query = ImageQuery(check="suspects")
    else:
        query = ImageQuery(
            tab="suggested", suggestion=params.label_id, above=params.above, below=params.below
        )
    images, cursor = images_page(project, query, params, request)
    return {"items": _rows(project, images, params.of), "next": cursor}


def _refuse_filters(params: SuggestionParams) -> None:
    """Raise Problem for a filter that holds for unlabeled images alone."""
    for name in ("label_id", "above", "below"):
        if getattr(params, name) is not None:
            raise problems.invalid_field(name, "This filter is for unlabeled images.")


def _rows(project: Project, images: Sequence[Image], of: str) -> list[dict[str, Any]]:
    names = dict(Label.objects.filter(project=project).values_list("pk", "name"))
    carried: dict[int, list[int]] = {image.pk: [] for image in images}
    annotations = Annotation.objects.filter(image_id__in=list(carried)).order_by("label_id")
    for image_id, carried_id in annotations.values_list("image_id", "label_id"):
        carried[image_id].append(carried_id)
    rows = []
    for image in images:
        label_id = image.suspected_label_id if of == "labeled" else image.suggestion_id
        confidence = image.suspected_confidence if of == "labeled" else image.confidence
        if label_id is None or label_id not in names:  # deleted meanwhile
            continue
        rows.append(
            {
                "image_id": image.pk,
                "name": image.name,
                "sha256": image.sha256,
                "label_id": label_id,
                "label": names[label_id],
                "confidence": confidence,
                "labels": sorted(names[pk] for pk in carried[image.pk] if pk in names),
                "seen": f"{image.pk}:{label_id}:{'+'.join(map(str, carried[image.pk]))}",
            }
        )
    return rows


@router.post("/projects/{int:project_id}/suggestions/confirm", response=SuggestionActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def confirm_suggestions(request: ApiRequest, project: Project, body: SeenSuggestions) -> SuggestionActionOut:
    """Label each image as suggested, in one action. One whose suggestion or labels changed since is left."""
    cleaned = _seen(body).cleaned_data
    result = suggestions.confirm_suggestions(project, cleaned["images"], request.user, cleaned["seen"])
    action = ActionOut.of(result.event)
    return SuggestionActionOut.of_left(action.event_id, action.changed_count, result.left)


@router.post("/projects/{int:project_id}/suggestions/refuse", response=SuggestionActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def refuse_suggestions(request: ApiRequest, project: Project, body: SeenSuggestions) -> SuggestionActionOut:
    """Reject the suggestions; these labels are not suggested for these images again."""
    cleaned = _seen(body).cleaned_data
    result = suggestions.reject_suggestions(project, cleaned["images"], request.user, cleaned["seen"])
    return SuggestionActionOut.of_left(None, result.rejected, result.left)


def _seen(body: SeenSuggestions) -> Form:
    """The valid form of the page. Raises Problem."""
    if (body.seen is None) == (body.image_ids is None):
        raise problems.invalid_field("seen", "Send either seen or image_ids.")
    data: dict[str, Any] = {"seen": ",".join(body.seen or [])}
    if body.image_ids is not None:
        data |= {"matching": "on", "count": len(body.image_ids)}
    form = SeenImagesForm(data, matching_ids=lambda: list(body.image_ids or []))
    if not form.is_valid():
        raise problems.of_form(form, names={"__all__": "seen"})
    return form
