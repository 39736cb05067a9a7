"""Test images: images set aside for a final test, which no training and no validation sees."""

from __future__ import annotations

from ninja import Field, Router, Schema

from projects.api.core import problems
from projects.api.core.access import ApiRequest, project_call
from projects.api.core.body import Body
from projects.api.core.idempotency import once
from projects.api.core.image_selection import ImageSelection, selected
from projects.api.images import ActionOut
from projects.datasets import final_test
from projects.forms.final_test import FinalTestForm, SplitForm
from projects.labels import image_splits
from projects.models import Project, Role, Scope, Split

router = Router(tags=["Test images"])
TEST_IMAGES = "/projects/{int:project_id}/test-images"


class LabelTestsOut(Schema):
    label_id: int
    label: str
    test_image_count: int
    other_image_count: int = Field(description="For training and validation.")

    @classmethod
    def of(cls, row: final_test.LabelTests) -> LabelTestsOut:
        return cls(
            label_id=row.label.pk,
            label=row.label.name,
            test_image_count=row.test,
            other_image_count=row.others,
        )


class TestImagesOut(Schema):
    test_image_count: int
    items: list[LabelTestsOut]


class KeepForTest(Body):
    amount: str = Field(description="A number of images such as 200, or a share such as 10 %.")
    takes_trained: bool = Field(False, description="Also images that earlier versions were trained on.")


class KeptForTest(ActionOut):
    wanted_count: int


class SplitIn(ImageSelection):
    """Either `image_ids` or `filter`, and whether these become test images."""

    is_test: bool = Field(description="False: training and validation use them again.")


@router.get(TEST_IMAGES, response=TestImagesOut)
@project_call(Role.VIEWER, Scope.READ)
def show_test_images(request: ApiRequest, project: Project) -> TestImagesOut:
    """The test images of each label. The images themselves: the list of images with `split` TEST."""
    rows = [LabelTestsOut.of(row) for row in final_test.tests_of_labels(project)]
    return TestImagesOut(test_image_count=final_test.count_test_images(project), items=rows)


@router.post(TEST_IMAGES, response=KeptForTest)
@project_call(Role.LABELER, Scope.LABEL)
@once
def keep_for_test(request: ApiRequest, project: Project, body: KeepForTest) -> KeptForTest:
    """Choose labeled images of every label, and keep them for a final test, in one action."""
    form = FinalTestForm(body.dict(), labeled=final_test.count_labeled(project))
    if not form.is_valid():
        raise problems.of_form(form)
    wanted = form.cleaned_data["amount"]
    choice = final_test.choose(project, wanted, takes_trained=form.cleaned_data["takes_trained"])
    event = image_splits.keep_as_test(project, choice.images, request.user)
    if event is None:
        raise problems.invalid_field("amount", choice.why_nothing)
    return KeptForTest(**ActionOut.of(event).dict(), wanted_count=wanted)


@router.post("/projects/{int:project_id}/images/split", response=ActionOut)
@project_call(Role.LABELER, Scope.LABEL)
def set_split(request: ApiRequest, project: Project, body: SplitIn) -> ActionOut:
    """Make images and their duplicates test images, or give them back to training and validation."""
    split = Split.TEST.value if body.is_test else "none"
    chosen = selected(SplitForm, request, project, body, {"split": split})
    change = image_splits.keep_as_test if body.is_test else image_splits.use_for_training
    return ActionOut.of(change(project, chosen["images"], request.user))
