"""How two catalogues differ, by rules over values: what is stored is the catalogue of the code as it was."""

from dataclasses import replace
from typing import Annotated, Any

import pytest

from orchestrator_dagster import (
    ConfigurationError,
    DefinitionError,
    ProductBlockModel,
    ProductLifecycle,
    SubscriptionLifecycle,
    SubscriptionModel,
    Target,
)
from orchestrator_dagster.db.catalogue.comparison import differences
from orchestrator_dagster.db.catalogue.data.operations import (
    ConvertField,
    FillField,
    RemoveField,
    RemoveLink,
    RenameField,
)
from orchestrator_dagster.db.catalogue.declared import DeclaredCatalogue, declared_catalogue
from orchestrator_dagster.db.catalogue.difference import Difference, Verdict
from orchestrator_dagster.db.catalogue.entries import Catalogue, shapes_from_json, shapes_to_json
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration, WorkflowDeclaration
from orchestrator_dagster.domain.stored import Stored, StoredBlock

ACTIVE = SubscriptionLifecycle.ACTIVE


class SeatBlock(ProductBlockModel, product_block_name="Seat"):
    colour: str | None = None


class BusBlock(ProductBlockModel, product_block_name="Bus"):
    plate: str | None = None
    seats: list[SeatBlock] = []


DRIVE = WorkflowDeclaration("drive", Target.CREATE, "Drive")


def catalogue_of(block: type[ProductBlockModel], **changes: Any) -> DeclaredCatalogue:
    class Bus(SubscriptionModel, is_base=True):
        wheels: int = 4
        bus: block  # type: ignore[valid-type]

    product = ProductDeclaration("Bus", Bus, "A bus", "Bus", "BUS", workflows=("drive",))
    return declared_catalogue(CatalogueDeclaration((replace(product, **changes),), (DRIVE,)))


BEFORE = catalogue_of(BusBlock).entries


def found(declared: DeclaredCatalogue, stored: Catalogue = BEFORE) -> dict[str, Difference]:
    return {f"{one.title}: {one.says}": one for one in differences(declared, stored)}


def operations(difference: Difference) -> list[Any]:
    return [effect.operation for effect in difference.effects]


def test_a_catalogue_does_not_differ_from_itself() -> None:
    assert found(catalogue_of(BusBlock)) == {}


def test_all_is_new_in_an_empty_database() -> None:
    assert list(found(catalogue_of(BusBlock), Catalogue())) == [
        "workflow drive: new",
        "product block Bus: new",
        "product block Seat: new",
        "product Bus: new",
    ]


def test_shapes_come_back_from_json_as_they_were() -> None:
    for shapes in (BEFORE.blocks["Bus"].fields, BEFORE.products["Bus"].fields):
        assert shapes_from_json(shapes_to_json(shapes)) == shapes


def test_the_fingerprint_tells_catalogues_apart_and_ignores_what_is_done_once() -> None:
    class MarkedBlock(BusBlock, product_block_name="Bus"):
        plate: Annotated[str | None, Stored(renamed_from="number", fill="?")] = None

    class OtherBlock(BusBlock, product_block_name="Bus"):
        plate: int | None = None

    same, other = catalogue_of(MarkedBlock).fingerprint, catalogue_of(OtherBlock).fingerprint
    assert catalogue_of(BusBlock).fingerprint == same != other


def test_a_field_that_is_new_and_may_be_empty_touches_nothing() -> None:
    class NotedBlock(BusBlock, product_block_name="Bus"):
        note: str | None = None

    ((line, difference),) = found(catalogue_of(NotedBlock)).items()
    assert line == "product block Bus: field note: new, str | None"
    assert difference.effects == ()


def test_a_field_is_filled_in_the_statuses_that_ask_for_it() -> None:
    class TracedBlockInactive(BusBlock, product_block_name="Bus"):
        trace: int | None = None

    class TracedBlock(TracedBlockInactive, lifecycle=[ACTIVE]):
        trace: Annotated[int, Stored(fill=7)]

    (difference,) = found(catalogue_of(TracedBlockInactive)).values()
    ((operation,),) = [operations(difference)]
    assert isinstance(operation, FillField)
    assert (operation.statuses, operation.fill, operation.optional) == ({ACTIVE}, 7, False)


def test_a_default_that_is_made_is_made_for_each_block() -> None:
    made = iter(range(10))

    class CountedBlock(BusBlock, product_block_name="Bus"):
        count: int = 0

    CountedBlock.model_fields["count"].default_factory = lambda: next(made)
    block = StoredBlock(*[None] * 7, values={})  # type: ignore[arg-type]
    (difference,) = found(catalogue_of(CountedBlock)).values()
    ((operation,),) = [operations(difference)]
    assert [operation.fill(block), operation.fill(block)] == [0, 1]


def test_a_field_that_says_less_than_before_asks_for_nothing() -> None:
    class StrictBlock(BusBlock, product_block_name="Bus"):
        plate: str

    strict = catalogue_of(StrictBlock)
    (stricter,) = found(strict).values()
    assert [effect.verdict for effect in stricter.effects] == [Verdict.REFUSED]
    (looser,) = found(catalogue_of(BusBlock), strict.entries).values()
    assert looser.effects == ()


