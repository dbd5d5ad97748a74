"""The catalogue in the database follows what the code declares."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from sqlalchemy import Engine, text

from orchestrator_dagster.db.catalogue import following as catalogue
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.block import ProductBlockModel
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration, WorkflowDeclaration
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import ConfigurationError


class Speed(IntEnum):
    TEN_GIG = 10_000
    HUNDRED_GIG = 100_000


class LaneBlock(ProductBlockModel, product_block_name="Lane"):
    vlan: int | None = None


class OpticBlock(ProductBlockModel):
    """Abstract: stands for the blocks that inherit from it."""

    wavelength: int | None = None


class ShortOpticBlock(OpticBlock, product_block_name="Short optic"):
    metres: int | None = None


class LongOpticBlock(OpticBlock, product_block_name="Long optic"):
    kilometres: int | None = None


class InterfaceBlockInactive(ProductBlockModel, product_block_name="Interface"):
    """A place to plug in a cable.

    With more about it than fits in a list.
    """

    title: str | None = None
    lanes: list[LaneBlock] = []
    optic: OpticBlock | None = None
    parent: "InterfaceBlockInactive | None" = None


class InterfaceBlock(InterfaceBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    title: str
    tested_on: str | None = None


class InterfaceInactive(SubscriptionModel, is_base=True):
    speed: Speed
    layer: Literal[2, 3] = 2
    note_of_maker: str | None = None
    mtu: Annotated[int, Ge(64)]
    interface: InterfaceBlockInactive


class Interface(InterfaceInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    interface: InterfaceBlock


CREATE = WorkflowDeclaration("create_interface", Target.CREATE, "Create interface")
MODIFY = WorkflowDeclaration("modify_interface", Target.MODIFY, "Modify interface")
TIDY = WorkflowDeclaration("tidy", Target.SYSTEM, "Tidy up", is_task=True)
PRODUCT = ProductDeclaration(
    name="Interface 10G",
    model=Interface,
    description="An interface of 10 Gbit/s",
    product_type="Interface",
    tag="IF",
    fixed_inputs={"speed": Speed.TEN_GIG, "mtu": "9000"},
    workflows=("create_interface", "modify_interface"),
)
DECLARATION = CatalogueDeclaration(products=(PRODUCT,), workflows=(CREATE, MODIFY, TIDY))


def with_product(**changes: Any) -> CatalogueDeclaration:
    return replace(DECLARATION, products=(replace(PRODUCT, **changes),))


def apply(engine: Engine, declaration: CatalogueDeclaration, **options: Any) -> list[str]:
    with engine.begin() as connection:
        return list(catalogue.apply(connection, declaration, **options).lines)


def plan(engine: Engine, declaration: CatalogueDeclaration) -> list[str]:
    with engine.begin() as connection:
        return list(catalogue.plan(connection, declaration).lines)


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def fixed_inputs(engine: Engine) -> Mapping[str, Any]:
    with engine.connect() as connection:
        product_id = connection.scalar(text("SELECT product_id FROM orchestrator.products"))
        return PostgresRepository(connection).product(product_id).fixed_inputs


def test_what_is_declared_is_in_the_database_after_apply(engine: Engine) -> None:
    apply(engine, DECLARATION)
    assert rows(engine, "SELECT name, description, product_type, tag, status FROM orchestrator.products") == [
        ("Interface 10G", "An interface of 10 Gbit/s", "Interface", "IF", "active")
    ]
    assert rows(engine, "SELECT name, target, is_task, description FROM orchestrator.workflows ORDER BY name") == [
        ("create_interface", "CREATE", False, "Create interface"),
        ("modify_interface", "MODIFY", False, "Modify interface"),
        ("tidy", "SYSTEM", True, "Tidy up"),
    ]
    links = """SELECT workflow.name
               FROM orchestrator.products_workflows
               JOIN orchestrator.workflows AS workflow USING (workflow_id)
               ORDER BY workflow.name"""
    assert rows(engine, links) == [("create_interface",), ("modify_interface",)]


def test_blocks_are_found_in_every_status_and_at_every_depth(engine: Engine) -> None:
    """A block that is nested in its own type ends the walk; an abstract one stands for those that inherit from it."""
    apply(engine, DECLARATION)
    assert rows(engine, "SELECT name FROM orchestrator.product_blocks ORDER BY name") == [
        ("Interface",),
        ("Lane",),
        ("Long optic",),
        ("Short optic",),
    ]
    assert rows(
        engine,
        """SELECT one.name, other.name
           FROM orchestrator.product_block_relations AS link
           JOIN orchestrator.product_blocks AS one ON one.product_block_id = link.in_use_by_id
           JOIN orchestrator.product_blocks AS other ON other.product_block_id = link.depends_on_id
           ORDER BY other.name""",
    ) == [("Interface", "Interface"), ("Interface", "Lane"), ("Interface", "Long optic"), ("Interface", "Short optic")]
    roots = """SELECT name FROM orchestrator.product_product_blocks
               JOIN orchestrator.product_blocks USING (product_block_id)"""
    assert rows(engine, roots) == [("Interface",)]


def test_resource_types_are_those_of_all_statuses(engine: Engine) -> None:
    apply(engine, DECLARATION)
    assert rows(
        engine,
        """SELECT block.name, string_agg(resource_type.resource_type, ' ' ORDER BY resource_type.resource_type)
           FROM orchestrator.product_block_resource_types
           JOIN orchestrator.product_blocks AS block USING (product_block_id)
           JOIN orchestrator.resource_types AS resource_type USING (resource_type_id)
           GROUP BY block.name
           ORDER BY block.name""",
    ) == [
        ("Interface", "tested_on title"),
        ("Lane", "vlan"),
        ("Long optic", "kilometres wavelength"),
        ("Short optic", "metres wavelength"),
    ]


def test_a_block_is_described_by_its_docstring_or_its_name(engine: Engine) -> None:
    apply(engine, DECLARATION)
    described = "SELECT name, description, tag FROM orchestrator.product_blocks WHERE name IN ('Interface', 'Lane')"
    assert sorted(rows(engine, described)) == [
        ("Interface", "A place to plug in a cable.", "INTERFACE"),
        ("Lane", "Lane", "LANE"),
    ]


def test_fixed_inputs_are_stored_as_valid_json_of_their_field(engine: Engine) -> None:
    """A number that was given as text is a number, and a fixed input that was not given has its field's default."""
    apply(engine, DECLARATION)
    assert fixed_inputs(engine) == {"speed": 10_000, "layer": 2, "note_of_maker": None, "mtu": 9000}


