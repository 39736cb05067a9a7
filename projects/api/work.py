"""What is to be done in a project: possible issues of its images, who labels which, and the review."""

from __future__ import annotations

from typing import Literal

from django.contrib.auth.models import User
from ninja import Field, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageSelection, selected
from projects.api.core.pages import Key
from projects.api.images import ActionOut
from projects.collaboration import assignments, review
from projects.forms.label_data import ImagesForm
from projects.forms.people import AssignForm, ReviewForm
from projects.models import Project, Role, Scope
from projects.quality.findings import IssueCount, LabelBalance, issue_counts, label_balance

router = Router(tags=["Work"])


class IssueOut(Schema):
    """A kind of possible issue. The list of images shows them with `check` set to its name."""

    name: str
    title: str
    description: str
    remedy: str
    image_count: int

    @classmethod
    def of(cls, row: IssueCount) -> IssueOut:
        issue = row.check
        return cls(
            name=issue.name,
            title=issue.title,
            description=issue.meaning,
            remedy=str(issue.remedy),
            image_count=row.count,
        )


class LabelAdviceOut(Schema):
    """A label with too few images, or with far more than the rarest one."""

    label_id: int
    label: str
    image_count: int
    advice: str

    @classmethod
    def of(cls, row: LabelBalance) -> LabelAdviceOut:
        return cls(label_id=row.label.pk, label=row.label.name, image_count=row.count, advice=row.advice)


class IssueList(Schema):
    items: list[IssueOut]
    label_balance: list[LabelAdviceOut]


class AssignmentOut(Schema):
    """A person and the number of images that are assigned to her and not labeled yet."""

    user_id: int
    username: str
    image_count: int


class AssignmentList(Schema):
    items: list[AssignmentOut]
    unassigned_count: int = Field(description="Unlabeled images that nobody is asked to label.")


class AssignmentCreation(Body):
    """People of the team, at least Labelers, and the part of the unassigned images that they get."""

    user_ids: list[Key]
    percent: int = Field(100, description="Percentage of the unassigned images.")


class ReviewIn(ImageSelection):
    """Either `image_ids` or `filter`, and whether their labels are right."""

    verdict: Literal["confirm", "reject"] = Field(description="Rejected images lose their labels.")


class AssignedOut(Schema):
    assigned_count: int


class UnassignedOut(Schema):
    unassigned_count: int


@router.get("/projects/{int:project_id}/issues", response=IssueList)
@project_call(Role.VIEWER, Scope.READ)
def list_issues(request: ApiRequest, project: Project) -> IssueList:
    """Possible issues of images and labels, as on Check Data, with the number of images of each."""
    return IssueList(
        items=[IssueOut.of(row) for row in issue_counts(project)],
        label_balance=[LabelAdviceOut.of(row) for row in label_balance(project)],
    )


@router.get("/projects/{int:project_id}/assignments", response=AssignmentList)
@project_call(Role.VIEWER, Scope.READ)
def list_assignments(request: ApiRequest, project: Project) -> AssignmentList:
    """How many images are assigned to whom. Your own ones: the list of images with `mine`."""
    counts = assignments.assigned_by_user(project)
    people = User.objects.filter(pk__in=counts).order_by("username")
    rows = [
        AssignmentOut(user_id=person.pk, username=person.get_username(), image_count=counts[person.pk])
        for person in people
    ]
    return AssignmentList(items=rows, unassigned_count=assignments.unassigned_images(project).count())


@router.post("/projects/{int:project_id}/assignments", response=AssignedOut)
@project_call(Role.MANAGER, Scope.LABEL)
@once
def assign_images(request: ApiRequest, project: Project, body: AssignmentCreation) -> AssignedOut:
    """Distribute unassigned images evenly among people of the team, the most useful ones first."""
    form = AssignForm({"users": body.user_ids, "percent": body.percent}, project=project)
    if not form.is_valid():
        raise problems.of_form(form, names={"users": "user_ids"})
    cleaned = form.cleaned_data
    given = assignments.distribute(project, list(cleaned["users"]), request.user, cleaned["percent"])
    return AssignedOut(assigned_count=given)


@router.post("/projects/{int:project_id}/assignments/next", response=AssignedOut)
@project_call(Role.LABELER, Scope.LABEL)
@once
def assign_next_images(request: ApiRequest, project: Project) -> AssignedOut:
    """Assign the next 50 images to yourself."""
    return AssignedOut(assigned_count=assignments.assign_next(project, request.user, request.user))


@router.delete("/projects/{int:project_id}/assignments/{int:user_id}", response=UnassignedOut)
@project_call(Role.MANAGER, Scope.LABEL)
def delete_assignments(request: ApiRequest, project: Project, user_id: int) -> UnassignedOut:
    """Take back the assignments of a person."""
    user = User.objects.filter(assignments__image__project=project, pk=user_id).first()
    if user is None:
        raise problems.not_found("Nothing in this project is assigned to this person.")
    return UnassignedOut(unassigned_count=assignments.unassign(project, user))


@router.post("/projects/{int:project_id}/review", response=ActionOut)
@project_call(Role.REVIEWER, Scope.LABEL)
def review_images(request: ApiRequest, project: Project, body: ReviewIn) -> ActionOut:
    """Confirm or reject the labels of images, as a Reviewer does on Label Data. Rejecting can be undone."""
    images = selected(ImagesForm, request, project, body)["images"]
    data = {"matching": "on", "count": len(images), "verdict": body.verdict}
    form = ReviewForm(data, matching_ids=lambda: images)
    if not form.is_valid():
        raise problems.of_form(form)
    if form.cleaned_data["verdict"] == "confirm":
        confirmed, _ = review.confirm(project, form.cleaned_data["images"], request.user)
        return ActionOut(event_id=None, changed_count=confirmed)
    event, _ = review.reject(project, form.cleaned_data["images"], request.user)
    return ActionOut.of(event)
