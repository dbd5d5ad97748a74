"""Forms as run config: pages of a generator take the job's flat run config, and every mistake is reported at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from orchestrator_dagster import (
    FormGenerator,
    FormPage,
    InputError,
    Orchestrator,
    Product,
    ProductBlockModel,
    RefusalError,
    Session,
    StaleDataError,
    State,
    StepList,
    SubmitFormPage,
    SubscriptionLifecycle,
    SubscriptionModel,
    Target,
    Workflow,
    begin,
    create_workflow,
    modify_workflow,
    step,
    task,
)
from orchestrator_dagster.cli import main


class ShelfBlockInactive(ProductBlockModel, product_block_name="Form shelf"):
    width: int | None = None


class ShelfBlock(ShelfBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    width: int


class ShelfInactive(SubscriptionModel, is_base=True):
    wood: Literal["oak", "pine"]
    shelf: ShelfBlockInactive


class Shelf(ShelfInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    shelf: ShelfBlock


@step("Construct shelf")
def construct_shelf(product: UUID, width: int = 80) -> State:
    subscription = ShelfInactive.from_product_id(product, "acme")
    subscription.shelf.width = width
    return {"subscription": subscription}


def create_shelf_form(product_name: str) -> FormGenerator:
    class WidthPage(FormPage):
        width: Annotated[int, Field(ge=10, le=200)] = 120 if "oak" in product_name.lower() else 80

    answer = yield WidthPage
    return answer.model_dump() | {"seen_product": product_name}


@create_workflow("Create shelf", initial_input_form=create_shelf_form)
def create_shelf() -> StepList:
    return begin >> construct_shelf


def modify_shelf_form(subscription: Shelf) -> FormGenerator:
    class NewWidthPage(FormPage):
        width: Annotated[int, Field(ge=10, le=200)] = subscription.shelf.width

    answer = yield NewWidthPage
    return answer.model_dump()


@modify_workflow("Modify shelf", initial_input_form=modify_shelf_form)
def modify_shelf() -> StepList:
    return begin


@modify_workflow("Paint shelf")
def paint_shelf() -> StepList:
    return begin


ORCHESTRATOR = Orchestrator(
    products=[
        Product("Oak shelf", Shelf, fixed_inputs={"wood": "oak"}, workflows=[create_shelf, modify_shelf, paint_shelf]),
        Product("Pine shelf", Shelf, fixed_inputs={"wood": "pine"}, workflows=[create_shelf, modify_shelf]),
    ]
)


@pytest.fixture
def wfo(orchestrator_database: str) -> Iterator[Session]:
    with dg.DagsterInstance.ephemeral() as instance, ORCHESTRATOR.connect(instance=instance) as session:
        yield session


Fill = Callable[..., State]


@pytest.fixture
def fill(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fill]:
    """Run a task with a form, and return the state that it starts with."""
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.ephemeral())

        def fill(form: Any, given: Any = None) -> State:
            session = stack.enter_context(Orchestrator([], workflows=[with_form(form)]).connect(instance=instance))
            before = len(session.processes())
            try:
                process = session.run("ask", given)
            except RefusalError:
                assert len(session.processes()) == before
                raise
            assert process.status == "completed", process.traceback
            return process.state

        yield fill


def with_form(form: Any) -> Workflow:
    @task("Ask", initial_input_form=form)
    def ask() -> StepList:
        return begin

    return ask


def errors_of(fill: Fill, form: Any, given: Any = None) -> dict[str, str]:
    """Return what is wrong with the input, by path, and why checking stopped under ''."""
    with pytest.raises(InputError) as refused:
        fill(form, given)
    found = {error.path: error.msg for error in refused.value.errors}
    for path, message in found.items():
        assert f"{path}: {message}" in str(refused.value), "the message says all that the attributes say"
    return found | ({"": refused.value.stopped} if refused.value.stopped else {})


class WhoPage(FormPage):
    customer_id: str
    seats: Annotated[int, Field(ge=1, le=9)] = 2


class WherePage(FormPage):
    site: str
    vlans: list[Annotated[int, Field(ge=1, le=4094)]] = []


class WhenPage(SubmitFormPage):
    month: Annotated[int, Field(ge=1, le=12)]


def three_pages() -> FormGenerator:
    who = yield WhoPage
    where = yield WherePage
    when = yield WhenPage
    return who.model_dump() | where.model_dump() | when.model_dump()


class TestValidInput:
    def test_the_fields_of_all_pages_stand_side_by_side(self, fill: Fill) -> None:
        given = {"customer_id": "acme", "site": "Oslo", "vlans": [1, 2], "month": 3}
        assert fill(three_pages, given).items() >= (given | {"seats": 2}).items()

    def test_the_pages_can_be_given_one_by_one(self, fill: Fill) -> None:
        pages = [{"customer_id": "acme"}, {"site": "Oslo"}, {"month": 3}]
        assert fill(three_pages, {"pages": pages})["month"] == 3

    def test_values_are_converted_to_the_types_of_their_fields(self, fill: Fill) -> None:
        class AddressPage(FormPage):
            address: IPv4Address
            an_id: UUID
            count: int

        seen = []

        def form() -> FormGenerator:
            answer = yield AddressPage
            seen.append(answer)
            return answer.model_dump()

        an_id = uuid4()
        state = fill(form, {"address": "10.0.0.1", "an_id": str(an_id), "count": "3"})
        assert seen == [AddressPage(address=IPv4Address("10.0.0.1"), an_id=an_id, count=3)]
        assert (state["address"], state["an_id"], state["count"]) == ("10.0.0.1", str(an_id), 3)

    def test_a_page_may_depend_on_the_answers_before_it(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage

            class SeatsPage(FormPage):
                names: Annotated[list[str], Field(min_length=who.seats, max_length=who.seats)]

            seats = yield SeatsPage
            return seats.model_dump()

        assert fill(form, {"customer_id": "acme", "seats": 3, "names": ["a", "b", "c"]})["names"] == ["a", "b", "c"]
        wrong = errors_of(fill, form, {"customer_id": "acme", "seats": 3, "names": ["a"]})
        assert wrong.keys() == {"names"}

    def test_a_branch_that_is_not_taken_is_not_asked(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage
            where = (yield WherePage) if who.seats > 5 else None
            return {"where": where and where.site}

        assert fill(form, {"customer_id": "acme"})["where"] is None
        assert fill(form, {"customer_id": "acme", "seats": 6, "site": "Oslo"})["where"] == "Oslo"
        assert errors_of(fill, form, {"customer_id": "acme", "site": "Oslo"}).keys() == {"site"}

    def test_only_what_the_form_returns_comes_into_the_state(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage
            return {"customer": who.customer_id}

        state = fill(form, {"customer_id": "acme"})
        assert state["customer"] == "acme"
        assert "customer_id" not in state

    def test_a_form_may_be_a_class(self, fill: Fill) -> None:
        assert fill(WhoPage, {"customer_id": "acme"}).items() >= {"customer_id": "acme", "seats": 2}.items()
        assert errors_of(fill, WhoPage, {"seats": 0}).keys() == {"customer_id", "seats"}

    def test_a_form_may_return_a_class(self, fill: Fill) -> None:
        def form() -> type[FormPage]:
            return WhoPage

        assert fill(form, {"customer_id": "acme"})["seats"] == 2
        assert errors_of(fill, form, {"custom_id": "acme"}).keys() == {"customer_id", "custom_id"}

    def test_a_workflow_without_a_form_takes_nothing(self, fill: Fill) -> None:
        fill(None)
        fill(None, {})
        assert errors_of(fill, None, {"colour": "blue"}).keys() == {"colour"}

    def test_a_form_without_pages_takes_nothing(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            yield from ()
            return {"made": "up"}

        assert fill(form)["made"] == "up"
        assert errors_of(fill, form, {"made": "by me"}).keys() == {"made"}

    def test_a_form_may_return_nothing(self, fill: Fill) -> None:
        def form() -> Any:
            yield WhoPage

        fill(form, {"customer_id": "acme"})

    def test_defaults_of_all_kinds_hold(self, fill: Fill) -> None:
        class DefaultsPage(FormPage):
            plain: int = 1
            made: list[str] = Field(default_factory=lambda: ["a"])
            nothing: str | None = None
            choice: Literal["x", "y"] = "y"

        state = fill(DefaultsPage)
        assert [state[key] for key in ("plain", "made", "nothing", "choice")] == [1, ["a"], None, "y"]

    def test_a_page_of_plain_pydantic_will_do(self, fill: Fill) -> None:
        class PlainPage(BaseModel):
            colour: str

        assert fill(PlainPage, {"colour": "blue"})["colour"] == "blue"
        assert errors_of(fill, PlainPage, {"colour": "blue", "shape": "round"}).keys() == {"shape"}

    def test_the_reporter_and_the_workflow_stand_in_the_state(self, fill: Fill) -> None:
        state = fill(None)
        assert (state["reporter"], state["workflow_name"], state["workflow_target"]) == ("SYSTEM", "ask", "SYSTEM")

    def test_a_form_can_ask_for_what_is_known_before_it(self, fill: Fill) -> None:
        def form(workflow_name: str, reporter: str, missing: int = 7) -> FormGenerator:
            yield from ()
            return {"seen": [workflow_name, reporter, missing]}

        assert fill(form)["seen"] == ["ask", "SYSTEM", 7]

    def test_the_input_is_kept_as_it_was_given(self, wfo: Session) -> None:
        from sqlalchemy import text

        given = {"product": "Oak shelf", "width": "100"}
        process = wfo.run("create_shelf", given)
        with wfo.orchestrator.database.engine.connect() as connection:
            statement = text("SELECT input FROM orchestrator.process_inputs WHERE process_id = :id")
            assert connection.execute(statement, {"id": process.process_id}).scalar_one() == given


class TestInvalidInput:
    def test_the_errors_of_all_pages_come_together(self, fill: Fill) -> None:
        wrong = errors_of(fill, three_pages, {"seats": 10, "site": 7, "vlans": [1, 4095], "month": 13})
        assert wrong.keys() == {"customer_id", "seats", "site", "vlans.1", "month"}

    def test_empty_input_names_every_required_field_of_every_page(self, fill: Fill) -> None:
        assert errors_of(fill, three_pages).keys() == {"customer_id", "site", "month"}

    def test_a_page_after_an_invalid_one_is_checked_with_the_values_as_given(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage

            class SeatsPage(FormPage):
                names: Annotated[list[str], Field(max_length=who.seats)]

            yield SeatsPage
            return {}

        wrong = errors_of(fill, form, {"customer_id": 7, "seats": "1", "names": ["a", "b"]})
        assert wrong.keys() == {"customer_id", "names"}

    def test_where_the_generator_cannot_go_on_it_says_so_and_blames_nothing_else(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage

            class SeatsPage(FormPage):
                names: Annotated[list[str], Field(max_length=who.seats * 2 + 1)]

            yield SeatsPage
            return {}

        wrong = errors_of(fill, form, {"customer_id": "acme", "seats": "many", "names": ["a"]})
        assert wrong.keys() == {"seats", ""}
        assert "WhoPage" in wrong[""]
        assert "stopped" in wrong[""].lower()

    def test_a_generator_that_misses_an_answer_cannot_go_on(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            who = yield WhoPage
            where = yield WherePage
            {"acme": 1}[who.customer_id]
            yield WhenPage
            return where.model_dump()

        wrong = errors_of(fill, form, {"site": 3, "month": 13})
        assert wrong.keys() >= {"customer_id", "site", ""}

    def test_a_form_that_fails_on_valid_input_is_refused_with_its_reason(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            yield WhoPage
            raise RuntimeError("no route to the stock system")

        with pytest.raises(RefusalError, match="no route to the stock system"):
            fill(form, {"customer_id": "acme"})

    def test_a_form_that_fails_at_once_is_refused_with_its_reason(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            raise RuntimeError("no route to the stock system")

        with pytest.raises(RefusalError, match="no route to the stock system"):
            fill(form)

    def test_a_form_that_returns_no_dict_is_refused(self, fill: Fill) -> None:
        def form() -> Any:
            yield WhoPage
            return ["not", "a", "dict"]

        with pytest.raises((RefusalError, TypeError)):
            fill(form, {"customer_id": "acme"})

    def test_a_form_that_never_ends_is_refused(self, fill: Fill) -> None:
        def form() -> FormGenerator:
            while True:

                class EmptyPage(FormPage):
                    pass

                yield EmptyPage

        with pytest.raises(RefusalError):
            fill(form)

    def test_nested_fields_are_named_by_their_path(self, fill: Fill) -> None:
        class Contact(BaseModel):
            model_config = ConfigDict(extra="forbid")
            email: Annotated[str, Field(pattern="@")]

        class ContactsPage(FormPage):
            main: Contact
            others: list[Contact] = []
            by_role: dict[str, Contact] = {}

        given = {
            "main": {},
            "others": [{"email": "a@b"}, {"email": "c", "age": 3}],
            "by_role": {"boss": {"email": "x"}},
        }
        wrong = errors_of(fill, ContactsPage, given)
        assert wrong.keys() == {"main.email", "others.1.email", "others.1.age", "by_role.boss.email"}

    def test_unknown_keys_are_errors_with_a_suggestion(self, fill: Fill) -> None:
        wrong = errors_of(fill, three_pages, {"costumer_id": "acme", "site": "Oslo", "month": 3, "colour": "blue"})
        assert wrong.keys() == {"customer_id", "costumer_id", "colour"}
        assert "customer_id" in wrong["costumer_id"]
        assert "did you mean" not in wrong["colour"]

    def test_messages_of_the_pages_own_validators_are_kept(self, fill: Fill) -> None:
        class CheckedPage(FormPage):
            start: int
            end: int
            colour: str = "blue"

            @field_validator("colour")
            @classmethod
            def only_blue(cls, colour: str) -> str:
                if colour != "blue":
                    raise ValueError("we only paint in blue")
                return colour

            @model_validator(mode="after")
            def in_order(self) -> "CheckedPage":
                if self.start > self.end:
                    raise ValueError("it ends before it starts")
                return self

        assert (
            "we only paint in blue" in errors_of(fill, CheckedPage, {"start": 1, "end": 2, "colour": "red"})["colour"]
        )
        (about_all,) = errors_of(fill, CheckedPage, {"start": 2, "end": 1}).values()
        assert "it ends before it starts" in about_all

    def test_an_error_of_a_whole_page_does_not_hide_the_next_page(self, fill: Fill) -> None:
        class OrderPage(FormPage):
            start: int
            end: int

            @model_validator(mode="after")
            def in_order(self) -> "OrderPage":
                if self.start > self.end:
                    raise ValueError("it ends before it starts")
                return self

        def form() -> FormGenerator:
            order = yield OrderPage
            yield WhenPage
            return order.model_dump()

        wrong = errors_of(fill, form, {"start": 2, "end": 1, "month": 13})
        assert "month" in wrong
        assert "it ends before it starts" in " ".join(wrong.values())

    def test_errors_keep_pydantics_type_and_the_path_in_parts(self, fill: Fill) -> None:
        with pytest.raises(InputError) as refused:
            fill(three_pages, {"customer_id": "acme", "site": "Oslo", "vlans": [0], "month": 3})
        (error,) = refused.value.errors
        assert (error.loc, error.type, refused.value.workflow) == (("vlans", 0), "greater_than_equal", "ask")

    @pytest.mark.parametrize("given", [{"pages": 3}, {"pages": [3]}, {"pages": {}}, {"pages": None}], ids=str)
    def test_pages_that_are_no_list_of_mappings_are_refused_with_a_message(self, fill: Fill, given: Any) -> None:
        with pytest.raises(InputError):
            fill(three_pages, given)

    def test_a_value_that_stands_for_nothing_is_not_the_same_as_no_value(self, fill: Fill) -> None:
        assert errors_of(fill, WhoPage, {"customer_id": "acme", "seats": None}).keys() == {"seats"}


class TestPagesThatShareFields:
    @staticmethod
    def two_sites() -> FormGenerator:
        class FromPage(FormPage):
            site: str

        class ToPage(FormPage):
            site: Annotated[str, Field(max_length=5)]

        first = yield FromPage
        second = yield ToPage
        return {"sites": [first.site, second.site]}

    @staticmethod
    def links() -> FormGenerator:
        class CountPage(FormPage):
            count: int

        class LinkPage(FormPage):
            port: str
            vlan: Annotated[int, Field(ge=1)] = 1

        count = (yield CountPage).count
        found = []
        for _ in range(count):
            link = yield LinkPage
            found += [link.port]
        return {"links": found}

    def test_a_field_on_two_pages_cannot_be_given_flat(self, fill: Fill) -> None:
        wrong = errors_of(fill, self.two_sites, {"site": "Oslo"})
        assert "pages" in wrong["site"]

    def test_a_field_on_two_pages_is_given_page_by_page(self, fill: Fill) -> None:
        assert fill(self.two_sites, {"pages": [{"site": "Oslo"}, {"site": "Bergen"[:5]}]})["sites"] == ["Oslo", "Berge"]

    def test_an_error_names_the_page_that_it_is_on(self, fill: Fill) -> None:
        wrong = errors_of(fill, self.two_sites, {"pages": [{"site": 1}, {"site": "Stavanger"}]})
        assert wrong.keys() == {"pages.0.site", "pages.1.site"}

    def test_pages_repeat_as_often_as_the_form_says(self, fill: Fill) -> None:
        pages = [{"count": 3}, {"port": "a"}, {"port": "b", "vlan": 2}, {"port": "c"}]
        assert fill(self.links, {"pages": pages})["links"] == ["a", "b", "c"]

    def test_the_first_page_may_stand_beside_the_others(self, fill: Fill) -> None:
        assert fill(self.links, {"count": 2, "pages": [{"port": "a"}, {"port": "b"}]})["links"] == ["a", "b"]

    def test_errors_of_all_repeated_pages_come_together(self, fill: Fill) -> None:
        pages = [{"count": 3}, {"port": "a", "valn": 2}, {"port": "b", "vlan": 0}, {"port": 3}]
        wrong = errors_of(fill, self.links, {"pages": pages})
        assert wrong.keys() == {"pages.1.valn", "pages.2.vlan", "pages.3.port"}
        assert "vlan" in wrong["pages.1.valn"]

    def test_a_page_too_many_is_an_error(self, fill: Fill) -> None:
        wrong = errors_of(fill, self.links, {"pages": [{"count": 1}, {"port": "a"}, {"port": "b"}]})
        assert list(wrong) == ["pages.2"]

    def test_a_page_too_few_names_the_fields_that_are_missing(self, fill: Fill) -> None:
        assert "pages.2.port" in errors_of(fill, self.links, {"pages": [{"count": 2}, {"port": "a"}]})

    def test_unknown_keys_on_a_page_are_errors(self, fill: Fill) -> None:
        wrong = errors_of(fill, self.links, {"pages": [{"count": 1}, {"port": "a", "colour": "blue"}]})
        assert list(wrong) == ["pages.1.colour"]

    def test_a_page_that_repeats_once_only_may_be_given_flat(self, fill: Fill) -> None:
        assert fill(self.links, {"count": 1, "port": "a"})["links"] == ["a"]


class TestTheProductPage:
    def test_a_product_is_given_by_name_or_by_id(self, wfo: Session) -> None:
        by_name = wfo.run("create_shelf", {"product": "Pine shelf"})
        (row,) = wfo.subscriptions()
        assert (row.product, by_name.state["product_name"]) == ("Pine shelf", "Pine shelf")
        by_id = wfo.run("create_shelf", {"product": str(row.product_id)})
        assert by_id.state["product_name"] == by_id.state["seen_product"] == "Pine shelf"
        assert by_id.state["product"] == str(row.product_id)
        assert {found.product for found in wfo.subscriptions()} == {"Pine shelf"}

    def test_an_unknown_product_is_refused_with_the_known_ones_and_with_the_errors_of_the_next_pages(
        self, wfo: Session
    ) -> None:
        for product in ("Elm shelf", str(uuid4()), ""):
            with pytest.raises(InputError) as refused:
                wfo.run("create_shelf", {"product": product, "width": 7, "colour": "blue"})
            wrong = {error.path: error.msg for error in refused.value.errors}
            assert wrong.keys() == {"product", "width", "colour"}
            assert "Oak shelf" in wrong["product"]
            assert "Pine shelf" in wrong["product"]
        assert wfo.processes() == wfo.subscriptions() == []

    def test_a_product_of_another_workflow_is_refused(self, wfo: Session) -> None:
        other = Product("Bench", Shelf, fixed_inputs={"wood": "oak"}, workflows=[modify_shelf])
        assert other.name not in wfo.orchestrator.products
        with pytest.raises(InputError, match="product"):
            wfo.run("create_shelf", {"product": other.name})

    def test_a_missing_product_does_not_hide_the_other_errors(self, wfo: Session) -> None:
        with pytest.raises(InputError) as refused:
            wfo.run("create_shelf", {"width": 7})
        assert {error.path for error in refused.value.errors} == {"product", "width"}

    def test_defaults_may_depend_on_the_product(self, wfo: Session) -> None:
        assert wfo.run("create_shelf", {"product": "Oak shelf"}).state["width"] == 120
        assert wfo.run("create_shelf", {"product": "Pine shelf"}).state["width"] == 80


class TestTheSubscriptionPage:
    @pytest.fixture
    def shelf_id(self, wfo: Session) -> UUID:
        return wfo.run("create_shelf", {"product": "Pine shelf"}).subscription_id

    def refusal(self, wfo: Session, workflow: str, given: Any) -> dict[str, str]:
        before = len(wfo.processes())
        with pytest.raises(InputError) as refused:
            wfo.run(workflow, given)
        assert len(wfo.processes()) == before
        return {error.path: error.msg for error in refused.value.errors}

    def test_what_is_known_of_the_subscription_stands_in_the_state(self, wfo: Session, shelf_id: UUID) -> None:
        (row,) = wfo.subscriptions()
        state = wfo.run("modify_shelf", {"subscription_id": str(shelf_id)}).state
        assert (state["subscription_id"], state["product"]) == (str(shelf_id), str(row.product_id))
        assert (state["customer_id"], state["version"]) == ("acme", row.version)

    def test_the_form_is_given_the_subscription(self, wfo: Session, shelf_id: UUID) -> None:
        assert wfo.run("modify_shelf", {"subscription_id": str(shelf_id)}).state["width"] == 80

    def test_a_subscription_that_does_not_exist_is_refused(self, wfo: Session) -> None:
        wrong = self.refusal(wfo, "modify_shelf", {"subscription_id": str(uuid4())})
        assert "not found" in wrong["subscription_id"].lower()

    def test_what_is_no_id_is_refused(self, wfo: Session) -> None:
        assert self.refusal(wfo, "modify_shelf", {"subscription_id": "shelf"}).keys() == {"subscription_id"}
        assert self.refusal(wfo, "modify_shelf", {}).keys() == {"subscription_id"}

    def test_a_workflow_of_other_products_is_refused(self, wfo: Session, shelf_id: UUID) -> None:
        wrong = self.refusal(wfo, "paint_shelf", {"subscription_id": str(shelf_id)})
        assert "not valid for this subscription" in wrong["subscription_id"]

    def test_the_version_that_was_seen_may_be_given(self, wfo: Session, shelf_id: UUID) -> None:
        (row,) = wfo.subscriptions()
        given = {"subscription_id": str(shelf_id), "version": row.version}
        assert wfo.run("modify_shelf", given).status == "completed"

    def test_no_version_is_no_check(self, wfo: Session, shelf_id: UUID) -> None:
        given = {"subscription_id": str(shelf_id), "version": None}
        assert wfo.run("modify_shelf", given).status == "completed"

    def test_another_version_than_the_present_one_is_refused_and_both_are_named(
        self, wfo: Session, shelf_id: UUID
    ) -> None:
        (row,) = wfo.subscriptions()
        stale = {"subscription_id": str(shelf_id), "version": row.version - 1, "width": 5}
        with pytest.raises((InputError, StaleDataError)) as refused:
            wfo.run("modify_shelf", stale)
        assert str(row.version) in str(refused.value)
        assert str(row.version - 1) in str(refused.value)
        assert "version" in str(refused.value)
        assert len(wfo.processes()) == 1

    def test_a_stale_version_does_not_hide_the_other_errors(self, wfo: Session, shelf_id: UUID) -> None:
        (row,) = wfo.subscriptions()
        given = {"subscription_id": str(shelf_id), "version": row.version + 1, "width": 5, "wdith": 50}
        assert self.refusal(wfo, "modify_shelf", given).keys() == {"version", "width", "wdith"}

    def test_an_unknown_subscription_tells_that_the_rest_was_not_checked(self, wfo: Session) -> None:
        with pytest.raises(InputError) as refused:
            wfo.run("modify_shelf", {"subscription_id": str(uuid4()), "width": 5})
        assert refused.value.stopped
        assert [error.path for error in refused.value.errors] == ["subscription_id"]


class TestTheFormCommand:
    """`orchestrator-dagster form` prints pages and a run config to fill in."""

    @pytest.fixture
    def module(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        name = f"shelves_{uuid4().hex}"
        code = f"from {__name__} import ORCHESTRATOR as orchestrator\n"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    def form(self, module: str, *arguments: object) -> str:
        result = CliRunner().invoke(main, ["form", *map(str, arguments), "-m", module])
        assert result.exit_code == 0, result.output
        return result.output

    def test_the_output_is_yaml_and_valid_once_filled_in(self, wfo: Session, module: str) -> None:
        printed = self.form(module, "create_shelf")
        config = yaml.safe_load(printed)
        assert config == {"product": None}
        for words in ("Oak shelf", "Pine shelf", "width", "int", "at least 10", "at most 200"):
            assert words in printed
        process = wfo.run("create_shelf", config | {"product": "Oak shelf"})
        assert process.status == "completed"

    def test_the_default_lines_are_valid_once_uncommented(self, wfo: Session, module: str) -> None:
        printed = self.form(module, "create_shelf").replace("# width:", "width:")
        config = yaml.safe_load(printed)
        assert config.keys() == {"product", "width"}
        assert wfo.run("create_shelf", config | {"product": "Oak shelf"}).status == "completed"

    def test_what_is_known_already_leads_to_the_pages_that_follow(
        self, wfo: Session, module: str, tmp_path: Path
    ) -> None:
        shelf_id = wfo.run("create_shelf", {"product": "Pine shelf", "width": 33}).subscription_id
        without = self.form(module, "modify_shelf")
        assert yaml.safe_load(without) == {"subscription_id": None}
        known = tmp_path / "known.yaml"
        known.write_text(yaml.safe_dump({"subscription_id": str(shelf_id)}))
        printed = self.form(module, "modify_shelf", "--input", known)
        assert yaml.safe_load(printed) == {"subscription_id": str(shelf_id)}
        assert "33" in printed
        assert wfo.run("modify_shelf", yaml.safe_load(printed)).status == "completed"

    def test_what_is_wrong_with_the_input_is_said(self, wfo: Session, module: str, tmp_path: Path) -> None:
        known = tmp_path / "known.yaml"
        known.write_text(yaml.safe_dump({"product": "Oak shelf", "width": 5, "colour": "blue"}))
        printed = self.form(module, "create_shelf", "--input", known)
        assert yaml.safe_load(printed).keys() <= {"product", "width"}
        assert "colour" in printed
        assert "greater than or equal to 10" in printed

    def test_nothing_is_started(self, wfo: Session, module: str) -> None:
        self.form(module, "create_shelf")
        assert wfo.processes() == wfo.subscriptions() == []

    def test_an_unknown_workflow_is_an_error_with_the_known_ones(self, wfo: Session, module: str) -> None:
        result = CliRunner().invoke(main, ["form", "create_shlef", "-m", module])
        assert result.exit_code != 0
        assert "create_shelf" in result.output

    @pytest.mark.parametrize(
        ("form", "known", "missing"),
        [
            pytest.param(None, {}, {}, id="no form"),
            pytest.param(three_pages, {}, {"customer_id": "acme", "site": "Oslo", "month": 3}, id="three pages"),
            pytest.param(three_pages, {"pages": [{}]}, {"customer_id": "acme", "site": "Oslo", "month": 3}, id="paged"),
            pytest.param(TestPagesThatShareFields.two_sites, {}, {"site": "Oslo"}, id="shared fields"),
            pytest.param(
                TestPagesThatShareFields.links,
                {"pages": [{"count": 2}, {"port": "a"}]},
                {"port": "b"},
                id="repeating pages",
            ),
        ],
    )
    def test_the_run_config_of_any_form_is_valid_once_filled_in(
        self,
        orchestrator_database: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        form: Any,
        known: dict[str, Any],
        missing: dict[str, Any],
    ) -> None:
        orchestrator = Orchestrator([], workflows=[with_form(form)])
        printed = self.form(self.module_with(orchestrator, tmp_path, monkeypatch), "ask", *self.given(known, tmp_path))
        config = yaml.safe_load(printed)
        pages = config.get("pages", [config])
        for page in pages:
            page.update({key: missing[key] for key, value in page.items() if value is None})
        with orchestrator.connect() as session:
            assert session.run("ask", config).status == "completed"

    @staticmethod
    def module_with(orchestrator: Orchestrator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        name = f"asking_{uuid4().hex}"
        (folder / f"{name}.py").write_text(f"from {__name__} import ASKING as orchestrator\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setitem(globals(), "ASKING", orchestrator)
        return name

    @staticmethod
    def given(known: dict[str, Any], folder: Path) -> list[object]:
        file = folder / "known.yaml"
        file.write_text(yaml.safe_dump(known))
        return ["--input", file] if known else []

    def test_values_with_odd_characters_survive(
        self, orchestrator_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class OddPage(FormPage):
            text: str = 'a "quoted": # text\nwith — lines'
            yes: str = "yes"
            number: str = "007"
            mapping: dict[str, Any] = {"a: b": [None, True, 1.5]}

        orchestrator = Orchestrator([], workflows=[with_form(OddPage)])
        name = self.module_with(orchestrator, tmp_path, monkeypatch)
        defaults = OddPage().model_dump()
        printed = self.form(name, "ask")
        uncommented = "\n".join(
            line.removeprefix("# ") if line.removeprefix("# ").split(":")[0].strip("'\"") in defaults else line
            for line in printed.splitlines()
        )
        assert yaml.safe_load(uncommented) == defaults
        assert yaml.safe_load(self.form(name, "ask", *self.given(defaults, tmp_path))) == defaults


class TestHowDagsterSeesIt:
    def test_input_of_any_shape_reaches_the_forms_own_check(self, wfo: Session) -> None:
        for given in ({"product": {"deep": [1]}}, {"product": None}, {"pages": "none"}, {"a": {"b": {"c": None}}}):
            with pytest.raises(InputError):
                wfo.run("create_shelf", given)
        assert wfo.processes() == []

    def test_the_targets_say_which_page_comes_first(self) -> None:
        assert create_shelf.target is Target.CREATE
        assert modify_shelf.target is Target.MODIFY