def test_applying_again_changes_nothing(engine: Engine) -> None:
    assert apply(engine, DECLARATION) != []
    before = rows(engine, "SELECT product_id, xmin::text FROM orchestrator.products")
    assert apply(engine, DECLARATION) == []
    assert rows(engine, "SELECT product_id, xmin::text FROM orchestrator.products") == before


def test_a_plan_says_what_apply_does_and_does_nothing(engine: Engine) -> None:
    planned = plan(engine, DECLARATION)
    assert rows(engine, "SELECT name FROM orchestrator.products") == []
    assert apply(engine, DECLARATION) == planned
    assert "product Interface 10G: new" in planned
    assert "workflow tidy: new" in planned
    assert "product block Lane: new" in planned


@pytest.mark.parametrize(
    ("declaration", "line"),
    [
        (
            with_product(description="Fast"),
            "product Interface 10G: description from 'An interface of 10 Gbit/s' to 'Fast'",
        ),
        (with_product(status=ProductLifecycle.PHASE_OUT), "product Interface 10G: status from 'active' to 'phase out'"),
        (with_product(workflows=("create_interface",)), "product Interface 10G: workflows: removed modify_interface"),
        (
            with_product(fixed_inputs={"speed": 100_000, "mtu": 9000}),
            "product Interface 10G: fixed inputs: speed from 10000 to 100000",
        ),
        (
            replace(DECLARATION, workflows=(CREATE, replace(MODIFY, description="Change"), TIDY)),
            "workflow modify_interface: description from 'Modify interface' to 'Change'",
        ),
    ],
)
def test_a_difference_is_told_and_mended(engine: Engine, declaration: CatalogueDeclaration, line: str) -> None:
    apply(engine, DECLARATION)
    assert plan(engine, declaration) == [line]
    assert apply(engine, declaration) == [line]
    assert plan(engine, declaration) == []


def test_a_product_keeps_its_id_when_it_changes(engine: Engine) -> None:
    apply(engine, DECLARATION)
    before = rows(engine, "SELECT product_id FROM orchestrator.products")
    apply(engine, with_product(description="Fast"))
    assert rows(engine, "SELECT product_id FROM orchestrator.products") == before


