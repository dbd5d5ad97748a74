"""What happens to subscriptions when their models change: told by a plan, done by apply, or refused."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import Field
from sqlalchemy import Connection, Engine, text

from orchestrator_dagster.db.catalogue import following as catalogue
from orchestrator_dagster.db.catalogue.plan import CataloguePlan
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.subscriptions.history import subscription_as_of
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.block import ProductBlockModel
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration, WorkflowDeclaration
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductLifecycle
from orchestrator_dagster.domain.registry import SUBSCRIPTION_MODEL_REGISTRY
from orchestrator_dagster.domain.repository import use_repository
from orchestrator_dagster.domain.stored import Stored, StoredBlock
from orchestrator_dagster.domain.subscription import SubscriptionModel
from orchestrator_dagster.domain.target import Target
from orchestrator_dagster.errors import (
    CatalogueBusyError,
    CatalogueRefusedError,
    ConfigurationError,
    DefinitionError,
    StaleDataError,
)

ACTIVE, INITIAL = SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.INITIAL
TERMINATED = SubscriptionLifecycle.TERMINATED

WORKER = Path(__file__).parents[1] / "workers" / "applying.py"

INSTALL = WorkflowDeclaration("install_rack", Target.CREATE, "Install rack")


class FanBlock(ProductBlockModel, product_block_name="Fan"):
    speed: int = 1


class RackBlockInactive(ProductBlockModel, product_block_name="Rack"):
    cabinet: str | None = None
    height: str | None = None
    fans: list[FanBlock] = []


class RackBlock(RackBlockInactive, lifecycle=[ACTIVE]):
    cabinet: str
    height: str


class RackInactive(SubscriptionModel, is_base=True):
    doors: int = 2
    rack: RackBlockInactive


class Rack(RackInactive, lifecycle=[ACTIVE]):
    rack: RackBlock


def declaration(model: type[SubscriptionModel], **changes: Any) -> CatalogueDeclaration:
    product = ProductDeclaration("Rack", model, "A rack", "Rack", "RACK", workflows=("install_rack",))
    return CatalogueDeclaration(products=(replace(product, **changes),), workflows=(INSTALL,))


BEFORE = declaration(Rack)


def with_block(block: type[ProductBlockModel], **changes: Any) -> CatalogueDeclaration:
    """The declaration of a rack whose block is of another class, the same in all statuses."""

    class ChangedRack(SubscriptionModel, is_base=True):
        doors: int = 2
        rack: block  # type: ignore[valid-type]

    return declaration(ChangedRack, **changes)


def rows(connection: Connection, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(statement), parameters)]


def plan(connection: Connection, wanted: CatalogueDeclaration) -> CataloguePlan:
    return catalogue.plan(connection, wanted)


def apply(connection: Connection, wanted: CatalogueDeclaration, **options: Any) -> CataloguePlan:
    return catalogue.apply(connection, wanted, **options)


def a_rack(
    connection: Connection, status: SubscriptionLifecycle = ACTIVE, description: str = "Rack 1", **values: Any
) -> UUID:
    """Store a subscription as the model was before."""
    product_id = rows(connection, "SELECT product_id FROM orchestrator.products WHERE name = 'Rack'")[0][0]
    model = Rack if status is ACTIVE else RackInactive
    block = {"cabinet": "C7", "height": "42"} | values
    with use_repository(PostgresRepository(connection)):
        made: Any = RackInactive.from_product_id(product_id, "acme")
        made.description = description
        for name, value in block.items():
            setattr(made.rack, name, value)
        if status is not INITIAL:
            made = model.from_other_lifecycle(made, status)
        made.save()
    return UUID(str(made.subscription_id))


def a_rack_with_fans(connection: Connection, count: int) -> UUID:
    product_id = rows(connection, "SELECT product_id FROM orchestrator.products WHERE name = 'Rack'")[0][0]
    with use_repository(PostgresRepository(connection)):
        made: Any = RackInactive.from_product_id(product_id, "acme")
        made.rack.fans = [FanBlock.new(made.subscription_id) for _ in range(count)]
        made.save()
    return UUID(str(made.subscription_id))


def values(connection: Connection, subscription_id: UUID) -> Mapping[str, Any]:
    """The values of the subscription's root block as they are stored."""
    found = rows(
        connection,
        """SELECT values FROM orchestrator.subscription_instances
           WHERE subscription_id = :id AND attribute IS NOT NULL""",
        id=subscription_id,
    )
    return dict(found[0][0])


