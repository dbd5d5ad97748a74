"""A circuit with two ends, and workflows that create one: in nine steps, in ten and in thirty.

Every step is of the kind that a real workflow consists of: it gets the subscription, changes a field, and returns it.
Nothing outside of the database is called.
"""

from typing import Annotated
from uuid import UUID

from annotated_types import Len
from pydantic_forms.core import FormPage
from pydantic_forms.types import FormGenerator
from workload.framework import (
    ProductBlockModel,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    begin,
    create_workflow,
    step,
)


class EndBlockInactive(ProductBlockModel, product_block_name="End"):
    port_name: str | None = None
    vlan: int | None = None


class EndBlock(EndBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    port_name: str
    vlan: int


class CircuitBlockInactive(ProductBlockModel, product_block_name="Circuit"):
    circuit_name: str | None = None
    bandwidth: int | None = None
    revision: int = 0
    ends: Annotated[list[EndBlockInactive], Len(min_length=2, max_length=2)]


class CircuitBlock(CircuitBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit_name: str
    bandwidth: int
    revision: int
    ends: Annotated[list[EndBlock], Len(min_length=2, max_length=2)]


class CircuitInactive(SubscriptionModel, is_base=True):
    circuit: CircuitBlockInactive


class Circuit(CircuitInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    circuit: CircuitBlock


def circuit_form() -> FormGenerator:
    class CircuitForm(FormPage):
        customer_id: str
        circuit_name: str
        bandwidth: int

    user_input = yield CircuitForm
    return user_input.model_dump()


@step("Construct circuit")
def construct_circuit(product: UUID, customer_id: str, circuit_name: str) -> State:
    subscription = CircuitInactive.from_product_id(product, customer_id)
    subscription.circuit.circuit_name = circuit_name
    subscription.description = f"Circuit {circuit_name}"
    return {"subscription": subscription}


@step("Reserve bandwidth")
def reserve_bandwidth(subscription: CircuitInactive, bandwidth: int) -> State:
    subscription.circuit.bandwidth = bandwidth
    return {"subscription": subscription}


@step("Choose ports")
def choose_ports(subscription: CircuitInactive) -> State:
    for number, end in enumerate(subscription.circuit.ends):
        end.port_name = f"port-{number}"
    return {"subscription": subscription}


@step("Assign VLANs")
def assign_vlans(subscription: CircuitInactive) -> State:
    for number, end in enumerate(subscription.circuit.ends):
        end.vlan = 100 + number
    return {"subscription": subscription}


@step("Revise circuit")
def revise_circuit(subscription: CircuitInactive) -> State:
    subscription.circuit.revision += 1
    return {"subscription": subscription}


PLAIN_STEPS = begin >> construct_circuit >> reserve_bandwidth >> choose_ports >> assign_vlans
ADDED_STEPS = 4  # a create workflow adds its start, the status, the lock and the end


def steps_of(total: int) -> StepList:
    """The steps of a workflow that has so many with those that every create workflow has."""
    steps = PLAIN_STEPS
    for _ in range(total - ADDED_STEPS - len(PLAIN_STEPS)):
        steps = steps >> revise_circuit
    return steps


@create_workflow(initial_input_form=circuit_form)
def create_circuit() -> StepList:
    return steps_of(9)


@create_workflow(initial_input_form=circuit_form)
def create_circuit_10() -> StepList:
    return steps_of(10)


@create_workflow(initial_input_form=circuit_form)
def create_circuit_30() -> StepList:
    return steps_of(30)


# orchestrator-core has one create workflow for a product, so there is a product for each
WORKFLOWS = {"Circuit": create_circuit, "Circuit in 10": create_circuit_10, "Circuit in 30": create_circuit_30}