def test_a_workflow_that_is_not_declared_any_more_is_deleted_and_can_come_back(engine: Engine) -> None:
    without = replace(with_product(workflows=("create_interface",)), workflows=(CREATE, TIDY))
    deleted = "SELECT name FROM orchestrator.workflows WHERE deleted_at IS NOT NULL"
    apply(engine, DECLARATION)
    before = rows(engine, "SELECT workflow_id FROM orchestrator.workflows WHERE name = 'modify_interface'")
    assert "workflow modify_interface: deleted" in apply(engine, without)
    assert rows(engine, deleted) == [("modify_interface",)]
    assert apply(engine, without) == []
    assert "workflow modify_interface: new" in apply(engine, DECLARATION, force=True)
    assert rows(engine, deleted) == []
    assert rows(engine, "SELECT workflow_id FROM orchestrator.workflows WHERE name = 'modify_interface'") == before


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        (with_product(fixed_inputs={"mtu": 9000}), "Interface 10G lacks a value for the fixed input speed"),
        (with_product(fixed_inputs={"speed": 10_000, "mtu": 1, "colour": 1}), "Interface has no fixed input colour"),
        (with_product(fixed_inputs={"speed": 7, "mtu": 9000}), "7 is not valid for the fixed input speed"),
        (with_product(fixed_inputs={"speed": 10_000, "mtu": 1}), "1 is not valid for the fixed input mtu: .* 64"),
        (with_product(workflows=("create",)), "Interface 10G has workflows that are not declared: create"),
        (replace(DECLARATION, products=(PRODUCT, PRODUCT)), "Two products are called Interface 10G"),
        (replace(DECLARATION, workflows=(CREATE, CREATE, MODIFY)), "Two workflows are called create_interface"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    engine: Engine, declaration: CatalogueDeclaration, reason: str
) -> None:
    for refused in (plan, apply):
        with pytest.raises(ConfigurationError, match=reason):
            refused(engine, declaration)
    assert rows(engine, "SELECT name FROM orchestrator.workflows") == []


def test_two_classes_for_one_block_are_refused(engine: Engine) -> None:
    class OtherLaneBlock(ProductBlockModel, product_block_name="Lane"):
        colour: str | None = None

    class Road(SubscriptionModel, is_base=True):
        lane: OtherLaneBlock

    road = ProductDeclaration("Road", Road, "A road", "Road", "ROAD")
    with pytest.raises(ConfigurationError, match=r"Product block Lane is declared by two classes: .*LaneBlock and "):
        plan(engine, replace(DECLARATION, products=(PRODUCT, road)))


def test_the_fields_of_blocks_and_products_are_kept_with_their_types(engine: Engine) -> None:
    """By lifecycle status, as text that says what a value may be, with the statuses in which there must be one."""
    apply(engine, DECLARATION)
    ((fields,),) = rows(engine, "SELECT fields FROM orchestrator.product_blocks WHERE name = 'Interface'")
    assert fields["title"]["types"]["initial"] == "str | None"
    assert fields["title"]["types"]["active"] == "str"
    assert fields["title"]["required"] == ["active"]
    assert fields["tested_on"]["types"].keys() == {"active"}
    assert fields["lanes"]["many"]
    assert fields["optic"]["blocks"]["initial"] == ["Long optic", "Short optic"]
    ((inputs,),) = rows(engine, "SELECT fields FROM orchestrator.products")
    assert inputs["speed"]["types"]["active"] == "Speed[10000, 100000]"
    assert inputs["interface"]["least"]["active"] == 1


def test_rows_that_an_older_version_wrote_have_their_types_recorded_silently(engine: Engine) -> None:
    apply(engine, DECLARATION)
    with engine.begin() as connection:
        connection.execute(text("UPDATE orchestrator.product_blocks SET fields = NULL"))
        connection.execute(text("UPDATE orchestrator.products SET fields = NULL"))
        connection.execute(text("DELETE FROM orchestrator.catalogue_changes"))
        found = catalogue.plan(connection, DECLARATION)
        assert found.lines == ()
        assert "Nothing differs; apply records" in str(found)
        assert catalogue.check(connection, DECLARATION) == []
        assert catalogue.apply(connection, DECLARATION)
        assert not catalogue.plan(connection, DECLARATION)
    assert rows(engine, "SELECT 1 FROM orchestrator.product_blocks WHERE fields IS NULL") == []


def test_a_database_that_does_not_follow_the_code_is_refused_with_the_command_to_run(engine: Engine) -> None:
    with engine.begin() as connection:
        refusal = r"Run `orchestrator-dagster catalogue apply`, which does this:\n  workflow create_interface: new"
        with pytest.raises(ConfigurationError, match=refusal):
            catalogue.check(connection, DECLARATION)
        catalogue.apply(connection, DECLARATION)
        assert catalogue.check(connection, DECLARATION) == []
        other_speed = with_product(fixed_inputs={"speed": 100_000, "mtu": 9000})
        with pytest.raises(ConfigurationError, match="fixed inputs: speed from 10000 to 100000"):
            catalogue.check(connection, other_speed)


def test_what_does_no_harm_is_told_and_not_refused(engine: Engine) -> None:
    apply(engine, DECLARATION)
    with engine.begin() as connection:
        told = catalogue.check(connection, with_product(tag="ETH", status=ProductLifecycle.PHASE_OUT))
    assert told == [
        "product Interface 10G: tag from 'IF' to 'ETH'",
        "product Interface 10G: status from 'active' to 'phase out'",
    ]


def test_two_that_apply_at_once_make_one_catalogue(engine: Engine) -> None:
    results: list[list[str]] = []
    ready = threading.Barrier(3)

    def run() -> None:
        ready.wait()
        results.append(apply(engine, DECLARATION))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, results)) == [False, False, True]
