"""What a form lets people choose from: subscriptions that are there."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from orchestrator_dagster import Database, SubscriptionLifecycle, Subscriptions


@dataclass(frozen=True)
class ActiveSubscription:
    """Makes a field take the id of an active subscription: `Annotated[UUID, ActiveSubscription("Port")]`.

    What there is to choose from is looked up when it is needed. A browser shows the descriptions.

    Attributes:
        product_type: the type of the product that it must be of.
        customer_id: whose it must be; anybody's if `None`.
    """

    product_type: str
    customer_id: str | None = None

    def options(self) -> dict[str, str]:
        """Return the descriptions of what can be chosen, by id."""
        found = Subscriptions(database=Database()).find(
            product_type=self.product_type, status=SubscriptionLifecycle.ACTIVE, customer_id=self.customer_id
        )
        return {str(row.subscription_id): row.description for row in sorted(found, key=lambda row: row.description)}

    def check(self, subscription_id: UUID) -> UUID:
        """Return the id if it can be chosen."""
        options = self.options()
        if str(subscription_id) not in options:
            there_are = ", ".join(options.values()) or "none"
            whose = f" of {self.customer_id}" if self.customer_id else ""
            raise ValueError(f"is not an active {self.product_type.lower()}{whose}; there are: {there_are}")
        return subscription_id

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as an id, and then as a choice."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Show the choices, the way that `pydantic_forms.validators.Choice` does."""
        options = self.options()
        return handler(schema) | {"enum": list(options), "options": options}
