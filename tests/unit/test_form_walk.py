"""Answering a form from input that was given all at once."""

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_forms.validators import Choice, Label, choice_list, read_only_field

from orchestrator_dagster import FormGenerator, FormPage, RefusalError
from orchestrator_dagster.forms import walk


class NamePage(FormPage):
    name: Annotated[str, Field(pattern="^[a-z]+$")]
    site: str = "Amsterdam"


class AddressPage(FormPage):
    address: IPv4Address


def two_pages() -> FormGenerator:
    named = yield NamePage
    addressed = yield AddressPage
    return named.model_dump() | addressed.model_dump()


def problems(form: Any, given: dict[str, Any]) -> dict[str, str]:
    return {error.path: error.msg for error in walk(form, given).errors}


def test_the_fields_of_all_pages_may_stand_side_by_side() -> None:
    walked = walk(two_pages, {"name": "ams", "address": "10.0.0.1"})
    assert walked.valid
    assert walked.result == {"name": "ams", "site": "Amsterdam", "address": IPv4Address("10.0.0.1")}


def test_the_input_may_be_given_page_by_page() -> None:
    assert walk(two_pages, {"pages": [{"name": "ams"}, {"address": "10.0.0.1"}]}).valid


def test_fields_of_the_first_page_may_stand_beside_the_pages() -> None:
    assert walk(two_pages, {"name": "ams", "pages": [{"address": "10.0.0.1"}]}).valid


def test_the_errors_of_all_pages_come_together() -> None:
    assert problems(two_pages, {"name": "AMS", "address": "300.0.0.1"}).keys() == {"name", "address"}


def test_an_error_in_a_page_is_found_by_the_page_s_number() -> None:
    assert problems(two_pages, {"pages": [{"name": "AMS"}, {}]}).keys() == {"pages.0.name", "pages.1.address"}


def test_a_key_that_no_page_takes_is_an_error_with_the_name_it_may_have_meant() -> None:
    message = problems(two_pages, {"name": "ams", "adress": "10.0.0.1"})["adress"]
    assert message == "is not a field of the form; did you mean address?"


def test_a_page_too_many_is_an_error() -> None:
    pages = [{"name": "ams"}, {"address": "10.0.0.1"}, {}]
    assert problems(two_pages, {"pages": pages}) == {"pages.2": "is one too many: the form has 2 pages with this input"}


def test_a_page_that_is_no_mapping_is_an_error() -> None:
    assert problems(two_pages, {"pages": ["ams", {"address": "10.0.0.1"}]}) == {
        "pages.0": "must be a mapping of fields"
    }


def test_a_page_of_any_model_refuses_keys_it_does_not_know() -> None:
    class Plain(BaseModel):
        name: str

    assert problems(Plain, {"pages": [{"name": "ams", "colour": "blue"}]}).keys() == {"pages.0.colour"}


def test_a_field_on_two_pages_is_given_page_by_page() -> None:
    def repeated() -> FormGenerator:
        first = yield NamePage
        second = yield NamePage
        return {"names": [first.name, second.name]}

    walked = walk(repeated, {"name": "ams"})
    assert "`pages:" in walked.errors[0].msg
    assert walked.stopped == "Checking stopped at page 2, NamePage"
    assert walk(repeated, {"pages": [{"name": "ams"}, {"name": "utr"}]}).result == {"names": ["ams", "utr"]}


def test_a_form_that_never_ends_is_stopped() -> None:
    class Empty(FormPage):
        pass

    def endless() -> FormGenerator:
        while True:
            yield Empty

    stopped = walk(endless, {}).stopped
    assert stopped is not None
    assert "does not end" in stopped


def test_fields_that_are_valid_reach_the_form_converted_even_where_others_of_their_page_are_not() -> None:
    class Mixed(FormPage):
        count: int
        name: Annotated[str, Field(max_length=3)]

    seen: list[object] = []

    def form() -> FormGenerator:
        mixed = yield Mixed
        seen.append(mixed.count)
        return {}

    assert problems(form, {"count": "3", "name": "too long"}).keys() == {"name"}
    assert seen == [3]


def test_where_a_form_cannot_go_on_with_wrong_values_it_says_what_was_not_checked() -> None:
    def form() -> FormGenerator:
        named = yield NamePage
        if named.name[0] == "a":
            yield AddressPage
        return {}

    walked = walk(form, {"name": 3, "address": "300.0.0.1"})
    assert [error.path for error in walked.errors] == ["name"]
    assert walked.stopped is not None
    assert walked.stopped.startswith("Checking stopped after page 1, NamePage: TypeError")
    assert walked.stopped.endswith("not checked: address")


def test_a_form_that_fails_on_valid_input_refuses_and_says_where() -> None:
    def form() -> Iterator[type[FormPage]]:
        yield NamePage
        raise KeyError("rack")

    with pytest.raises(RefusalError, match="The form failed after page 1: KeyError: 'rack'"):
        walk(form, {"name": "ams"})


def test_a_rule_over_several_fields_is_reported_with_the_page() -> None:
    class Range(FormPage):
        model_config = ConfigDict(title="Range of VLANs")
        first: int
        last: int

        @model_validator(mode="after")
        def in_order(self) -> "Range":
            if self.first > self.last:
                raise ValueError("first must not be after last")
            return self

    assert problems(Range, {"first": 3, "last": 2}) == {"Range": "first must not be after last"}


def test_a_field_s_path_leads_into_lists_and_nested_models() -> None:
    class End(BaseModel):
        vlan: Annotated[int, Field(le=4094)]

    class Ends(FormPage):
        ends: list[End]

    assert problems(Ends, {"ends": [{"vlan": 1}, {"vlan": 5000}]}).keys() == {"ends.1.vlan"}


def test_a_field_may_be_given_by_its_alias() -> None:
    class Aliased(FormPage):
        site: str = Field(alias="siteName")

    assert walk(Aliased, {"siteName": "Amsterdam"}).result == {"site": "Amsterdam"}


def test_a_validator_that_fails_with_something_else_than_an_error_of_the_value_is_named() -> None:
    class Picky(FormPage):
        name: str

        @field_validator("name")
        @classmethod
        def look(cls, name: str) -> str:
            return name.missing  # type: ignore[attr-defined, no-any-return]

    with pytest.raises(RefusalError, match="The form failed at page 1, Picky: AttributeError"):
        walk(Picky, {"name": "ams"})


def test_display_fields_and_choices_of_pydantic_forms_work() -> None:
    speed = Choice("Speed", {"10000": ("10000", "10 Gbit/s"), "100000": ("100000", "100 Gbit/s")})  # type: ignore[call-overload]

    class Page(FormPage):
        heading: Label = "Where"  # type: ignore[assignment]
        speed_choice: speed  # type: ignore[valid-type]
        speeds: choice_list(speed, min_items=1)  # type: ignore[valid-type]
        vendor: read_only_field("Cisco")  # type: ignore[valid-type]

    walked = walk(Page, {"speed_choice": "10000", "speeds": ["100000"]})
    assert walked.errors == []
    assert walked.result["vendor"] == "Cisco"
    assert problems(Page, {"speed_choice": "1", "speeds": []}).keys() == {"speed_choice", "speeds"}
