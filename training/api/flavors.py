"""Instance flavors: the machines that a training can ask for."""

from __future__ import annotations

from django.conf import settings
from ninja import Field, Router, Schema

from projects.api.core.access import ApiRequest, account_call
from projects.models import Scope
from training.models import Device, InstanceFlavor
from training.versions.flavors import FlavorOffer

router = Router(tags=["Training versions"])


class FlavorOut(Schema):
    id: int
    name: str
    device: Device
    price_per_hour: float
    currency: str
    is_default: bool = Field(description="Whether a training that names no flavor gets this one now.")
    remark: str = Field(description="What the workers say about it, such as that none serves it now.")

    @classmethod
    def of(cls, flavor: InstanceFlavor, offer: FlavorOffer) -> FlavorOut:
        return cls(
            id=flavor.pk,
            name=flavor.name,
            device=Device(flavor.device),
            price_per_hour=float(flavor.price_per_hour),
            currency=settings.EXEML_CURRENCY,
            is_default=flavor == offer.preselected,
            remark=offer.remark(flavor),
        )


class FlavorPage(Schema):
    items: list[FlavorOut]
    next: None = Field(description="Always null: there is one page.")


@router.get("/flavors", response=FlavorPage, url_name="api_flavors")
@account_call(Scope.READ)
def list_flavors(request: ApiRequest, fields: str = "") -> FlavorPage:
    """The flavors that a training can ask for, in the order of Training Configuration."""
    offer = FlavorOffer.current()
    return FlavorPage(items=[FlavorOut.of(flavor, offer) for flavor in offer.flavors], next=None)
