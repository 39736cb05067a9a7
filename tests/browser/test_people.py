"""Several people at once in real browsers: presence, second opinions, reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from projects.labels import actions, second_opinions
from projects.models import Membership, Project, Role
from tests.browser.chromium import check_accessibility, take_screenshot
from tests.factories import make_project, make_user
from tests.projects.transfers.import_factories import labels_by_name

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
Open = Callable[..., Any]


def visit(page: Any, project: Project, name: str = "label_data", query: str = "") -> None:
    page.goto(reverse(name, args=[project.pk]) + query)


def ask_now(page: Any) -> None:
    """Report presence now instead of in five seconds."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def tiles(page: Any) -> Any:
    return page.locator("#tiles > .tile")


def test_two_people_on_the_same_image_both_see_the_outcome(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=6, with_files=True)
    bob, alice = open_page("bob"), open_page("alice")
    for page in (bob, alice):
        visit(page, project)
        tiles(page).nth(2).click()
        ask_now(page)
    ask_now(bob)
    bob.get_by_role("img", name="alice is here").wait_for()
    bob.get_by_role("img", name="alice is looking at this image").wait_for()
    take_screenshot(bob, "people-at-the-same-image")

    alice.keyboard.press("2")
    alice.locator("#notice").get_by_text("1 image labeled").wait_for()
    ask_now(bob)

    bob.get_by_text("alice changed the image you are working on.").wait_for()
    assert "label-1" in tiles(bob).nth(2).inner_text()
    assert tiles(bob).nth(2).get_attribute("aria-selected") == "true"  # bob's selection stays
    check_accessibility(bob)


def test_the_next_fifty_and_what_is_left_of_them(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=60, with_files=True)
    page = open_page("bob")
    visit(page, project, "people")
    check_accessibility(page)
    page.get_by_role("button", name="Next 50 for me").click()
    page.wait_for_url("**mine=1")  # and until its scripts have run
    page.get_by_text("1–50 of 50").first.wait_for()
    tiles(page).first.click()
    page.keyboard.press("1")
    page.locator("#bench-head").get_by_role("link", name="For me: 49").wait_for()
    take_screenshot(page, "for-me")


def test_second_opinions_are_given_by_keys_and_reviewed(open_page: Open) -> None:
    project = make_project(labels=2, images=0, unlabeled=3, with_files=True)
    second_opinions.set_share(project, 100)
    images = list(project.images.values_list("pk", flat=True))
    actions.apply(project, images, add=["label-0"], by=make_user("alice"))
    page = open_page("bob")
    visit(page, project, "opinion")
    page.get_by_text("3 images left").wait_for()
    check_accessibility(page)
    take_screenshot(page, "opinion")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    for left, key in (("2 images left", "1"), ("1 image left", "2"), ("No images need your opinion", "2")):
        page.keyboard.press(key)
        page.get_by_text(left).wait_for()

    rita = make_user("rita")
    Membership.objects.create(team=project.team, user=rita, role=Role.REVIEWER)
    review = open_page("rita")
    visit(review, project, "people")
    review.get_by_text("33 %").first.wait_for()
    check_accessibility(review)
    take_screenshot(review, "people")
    review.get_by_role("link", name="Review differences").click()
    review.get_by_text("2 differences to decide").wait_for()
    check_accessibility(review)
    take_screenshot(review, "review")
    review.locator(".dispute").first.get_by_role("button", name="label-1 bob").click()
    review.get_by_text("1 difference to decide").wait_for()
    review.locator(".dispute").first.get_by_role("button", name="Neither").click()
    review.get_by_text("No differences to decide").wait_for()
    assert sorted(labels_by_name(project).values()) == [[], ["label-0"], ["label-1"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_fit_and_can_be_read(open_page: Open, scheme: str, width: int) -> None:
    project = make_project(labels=2, images=3, unlabeled=3, with_files=True)
    second_opinions.set_share(project, 100)
    actions.apply(project, project.images.values_list("pk", flat=True), add=["label-0"], by=make_user("bob"))
    for image in project.images.all()[:4]:
        label = project.labels.all()[image.pk % 2]
        second_opinions.give_opinion(project, image.pk, [label], make_user("vera"))
    page = open_page("alice", width=width, height=900, scheme=scheme)
    for name in ("people", "opinion", "review", "transfers"):
        visit(page, project, name)
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
        take_screenshot(page, f"{name}-{width}-{scheme}")
