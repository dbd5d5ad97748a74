"""What a product is: the entry in the catalogue that a subscription is an instance of."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class ProductLifecycle(StrEnum):
    """The status of a product in the catalogue."""

    ACTIVE = "active"
    PRE_PRODUCTION = "pre production"
    PHASE_OUT = "phase out"
    END_OF_LIFE = "end of life"


class ProductModel(BaseModel):
    """A product as a subscription shows it, under `subscription.product`."""

    model_config = ConfigDict(frozen=True)

    product_id: UUID
    name: str
    description: str
    product_type: str
    tag: str
    status: ProductLifecycle
    created_at: datetime | None = None
    end_date: datetime | None = None
