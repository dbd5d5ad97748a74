"""`Stored`: what a field says about values that are stored already."""

import pytest

from orchestrator_dagster import DefinitionError, Product, ProductBlockModel, StepList, SubscriptionModel, begin, step
from orchestrator_dagster.domain.stored import Stored
from orchestrator_dagster.jobs.decorators import create_workflow, task, validate_workflow


class ShelfBlock(ProductBlockModel, product_block_name="Shelf of the marker tests", renamed_from="Board"):
    size: int = 1


class Shelf(SubscriptionModel, is_base=True):
    shelf: ShelfBlock


def test_one_earlier_name_or_several_can_be_given() -> None:
    assert Stored(renamed_from="a").earlier_names == ("a",)
    assert Stored(renamed_from=("a", "b")).earlier_names == ("a", "b")
    assert Stored(fill=None).earlier_names == ()


def test_two_that_say_the_same_are_equal() -> None:
    assert Stored(renamed_from="a", fill=[1]) == Stored(renamed_from=("a",), fill=[1])
    assert Stored(fill=[1]) != Stored(fill=[2])
    assert len({Stored(fill=[1]), Stored(fill=[1])}) == 1


def test_one_that_says_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="says nothing"):
        Stored()


@pytest.mark.parametrize("names", ["", ("",), (1,)])
def test_an_earlier_name_is_a_name(names: object) -> None:
    if names == "":
        with pytest.raises(DefinitionError, match="renamed_from takes a name or several"):
            Stored(renamed_from=("",), fill=1)
        return
    with pytest.raises(DefinitionError, match="renamed_from takes a name or several"):
        Stored(renamed_from=names)  # type: ignore[arg-type]


def test_a_block_says_its_earlier_name_beside_its_name() -> None:
    class SmallShelfBlock(ShelfBlock, lifecycle=["active"]):  # type: ignore[list-item]
        size: int

    assert ShelfBlock.__renamed_from__ == SmallShelfBlock.__renamed_from__ == ("Board",)
    with pytest.raises(DefinitionError, match="renamed_from stands beside product_block_name"):

        class NamelessBlock(ProductBlockModel, renamed_from="Board"):
            size: int = 1


def test_products_and_workflows_have_earlier_names() -> None:
    @step("Nothing")
    def nothing() -> None: ...

    def steps() -> StepList:
        return begin >> nothing

    assert Product("Shelf", Shelf, renamed_from="Board").declaration.renamed_from == ("Board",)
    for decorator in (create_workflow, validate_workflow, task):
        assert decorator("Title", renamed_from=("a", "b"))(steps).declaration.renamed_from == ("a", "b")
