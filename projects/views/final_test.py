"""Test images: setting images aside for a final test, and giving them back."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.urls import reverse
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_POST, require_safe

from exeml_site.lib.display import count
from exeml_site.lib.http import page, redirect_to
from projects.access import PageRequest, project_page
from projects.datasets import final_test as test_images
from projects.forms.final_test import FinalTestForm, SplitForm
from projects.labels import image_splits
from projects.labels.event_text import describe_split_change
from projects.models import LabelEvent, Project, Role, Split
from projects.views.label_data import (
    Notice,
    first_error,
    matching_images,
    refreshed_page,
    refused_page,
    with_full_stop,
)

PAGE = "final_test/final_test.html"
NOTHING_CHANGES = {
    Split.TEST: gettext_lazy("These are already test images."),
    "none": gettext_lazy("None of these is a test image: training and validation already use all of them."),
}


@project_page(Role.LABELER)
@require_POST
def set_split(request: PageRequest, project: Project) -> HttpResponse:
    """Keep the images of Label Data as test images, or use them for training and validation again."""
    form = SplitForm(request.POST, matching_ids=matching_images(request, project))
    if not form.is_valid():
        return refused_page(request, project, first_error(form))
    images, split = form.cleaned_data["images"], form.cleaned_data["split"]
    action = image_splits.keep_as_test if split == Split.TEST else image_splits.use_for_training
    event = action(project, images, request.user)
    if event is None:
        return refreshed_page(request, project, Notice(str(NOTHING_CHANGES[split]), level="info"))
    return refreshed_page(request, project, Notice(_notice_text(event, images), event))


@project_page(Role.VIEWER)
@require_safe
def final_test(request: PageRequest, project: Project) -> HttpResponse:
    """The test images of each label."""
    return _page(request, project, FinalTestForm(labeled=test_images.count_labeled(project)))


@project_page(Role.LABELER)
@require_POST
def keep_for_test(request: PageRequest, project: Project) -> HttpResponse:
    """Keep a number or a share of the labeled images for a final test."""
    form = FinalTestForm(request.POST, labeled=test_images.count_labeled(project))
    if not form.is_valid():
        return _page(request, project, form, 422)
    wanted, takes_trained = form.cleaned_data["amount"], form.cleaned_data["takes_trained"]
    choice = test_images.choose(project, wanted, takes_trained=takes_trained)
    event = image_splits.keep_as_test(project, choice.images, request.user)
    if event is None:
        form.add_error("amount", choice.why_nothing)
        return _page(request, project, form, 422)
    sentences = [_notice_text(event, choice.images), gettext("You can undo this in the History.")]
    if len(choice.images) < wanted:
        only = gettext("Only %(kept)s of %(wanted)s could be kept: see below.")
        sentences.append(only % {"kept": count(len(choice.images)), "wanted": count(wanted)})
    messages.success(request, " ".join(sentences))
    return redirect_to(request, reverse("final_test", args=[project.pk]))


def _page(request: PageRequest, project: Project, form: FinalTestForm, status: int = 200) -> HttpResponse:
    rows = test_images.tests_of_labels(project)
    context = {
        "project": project,
        "form": form,
        "rows": rows,
        "tests": test_images.count_test_images(project),
        "can_label": request.membership.role >= Role.LABELER,
    }
    return page(request, PAGE, context, status=status)


def _notice_text(event: LabelEvent, asked: list[int]) -> str:
    """What changed, the duplicates that went along, and which versions were trained on the images."""
    changed = image_splits.changed_images(event)
    sentences = [with_full_stop(describe_split_change(event))]
    if duplicates := len(changed.keys() - set(asked)):
        sentence = ngettext(
            "%(count)s of them is a duplicate of the chosen images.",
            "%(count)s of them are duplicates of the chosen images.",
            duplicates,
        )
        sentences.append(sentence % {"count": count(duplicates)})
    project = event.project
    if event.details["split"] == Split.TEST and (
        trained := changed.keys() & test_images.trained_image_ids(project)
    ):
        versions = test_images.dataset_versions_with(project, trained)
        sentences.append(_trained_text(len(trained), versions))
    return " ".join(sentences)


def _trained_text(images: int, versions: list[str]) -> str:
    """“3 of them were used for training in dataset V001. …”."""
    if not versions:
        sentence = ngettext(
            "%(count)s of them was used for training before. Versions trained on it leave it out of their"
            " test results.",
            "%(count)s of them were used for training before. Versions trained on them leave them out of"
            " their test results.",
            images,
        )
        return sentence % {"count": count(images)}
    sentence = ngettext(
        "%(count)s of them was used for training in dataset %(versions)s. Versions trained on it leave it"
        " out of their test results.",
        "%(count)s of them were used for training in dataset %(versions)s. Versions trained on them leave"
        " them out of their test results.",
        images,
    )
    return sentence % {"count": count(images), "versions": ", ".join(versions)}