def versions(connection: Connection, subscription_id: UUID) -> list[tuple[Any, ...]]:
    return rows(
        connection,
        """SELECT version, changed_by FROM orchestrator.subscription_versions
           WHERE subscription_id = :id ORDER BY version""",
        id=subscription_id,
    )


@pytest.fixture(autouse=True)
def no_other_racks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other modules have products of that name too."""
    monkeypatch.delitem(SUBSCRIPTION_MODEL_REGISTRY, "Rack", raising=False)


@pytest.fixture
def racks(module_database_url: str) -> Iterator[Connection]:
    """A transaction that is undone, in a database with the catalogue as it was before."""
    with engine_for(module_database_url).connect() as connection:
        apply(connection, BEFORE)
        yield connection
        connection.rollback()


class TestRenames:
    def test_values_move_with_a_field_that_is_renamed(self, racks: Connection) -> None:
        class RenamedBlock(ProductBlockModel, product_block_name="Rack"):
            place: Annotated[str | None, Stored(renamed_from="cabinet")] = None
            height: str | None = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        before = rows(racks, "SELECT resource_type_id FROM orchestrator.resource_types WHERE resource_type = 'cabinet'")
        planned = str(plan(racks, with_block(RenamedBlock)))
        assert "product block Rack: field place: renamed from cabinet" in planned
        assert f"1 subscription: the values move along ({rack} Rack 1)" in planned
        apply(racks, with_block(RenamedBlock), by="ada")
        assert values(racks, rack) == {"place": "C7", "height": "42"}
        assert versions(racks, rack)[-1] == (2, "ada")
        after = rows(racks, "SELECT resource_type_id FROM orchestrator.resource_types WHERE resource_type = 'place'")
        assert after == before

    def test_one_that_was_done_is_nothing_to_do(self, racks: Connection) -> None:
        class RenamedBlock(ProductBlockModel, product_block_name="Rack"):
            place: Annotated[str | None, Stored(renamed_from=("spot", "cabinet"))] = None
            height: str | None = None
            fans: list[FanBlock] = []

        class WithoutMarkerBlock(ProductBlockModel, product_block_name="Rack"):
            place: str | None = None
            height: str | None = None
            fans: list[FanBlock] = []

        apply(racks, with_block(RenamedBlock))
        assert not plan(racks, with_block(RenamedBlock))
        assert not plan(racks, with_block(WithoutMarkerBlock))

    def test_one_to_a_name_that_the_database_has_too_is_refused(self, racks: Connection) -> None:
        class BothBlock(ProductBlockModel, product_block_name="Rack"):
            height: Annotated[str | None, Stored(renamed_from="cabinet")] = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        with pytest.raises(CatalogueRefusedError, match="height is declared as renamed from cabinet, and the database"):
            apply(racks, with_block(BothBlock), allow_data_loss=True)
        assert values(racks, rack) == {"cabinet": "C7", "height": "42"}

    def test_an_earlier_name_that_is_still_declared_is_refused(self, racks: Connection) -> None:
        class StillThereBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            place: Annotated[str | None, Stored(renamed_from="cabinet")] = None

        with pytest.raises(
            ConfigurationError, match="place is declared as renamed from cabinet, which is declared too"
        ):
            plan(racks, with_block(StillThereBlock))

    def test_a_product_its_block_a_link_and_a_field_can_be_renamed_at_once(self, racks: Connection) -> None:
        """They keep their ids, and so do subscriptions and their blocks; a fill sees the new names."""

        def made_title(block: StoredBlock) -> str:
            assert (block.product, block.product_block, block.status) == ("Cupboard", "Cupboard", "active")
            return f"{block.values['place']} for {block.customer_id}"

        class VentilatorBlock(ProductBlockModel, product_block_name="Ventilator", renamed_from="Fan"):
            speed: int = 1

        class CupboardBlockInactive(ProductBlockModel, product_block_name="Cupboard", renamed_from="Rack"):
            place: Annotated[str | None, Stored(renamed_from="cabinet")] = None
            height: str | None = None
            title: str | None = None
            ventilators: Annotated[list[VentilatorBlock], Stored(renamed_from="fans")] = []

        class CupboardBlock(CupboardBlockInactive, lifecycle=[ACTIVE]):
            title: Annotated[str, Stored(fill=made_title)]

        class CupboardInactive(SubscriptionModel, is_base=True):
            panels: Annotated[int, Stored(renamed_from="doors")] = 2
            cupboard: Annotated[CupboardBlockInactive, Stored(renamed_from="rack")]

        class Cupboard(CupboardInactive, lifecycle=[ACTIVE]):
            cupboard: CupboardBlock

        wanted = declaration(Cupboard, name="Cupboard", renamed_from=("Rack",))
        rack, new = a_rack(racks), a_rack(racks, INITIAL)
        ids = """SELECT product_id FROM orchestrator.products
                 UNION ALL SELECT product_block_id FROM orchestrator.product_blocks
                 UNION ALL SELECT fixed_input_id FROM orchestrator.fixed_inputs"""
        before = sorted(rows(racks, ids))
        apply(racks, wanted)
        assert sorted(rows(racks, ids)) == before
        assert values(racks, rack) == {"place": "C7", "height": "42", "title": "C7 for acme"}
        assert "title" not in values(racks, new)
        with use_repository(PostgresRepository(racks)):
            loaded: Any = Cupboard.from_subscription(rack)
            assert (loaded.product.name, loaded.panels, loaded.cupboard.place) == ("Cupboard", 2, "C7")
        assert versions(racks, rack) == [(1, "SYSTEM"), (2, "SYSTEM")]
        assert not plan(racks, wanted)

    def test_a_workflow_keeps_its_id_and_so_its_processes(self, racks: Connection) -> None:
        renamed = replace(INSTALL, name="mount_rack", renamed_from=("install_rack",))
        wanted = replace(declaration(Rack, workflows=("mount_rack",)), workflows=(renamed,))
        before = rows(racks, "SELECT workflow_id FROM orchestrator.workflows")
        assert plan(racks, wanted).lines == (
            "workflow mount_rack: renamed from install_rack; its processes are this one's",
        )
        apply(racks, wanted)
        assert rows(racks, "SELECT workflow_id FROM orchestrator.workflows WHERE name = 'mount_rack'") == before
        assert not plan(racks, wanted)


class TestFieldsThatAreRequired:
    def test_a_new_one_gets_its_default_where_it_is_required_and_where_it_is_declared(self, racks: Connection) -> None:
        class PaintedBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: str | None = None
            colour: str = "grey"
            note: str | None = None
            fans: list[FanBlock] = []

        active, new = a_rack(racks), a_rack(racks, INITIAL, "New rack")
        planned = str(plan(racks, with_block(PaintedBlock)))
        assert "product block Rack: field colour: new, str" in planned
        assert "2 subscriptions: the value becomes 'grey'" in planned
        apply(racks, with_block(PaintedBlock))
        assert values(racks, active)["colour"] == values(racks, new)["colour"] == "grey"
        assert "note" not in values(racks, active)

    def test_one_without_a_value_to_give_is_refused_with_the_subscriptions_that_lack_it(
        self, racks: Connection
    ) -> None:
        class NumberedBlockInactive(RackBlockInactive, product_block_name="Rack"):
            number: int | None = None

        class NumberedBlock(NumberedBlockInactive, lifecycle=[ACTIVE]):
            number: int

        class NumberedInactive(SubscriptionModel, is_base=True):
            doors: int = 2
            rack: NumberedBlockInactive

        class Numbered(NumberedInactive, lifecycle=[ACTIVE]):
            rack: NumberedBlock

        assert not plan(racks, declaration(Numbered)).refusals  # there is nothing yet that would lack it
        rack, _ = a_rack(racks), a_rack(racks, INITIAL)
        with pytest.raises(CatalogueRefusedError, match=rf"declare a default or Stored\(fill=...\) \({rack} Rack 1\)"):
            apply(racks, declaration(Numbered))
        assert rows(racks, "SELECT count(*) FROM orchestrator.catalogue_changes") == [(1,)]

    def test_one_that_was_optional_is_filled_where_a_value_is_missing(self, racks: Connection) -> None:
        class StrictBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: Annotated[str, Stored(fill="unknown")]
            height: str | None = None
            fans: list[FanBlock] = []

        full, empty = a_rack(racks), a_rack(racks, INITIAL, cabinet=None)
        planned = plan(racks, with_block(StrictBlock))
        assert planned.changes[0].affected == 1
        apply(racks, with_block(StrictBlock))
        assert (values(racks, full)["cabinet"], values(racks, empty)["cabinet"]) == ("C7", "unknown")
        assert len(versions(racks, full)) == 1

    def test_a_function_sees_the_fields_that_are_removed(self, racks: Connection) -> None:
        rack_id = a_rack(racks, cabinet="utrecht/C7")

        def site_of(block: StoredBlock) -> str:
            return str(block.values["cabinet"]).split("/")[0]

        def place_of(block: StoredBlock) -> str:
            return str(block.values["cabinet"]).split("/")[1]

        class SplitBlock(ProductBlockModel, product_block_name="Rack"):
            site: Annotated[str, Stored(fill=site_of)]
            place: Annotated[str, Stored(fill=place_of)]
            height: str | None = None
            fans: list[FanBlock] = []

        apply(racks, with_block(SplitBlock), allow_data_loss=True)
        assert values(racks, rack_id) == {"site": "utrecht", "place": "C7", "height": "42"}
        before = subscription_as_of(racks, rack_id, version=1)
        assert [block.values for block in before.blocks.values()] == [{"cabinet": "utrecht/C7", "height": "42"}]

    def test_one_that_may_be_empty_may_be_limited(self, racks: Connection) -> None:
        rack_id = a_rack(racks, height=None, status=INITIAL)

        class LimitedBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: str | None = Field(default=None, min_length=1)
            fans: list[FanBlock] = []
            units: int | None = Field(default=None, ge=1)

        assert not plan(racks, with_block(LimitedBlock)).refusals
        apply(racks, with_block(LimitedBlock))
        assert values(racks, rack_id) == {"cabinet": "C7", "height": None}

    def test_a_value_is_needed_wherever_a_field_names_the_class_that_requires_it(
        self, racks: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class NamedRack(SubscriptionModel, is_base=True):
            doors: int = 2
            rack: RackBlock

        class TaggedBlock(RackBlock, product_block_name="Rack", lifecycle=[ACTIVE]):
            tag: Annotated[str, Stored(fill="T1")]

        class TaggedRack(SubscriptionModel, is_base=True):
            doors: int = 2
            rack: TaggedBlock

        apply(racks, declaration(NamedRack))
        rack_id = a_rack(racks, SubscriptionLifecycle.DISABLED)
        apply(racks, declaration(TaggedRack))
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Rack", TaggedRack)
        with use_repository(PostgresRepository(racks)):
            assert TaggedRack.from_subscription(rack_id).rack.tag == "T1"

    def test_a_fill_that_is_not_valid_is_refused_before_anything_is_asked(self, racks: Connection) -> None:
        class OddBlock(ProductBlockModel, product_block_name="Rack"):
            number: Annotated[int, Stored(fill="many")]

        with pytest.raises(ConfigurationError, match=r"Rack\.number: 'many' cannot be filled in: .*valid integer"):
            plan(racks, with_block(OddBlock))

    def test_a_block_cannot_be_filled_in(self, racks: Connection) -> None:
        class CooledBlock(RackBlockInactive, product_block_name="Rack"):
            cooling: FanBlock

        a_rack(racks)
        refusals = plan(racks, with_block(CooledBlock)).refusals
        assert len(refusals) == 1
        assert "field cooling: 1 subscription: what it holds is not Fan, and blocks cannot be filled in" in refusals[0]

        class FilledBlock(RackBlockInactive, product_block_name="Rack"):
            cooling: Annotated[FanBlock | None, Stored(fill=None)] = None

        with pytest.raises(DefinitionError, match=r"Rack\.cooling: a field that holds blocks cannot have a fill"):
            plan(racks, with_block(FilledBlock))


class TestTypesThatChange:
    def test_values_that_can_be_read_are_written_as_the_new_type_writes_them(self, racks: Connection) -> None:
        class MeasuredBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: int | None = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        assert "1 subscription: the value is written as int | None" in str(plan(racks, with_block(MeasuredBlock)))
        apply(racks, with_block(MeasuredBlock))
        assert values(racks, rack)["height"] == 42

    def test_values_that_cannot_be_read_are_refused_or_converted_by_the_fill(self, racks: Connection) -> None:
        class MeasuredBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: int | None = None
            fans: list[FanBlock] = []

        def measured(block: StoredBlock) -> int:
            return int(block.values["height"].removesuffix(" units"))

        class ConvertedBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: Annotated[int | None, Stored(fill=measured)] = None
            fans: list[FanBlock] = []

        plain, odd = a_rack(racks), a_rack(racks, height="40 units", description="Odd rack")
        with pytest.raises(CatalogueRefusedError, match=rf"1 subscription: a value is not int \| None: .*{odd} Odd"):
            apply(racks, with_block(MeasuredBlock))
        apply(racks, with_block(ConvertedBlock))
        assert (values(racks, plain)["height"], values(racks, odd)["height"]) == (42, 40)

    def test_a_type_that_fits_what_is_stored_changes_the_catalogue_only(self, racks: Connection) -> None:
        class ShortBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: Annotated[str, Field(max_length=4)] | None = None
            height: str | None = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        planned = plan(racks, with_block(ShortBlock))
        assert "field cabinet: from str | None" in str(planned)
        assert "max_length=4" in str(planned)
        apply(racks, with_block(ShortBlock))
        assert len(versions(racks, rack)) == 1


class TestRemovals:
    def test_a_field_with_data_is_removed_with_consent_only(self, racks: Connection) -> None:
        class BareBlock(ProductBlockModel, product_block_name="Rack"):
            height: str | None = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        with pytest.raises(CatalogueRefusedError, match="--allow-data-loss") as refused:
            apply(racks, with_block(BareBlock))
        assert refused.value.plan.consents == (
            f"product block Rack: field cabinet: 1 subscription: the values are deleted ({rack} Rack 1)",
        )
        apply(racks, with_block(BareBlock), allow_data_loss=True)
        assert values(racks, rack) == {"height": "42"}
        assert rows(racks, "SELECT 1 FROM orchestrator.resource_types WHERE resource_type = 'cabinet'") == []

    @pytest.mark.parametrize("nothing", [None, [], {}])
    def test_a_field_that_holds_nothing_is_no_data(self, racks: Connection, nothing: Any) -> None:
        empty, full = a_rack(racks, INITIAL), a_rack(racks)
        racks.execute(
            text("""UPDATE orchestrator.subscription_instances
                    SET values = values || jsonb_build_object('height', CAST(:nothing AS jsonb))
                    WHERE subscription_id = :id AND attribute = 'rack'"""),
            {"nothing": json.dumps(nothing), "id": empty},
        )

        class OnlyCabinetBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            fans: list[FanBlock] = []

        wanted = with_block(OnlyCabinetBlock)
        (consent,) = plan(racks, wanted).consents
        assert str(full) in consent
        assert str(empty) not in consent
        racks.execute(text("DELETE FROM orchestrator.subscriptions WHERE subscription_id = :id"), {"id": full})
        assert f"1 subscription: it is empty there, and goes ({empty}" in str(apply(racks, wanted))
        assert values(racks, empty) == {"cabinet": "C7"}
        assert [version for version, _ in versions(racks, empty)] == [1, 2]

    def test_a_field_without_data_needs_no_consent(self, racks: Connection) -> None:
        class BareBlock(ProductBlockModel, product_block_name="Rack"):
            height: str | None = None
            fans: list[FanBlock] = []

        assert "product block Rack: field cabinet: removed" in apply(racks, with_block(BareBlock)).lines

    def test_a_name_that_went_while_another_came_may_have_been_renamed(self, racks: Connection) -> None:
        class RenamedBlock(ProductBlockModel, product_block_name="Rack"):
            place: str | None = None
            height: str | None = None
            fans: list[FanBlock] = []

        told = str(plan(racks, with_block(RenamedBlock)))
        assert "if cabinet was renamed to place, declare renamed_from='cabinet'" in told

    def test_a_block_goes_with_all_that_is_stored_of_it(self, racks: Connection) -> None:
        class FanlessBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: str | None = None

        rack = a_rack_with_fans(racks, 2)
        with pytest.raises(CatalogueRefusedError) as refused:
            apply(racks, with_block(FanlessBlock))
        assert len(refused.value.plan.consents) == 2
        apply(racks, with_block(FanlessBlock), allow_data_loss=True)
        left = rows(
            racks,
            """SELECT block.name FROM orchestrator.subscription_instances
               JOIN orchestrator.product_blocks AS block USING (product_block_id) WHERE subscription_id = :id""",
            id=rack,
        )
        assert left == [("Rack",)]
        assert rows(racks, "SELECT name FROM orchestrator.product_blocks") == [("Rack",)]

    def test_a_product_without_subscriptions_is_deleted_with_its_blocks(self, racks: Connection) -> None:
        done = apply(racks, replace(BEFORE, products=()))
        assert "product Rack: deleted: it has no subscriptions" in done.lines
        assert rows(racks, "SELECT name FROM orchestrator.products") == []
        assert rows(racks, "SELECT name FROM orchestrator.product_blocks") == []

    def test_a_product_with_subscriptions_that_are_not_terminated_is_kept(self, racks: Connection) -> None:
        rack = a_rack(racks)
        with pytest.raises(CatalogueRefusedError, match=f"not terminated: .*{rack}"):
            apply(racks, replace(BEFORE, products=()), allow_data_loss=True)

    def test_one_whose_subscriptions_are_terminated_has_come_to_its_end(self, racks: Connection) -> None:
        """Nothing of them is lost, and declaring it again brings it back."""
        rack = a_rack(racks, TERMINATED)
        without = replace(BEFORE, products=())
        apply(racks, without)
        ended = "SELECT status, end_date IS NOT NULL FROM orchestrator.{}"
        assert rows(racks, ended.format("products")) == [("end of life", True)]
        assert rows(racks, ended.format("product_blocks") + " WHERE name = 'Rack'") == [("end of life", True)]
        assert values(racks, rack)["cabinet"] == "C7"
        assert not plan(racks, without)
        apply(racks, BEFORE, force=True)
        assert rows(racks, ended.format("products")) == [("active", False)]

    def test_a_product_may_come_to_its_end_before_its_subscriptions_do(self, racks: Connection) -> None:
        rack_id = a_rack(racks)
        ending = declaration(Rack, status=ProductLifecycle.END_OF_LIFE)
        told = str(plan(racks, ending))
        consequence = "1 subscription: not terminated: they can only be terminated, validated and reconciled"
        assert f"{consequence} ({rack_id}" in told
        apply(racks, ending)
        gone = CatalogueDeclaration((), (INSTALL,))
        with pytest.raises(CatalogueRefusedError, match="not terminated: declare the product again"):
            apply(racks, gone)
        with use_repository(PostgresRepository(racks)):
            RackInactive.from_other_lifecycle(Rack.from_subscription(rack_id), TERMINATED).save()
        apply(racks, gone)
        assert not plan(racks, gone)

    def test_a_fixed_input_goes_without_consent(self, racks: Connection) -> None:
        class WithoutDoors(SubscriptionModel, is_base=True):
            rack: RackBlockInactive

        a_rack(racks)
        assert "product Rack: fixed inputs: doors removed" in apply(racks, declaration(WithoutDoors)).lines


class TestLinks:
    def test_a_list_becomes_one_block_where_none_has_more(self, racks: Connection) -> None:
        class SingleBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: str | None = None
            fans: FanBlock | None = None

        a_rack_with_fans(racks, 1)
        assert not plan(racks, with_block(SingleBlock)).refusals
        rack = a_rack_with_fans(racks, 2)
        (refusal,) = plan(racks, with_block(SingleBlock)).refusals
        assert str(rack) in refusal

    def test_blocks_of_another_kind_are_refused(self, racks: Connection) -> None:
        class PumpBlock(ProductBlockModel, product_block_name="Pump"):
            speed: int = 1

        class PumpedBlock(ProductBlockModel, product_block_name="Rack"):
            cabinet: str | None = None
            height: str | None = None
            fans: list[PumpBlock] = []

        rack = a_rack_with_fans(racks, 1)
        (refusal, *_) = plan(racks, with_block(PumpedBlock)).refusals
        assert "what it holds is not list of Pump" in refusal
        assert str(rack) in refusal

    def test_a_list_that_may_hold_fewer_is_refused_where_one_holds_more(self, racks: Connection) -> None:
        class ShortBlock(RackBlockInactive, product_block_name="Rack"):
            fans: Annotated[list[FanBlock], Field(max_length=2)] = []

        a_rack_with_fans(racks, 2)
        assert not plan(racks, with_block(ShortBlock)).refusals
        full = a_rack_with_fans(racks, 3)
        (refusal,) = plan(racks, with_block(ShortBlock)).refusals
        assert "1 subscription: what it holds is not list of Fan, 2 or fewer" in refusal
        assert str(full) in refusal

    def test_a_list_does_not_lose_blocks_of_a_kind_that_goes(
        self, racks: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class LightBlock(ProductBlockModel, product_block_name="Light"):
            watt: int = 1

        class LitBlock(RackBlockInactive, product_block_name="Rack"):
            fans: list[FanBlock | LightBlock] = []

        apply(racks, with_block(LitBlock))
        rack_id = a_rack_with_fans(racks, 3)
        model = with_block(LitBlock).products[0].model
        monkeypatch.setitem(SUBSCRIPTION_MODEL_REGISTRY, "Rack", model)
        with use_repository(PostgresRepository(racks)):
            lit: Any = model.from_subscription(rack_id)
            lit.rack.fans[1] = LightBlock.new(rack_id)
            lit.save()
            with pytest.raises(CatalogueRefusedError, match="change the subscriptions by a workflow"):
                apply(racks, BEFORE, allow_data_loss=True, force=True)
            del lit.rack.fans[1]
            lit.save()
            apply(racks, BEFORE, force=True)
            monkeypatch.delitem(SUBSCRIPTION_MODEL_REGISTRY, "Rack")
            loaded = RackInactive.from_subscription(rack_id)
            loaded.save()
            assert len(RackInactive.from_subscription(rack_id).rack.fans) == 2


class TestTheDatabaseIsAheadOfTheCode:
    def test_old_code_does_not_apply_what_newer_code_has_changed(self, racks: Connection) -> None:
        class PaintedBlock(RackBlockInactive, product_block_name="Rack"):
            colour: str = "grey"

        apply(racks, with_block(PaintedBlock), by="ada")
        with pytest.raises(
            CatalogueRefusedError, match=r"ahead of the code: a newer catalogue .* by ada(.|\n)*--force"
        ):
            apply(racks, BEFORE, allow_data_loss=True)
        apply(racks, BEFORE, allow_data_loss=True, force=True)
        assert not plan(racks, BEFORE)

    def test_what_was_applied_is_on_record(self, racks: Connection) -> None:
        apply(racks, declaration(Rack, description="Fast"), by="ada")
        recorded = rows(racks, "SELECT applied_by, plan FROM orchestrator.catalogue_changes ORDER BY change_id")
        assert recorded[-1] == ("ada", ["product Rack: description from 'A rack' to 'Fast'"])


class TestSeveralAtOnce:
    def test_the_second_finds_nothing_to_do(self, engine: Engine) -> None:
        class PaintedBlock(RackBlockInactive, product_block_name="Rack"):
            colour: str = "grey"

        def apply_in_a_transaction() -> None:
            with engine.begin() as connection:
                results.append(bool(apply(connection, with_block(PaintedBlock))))

        with engine.begin() as connection:
            apply(connection, BEFORE)
            rack = a_rack(connection)
        results: list[bool] = []
        threads = [threading.Thread(target=apply_in_a_transaction) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [False, False, True]
        with engine.connect() as connection:
            assert len(versions(connection, rack)) == 2

    def test_a_step_that_loaded_a_subscription_before_cannot_save_it_after(self, racks: Connection) -> None:
        class RenamedBlock(ProductBlockModel, product_block_name="Rack"):
            place: Annotated[str | None, Stored(renamed_from="cabinet")] = None
            height: str | None = None
            fans: list[FanBlock] = []

        rack = a_rack(racks)
        with use_repository(PostgresRepository(racks)):
            loaded: Any = Rack.from_subscription(rack)
            apply(racks, with_block(RenamedBlock))
            loaded.rack.height = "43"
            with pytest.raises(StaleDataError):
                loaded.save()
        assert values(racks, rack) == {"place": "C7", "height": "42"}

    def test_of_two_that_fill_an_empty_database_the_second_changes_nothing(self, engine: Engine) -> None:
        with engine.begin() as first, engine.connect() as second:
            catalogue.fill(first, BEFORE)
            with ThreadPoolExecutor(1) as pool:
                filled = pool.submit(catalogue.fill, second, declaration(Rack, description="Another"))
                first.commit()
                filled.result()
            assert not plan(second, BEFORE)

    def test_it_does_not_wait_long_for_a_step_that_is_at_work(self, engine: Engine) -> None:
        with engine.begin() as connection:
            apply(connection, BEFORE)
        with engine.connect() as step, engine.connect() as connection:
            a_rack(step)
            with pytest.raises(CatalogueBusyError, match="Nothing was changed; try again"):
                apply(connection, declaration(Rack, description="Another"))
            step.commit()
            assert apply(connection, declaration(Rack, description="Another"))

    @pytest.mark.parametrize("moment", ["while it fills", "before it commits"])
    def test_one_that_is_killed_has_done_nothing(self, engine: Engine, moment: str) -> None:
        with engine.begin() as connection:
            apply(connection, BEFORE)
            rack = a_rack(connection)
        command = [sys.executable, str(WORKER), engine.url.render_as_string(hide_password=False), moment]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as applying:
            assert applying.stdout is not None
            assert applying.stdout.readline() == b"ready to be killed\n"
            applying.kill()
        with engine.begin() as connection:
            assert values(connection, rack) == {"cabinet": "C7", "height": "42"}
            assert not plan(connection, BEFORE)
            assert apply(connection, with_block(RackBlockInactive, description="Fast"))