def test_another_type_is_converted_in_each_status_by_its_own_class() -> None:
    class NumberedBlock(BusBlock, product_block_name="Bus"):
        plate: Annotated[int | None, Stored(fill=0)] = None

    (difference,) = found(catalogue_of(NumberedBlock)).values()
    ((operation,),) = [operations(difference)]
    assert isinstance(operation, ConvertField)
    assert operation.fill is not None
    assert [operation.fits(7), operation.fits("7"), operation.fits("seven")] == [True, False, False]
    block = StoredBlock(*[None] * 7, values={"plate": "7"})  # type: ignore[arg-type]
    assert operation.fill(block) == 7
    assert operation.fill(replace(block, values={"plate": "seven"})) == 0


def test_a_value_that_becomes_a_block_is_removed_and_added() -> None:
    class MixedBlock(ProductBlockModel, product_block_name="Bus"):
        plate: SeatBlock | None = None
        seats: list[SeatBlock] = []

    differ = found(catalogue_of(MixedBlock))
    assert list(differ) == [
        "product block Bus: field plate: removed",
        "product block Bus: field plate: new, Seat | None",
    ]
    assert set(operations(differ["product block Bus: field plate: removed"])) == {RemoveField("Bus", "plate")}


def test_a_renamed_field_of_a_renamed_block_is_asked_for_by_its_old_names_and_moved_by_its_new_ones() -> None:
    class CoachBlock(ProductBlockModel, product_block_name="Coach", renamed_from="Bus"):
        number: Annotated[str | None, Stored(renamed_from="plate")] = None
        seats: list[SeatBlock] = []

    differ = found(catalogue_of(CoachBlock))
    assert list(differ) == [
        "product block Coach: renamed from Bus",
        "product block Coach: description from 'Bus' to 'Coach'",
        "product block Coach: tag from 'BUS' to 'COACH'",
        "product block Coach: field number: renamed from plate",
    ]
    (effect,) = differ["product block Coach: field number: renamed from plate"].effects
    assert effect.question == RenameField("Bus", "plate", "number")
    assert effect.operation == RenameField("Coach", "plate", "number")


def test_a_link_that_is_gone_goes_with_its_blocks() -> None:
    class EmptyBlock(ProductBlockModel, product_block_name="Bus"):
        plate: str | None = None

    stored = replace(BEFORE, blocks_in_use=frozenset({"Seat"}))
    differ = found(catalogue_of(EmptyBlock), stored)
    assert operations(differ["product block Bus: field seats: removed"]) == [RemoveLink("Bus", frozenset(), "seats")]
    assert [effect.verdict for effect in differ["product block Seat: deleted"].effects] == [Verdict.CONSENT]


def test_a_product_that_is_gone_is_told_by_what_it_has() -> None:
    nothing = declared_catalogue(CatalogueDeclaration((), (DRIVE,)))
    in_use = replace(BEFORE, products_in_use=frozenset({"Bus"}), blocks_in_use=frozenset({"Bus"}))
    assert "product Bus: deleted: it has no subscriptions" in found(nothing)
    differ = found(nothing, in_use)
    ended = differ["product Bus: not declared any more: end of life, its subscriptions are terminated"]
    assert [effect.verdict for effect in ended.effects] == [Verdict.REFUSED]
    assert "product block Bus: end of life: subscriptions to products that are not declared any more have it" in differ
    assert "product block Seat: deleted: nothing is stored of it" in differ


def test_only_what_no_load_or_start_depends_on_does_no_harm() -> None:
    painted = catalogue_of(BusBlock, description="Red", tag="R", status=ProductLifecycle.PRE_PRODUCTION, workflows=())
    assert all(one.harmless for one in found(painted).values())

    class LongerBlock(BusBlock, product_block_name="Bus"):
        length: int | None = None

    assert not any(one.harmless for one in found(catalogue_of(LongerBlock)).values())


def test_a_fixed_input_can_be_renamed() -> None:
    class Bus(SubscriptionModel, is_base=True):
        axles: Annotated[int, Stored(renamed_from="wheels")] = 4
        bus: BusBlock

    assert list(found(catalogue_of(BusBlock, model=Bus))) == ["product Bus: fixed inputs: axles renamed from wheels"]


def test_classes_of_a_model_that_contradict_each_other_are_refused() -> None:
    class TwoBlockInactive(ProductBlockModel, product_block_name="Bus"):
        plate: Annotated[str | None, Stored(renamed_from="number")] = None

    class TwoBlock(TwoBlockInactive, lifecycle=[ACTIVE]):
        plate: Annotated[str, Stored(renamed_from="sign")]

    with pytest.raises(DefinitionError, match=r"Bus.plate has two different Stored\(...\) in its classes"):
        catalogue_of(TwoBlockInactive)


def test_an_earlier_name_belongs_to_one_field_only() -> None:
    class GreedyBlock(ProductBlockModel, product_block_name="Bus"):
        one: Annotated[str | None, Stored(renamed_from="plate")] = None
        two: Annotated[str | None, Stored(renamed_from="plate")] = None

    with pytest.raises(ConfigurationError, match="are declared as renamed from plate: one and two"):
        catalogue_of(GreedyBlock)
