"""Secrets in JSON, in the parameters of steps and in forms, and the key that they are encrypted with."""

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr, field_serializer, field_validator

from orchestrator_dagster.cli import main
from orchestrator_dagster.domain.difference import difference
from orchestrator_dagster.domain.secret import (
    MASK,
    hiding,
    is_sealed,
    noting_secrets,
    same_input,
    seal,
    sealed,
    unsealed,
)
from orchestrator_dagster.domain.secret_key import KEY_FILE, KEY_VARIABLE, decrypt, encrypt, new_key
from orchestrator_dagster.errors import ConfigurationError, InjectionError, InputError, RefusalError
from orchestrator_dagster.forms.describe import describe_fields, form_schema
from orchestrator_dagster.forms.page import FormPage
from orchestrator_dagster.forms.secret_fields import remove_at
from orchestrator_dagster.forms.secret_mentions import may_ask_for_secrets
from orchestrator_dagster.forms.walk import walk
from orchestrator_dagster.ops.injection import Ambient, Signature
from orchestrator_dagster.ops.transaction import as_state

CLEAR = "correct horse"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in the environment."""
    key = new_key()
    monkeypatch.setenv(KEY_VARIABLE, key)
    return key


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home, and no key in the environment."""
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


class Login(BaseModel):
    user: str
    password: SecretStr


@dataclass
class Badge:
    pin: SecretStr


class Revealing(BaseModel):
    password: SecretStr

    @field_serializer("password", when_used="json")
    def show(self, password: SecretStr) -> str:
        return password.get_secret_value()


def filled(function: Callable[..., Any], state: dict[str, Any]) -> dict[str, Any]:
    return Signature(function).arguments(state, Ambient())


@pytest.mark.parametrize(
    "value",
    [
        SecretStr(CLEAR),
        SecretBytes(CLEAR.encode()),
        {"deep": [{"password": SecretStr(CLEAR)}]},
        (SecretStr(CLEAR), 1),
        {SecretStr(CLEAR)},
        Login(user="ada", password=SecretStr(CLEAR)),
        [Badge(SecretStr(CLEAR))],
        Revealing(password=SecretStr(CLEAR)),
    ],
    ids=["text", "bytes", "nested", "tuple", "set", "model", "dataclass", "model that shows it"],
)
def test_a_secret_is_sealed_wherever_it_is(value: Any) -> None:
    written = json.dumps(sealed(value))
    assert CLEAR not in written
    assert MASK not in written
    assert "__secret__" in written


def test_all_but_the_secrets_is_written_as_before() -> None:
    data = sealed({"login": Login(user="ada", password=SecretStr(CLEAR)), "vlans": (1, 2)})
    assert is_sealed(data["login"].pop("password"))
    assert data == {"login": {"user": "ada"}, "vlans": [1, 2]}


@pytest.mark.parametrize(
    "secret", [SecretStr(CLEAR), SecretBytes(b"\xff\x00"), SecretStr("")], ids=["text", "bytes", "empty"]
)
def test_what_is_unsealed_is_what_was_sealed(secret: SecretStr | SecretBytes) -> None:
    assert unsealed(json.loads(json.dumps(sealed({"a": [secret]})))) == {"a": [secret]}


def test_an_unsealed_secret_that_is_returned_changes_nothing() -> None:
    state = sealed({"password": SecretStr(CLEAR), "login": Login(user="ada", password=SecretStr(CLEAR))})

    def step(password: SecretStr, login: Login) -> None: ...

    assert difference(state, as_state(filled(step, state), of="step")).keys == ()


def test_a_secret_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"'pin' what cannot be stored.*SecretStr and SecretBytes can"):
        as_state({"pin": Secret[int](1234)}, of="step")


def test_a_text_that_looks_like_a_hidden_secret_stays_what_it_is() -> None:
    assert sealed({"stars": MASK}) == {"stars": MASK}


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        (SecretStr, SecretStr(CLEAR), SecretStr(CLEAR)),
        (SecretStr | None, SecretStr(CLEAR), SecretStr(CLEAR)),
        (SecretStr | None, None, None),
        (SecretBytes, SecretBytes(b"x"), SecretBytes(b"x")),
        (list[SecretStr], [SecretStr(CLEAR)], [SecretStr(CLEAR)]),
        (Annotated[SecretStr, Field(min_length=3)], SecretStr(CLEAR), SecretStr(CLEAR)),
        (Login, {"user": "ada", "password": SecretStr(CLEAR)}, Login(user="ada", password=SecretStr(CLEAR))),
        (dict, {"password": SecretStr(CLEAR)}, {"password": SecretStr(CLEAR)}),
        (Any, SecretStr(CLEAR), SecretStr(CLEAR)),
    ],
    ids=str,
)
def test_a_parameter_gets_the_secret_back(annotation: Any, given: Any, expected: Any) -> None:
    def step(password): ...  # type: ignore[no-untyped-def]

    step.__annotations__["password"] = annotation
    assert filled(step, sealed({"password": given})) == {"password": expected}


@pytest.mark.parametrize("annotation", [str, int, list[str]], ids=str)
def test_a_parameter_that_is_not_for_secrets_says_so(annotation: Any) -> None:
    def step(password): ...  # type: ignore[no-untyped-def]

    step.__annotations__["password"] = annotation
    value = [SecretStr(CLEAR)] if annotation == list[str] else SecretStr(CLEAR)
    with pytest.raises(InjectionError, match="What is secret comes as SecretStr: annotate it so") as raised:
        filled(step, sealed({"password": value}))
    assert CLEAR not in str(raised.value)


def test_the_state_as_a_whole_has_the_markers() -> None:
    def step(state: dict[str, Any]) -> None: ...

    state = sealed({"password": SecretStr(CLEAR)})
    assert filled(step, state) == {"state": state}


def test_a_conversion_that_fails_with_the_secret_in_its_text_does_not_show_it() -> None:
    class Strict(BaseModel):
        password: SecretStr

        @field_validator("password")
        @classmethod
        def check(cls, password: SecretStr) -> SecretStr:
            raise ValueError(f"{password.get_secret_value()} is too simple")

    def step(login: Strict) -> None: ...

    with pytest.raises(InjectionError, match=r"\*{10} is too simple") as raised:
        filled(step, sealed({"login": {"password": SecretStr(CLEAR)}}))
    assert CLEAR not in f"{raised.value} {raised.value.__cause__}"


def test_what_was_unsealed_is_noted_to_be_hidden() -> None:
    state = sealed({"password": SecretStr(CLEAR)})
    with noting_secrets() as met:
        unsealed(state)
    assert hiding(met).json({"error": [f"login as ada/{CLEAR}"], CLEAR: 1}) == {
        "error": [f"login as ada/{MASK}"],
        MASK: 1,
    }


def test_an_error_that_would_show_a_secret_is_no_cause() -> None:
    hide = hiding(SecretStr(CLEAR))
    harmless, telling = ValueError("no route"), ValueError("no route")
    telling.__context__ = KeyError(CLEAR)
    assert hide.cause(harmless) is harmless
    assert hide.cause(telling) is None


def test_what_is_very_short_is_not_hidden() -> None:
    assert hiding(SecretStr("12")).text("12 apples") == "12 apples"


def test_an_answer_is_the_same_however_its_secret_is_given() -> None:
    given = {"user": "ada", "password": CLEAR}
    one, other = (sealed({"user": "ada", "password": SecretStr(CLEAR)}) for _ in range(2))
    assert one != other
    assert same_input(one, other)
    assert same_input(one, given)
    assert not same_input(one, {"user": "ada", "password": "another"})


def test_the_newest_key_encrypts_and_all_of_them_decrypt(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token, newer = encrypt(b"old"), new_key()
    monkeypatch.setenv(KEY_VARIABLE, f"{newer}, {key}")
    assert decrypt(token) == b"old"
    later = encrypt(b"new")
    monkeypatch.setenv(KEY_VARIABLE, newer)
    assert decrypt(later) == b"new"


def test_without_the_key_that_it_was_encrypted_with_a_secret_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    marker = seal(SecretStr(CLEAR))
    monkeypatch.setenv(KEY_VARIABLE, new_key())

    def step(password: SecretStr) -> None: ...

    with pytest.raises(InjectionError, match=f"another key than {KEY_VARIABLE} has"):
        filled(step, {"password": marker})


def test_what_is_no_key_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "almost-a-key")
    with pytest.raises(ConfigurationError, match="new-key") as raised:
        encrypt(b"")
    assert "almost-a-key" not in str(raised.value)


def test_without_a_place_for_a_key_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with pytest.raises(ConfigurationError, match=f"set {KEY_VARIABLE}.*or set DAGSTER_HOME"):
        encrypt(b"")


def test_a_dagster_home_gets_a_key_that_only_its_owner_can_read(home: Path) -> None:
    assert decrypt(encrypt(b"secret")) == b"secret"
    assert stat.S_IMODE((home / KEY_FILE).stat().st_mode) == 0o600
    assert [file.name for file in home.iterdir()] == [KEY_FILE]


def test_many_that_need_a_key_at_once_agree_on_one(home: Path) -> None:
    code = "from orchestrator_dagster.domain.secret_key import encrypt; print(encrypt(b'x'))"
    with ThreadPoolExecutor() as pool:
        run = partial(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True)
        tokens = [finished.stdout.strip() for finished in pool.map(lambda _: run(), range(4))]
    assert [decrypt(token) for token in tokens] == [b"x"] * 4


def test_to_read_a_secret_makes_no_key(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="no key: set"):
        decrypt("gAAAA")
    assert not list(home.iterdir())


def test_a_step_without_secrets_does_not_load_the_cipher() -> None:
    code = (
        "import sys; from orchestrator_dagster.ops.transaction import as_state; as_state({'a': 1}, of='x');"
        "print('cryptography' in sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout == "False\n"


class LoginPage(FormPage):
    user: str = "admin"
    password: SecretStr = Field(SecretStr("default-password"), min_length=8)


class AccountsPage(FormPage):
    accounts: list[Login]


def test_a_field_takes_a_marker_or_the_name_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTER_PASSWORD", CLEAR)
    for given in (seal(SecretStr(CLEAR)), {"env": "ROUTER_PASSWORD"}):
        walked = walk(LoginPage, {"password": given})
        assert walked.valid
        assert walked.result["password"] == SecretStr(CLEAR)
        assert walked.in_clear == []
        assert walked.sealed({"password": given}) == {"password": given}


def test_bytes_are_had_from_a_marker_of_a_text() -> None:
    class Page(FormPage):
        token: SecretBytes

    walked = walk(Page, {"token": seal(SecretStr(CLEAR))})
    assert walked.result == {"token": SecretBytes(CLEAR.encode())}


@pytest.mark.parametrize(
    ("form", "given", "path"),
    [
        (LoginPage, {"password": CLEAR}, ("password",)),
        (AccountsPage, {"accounts": [{"user": "ada", "password": CLEAR}]}, ("accounts",)),
        (LoginPage, {"pages": [{"password": CLEAR}]}, ("pages", 0, "password")),
    ],
    ids=["field", "inside of a list", "page by page"],
)
def test_what_was_given_in_clear_is_sealed_before_it_is_stored(form: Any, given: Any, path: Any) -> None:
    walked = walk(form, given)
    assert walked.valid
    assert walked.in_clear == [path]
    kept = walked.sealed(given)
    assert CLEAR not in json.dumps(kept)
    again = walk(form, kept)
    assert again.result == walked.result
    assert again.in_clear == []
    with pytest.raises(InputError, match=r"given in clear.*orchestrator-dagster secret"):
        walked.require_no_clear_secrets("make_node")


def test_a_marker_inside_of_a_field_is_not_in_clear() -> None:
    walked = walk(AccountsPage, {"accounts": [{"user": "ada", "password": seal(SecretStr(CLEAR))}]})
    assert walked.valid
    assert walked.in_clear == []


def test_a_validator_may_make_another_secret_of_one_that_was_sealed() -> None:
    class Page(FormPage):
        password: SecretStr

        @field_validator("password")
        @classmethod
        def strip(cls, password: SecretStr) -> SecretStr:
            return SecretStr(password.get_secret_value().strip())

    assert walk(Page, {"password": seal(SecretStr(f" {CLEAR} "))}).in_clear == []
    assert walk(Page, {"password": f" {CLEAR} "}).in_clear == [("password",)]


def test_on_a_page_that_is_not_valid_any_text_of_a_secret_field_counts_as_clear() -> None:
    walked = walk(LoginPage, {"password": "short"})
    assert [(error.path, error.type) for error in walked.errors] == [("password", "too_short")]
    assert walked.in_clear == [("password",)]


def test_a_variable_that_is_not_set_is_an_error_of_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUTER_PASSWORD", raising=False)
    (error,) = walk(LoginPage, {"password": {"env": "ROUTER_PASSWORD"}}).errors
    assert (error.path, error.msg) == (
        "password",
        "There is no environment variable ROUTER_PASSWORD where the form is checked",
    )


def test_what_was_removed_is_not_taken_for_an_answer() -> None:
    given = {"user": "ada", "password": CLEAR, "accounts": [{"password": CLEAR}], "count": 3}
    kept = remove_at(given, [("password",), ("accounts",)])
    assert CLEAR not in json.dumps(kept)
    assert (kept["user"], kept["count"]) == ("ada", 3)
    (error,) = walk(LoginPage, {"password": kept["password"]}).errors
    assert error.msg == "was given in clear, and was removed. Give it again"


def test_the_errors_of_a_form_do_not_show_secrets() -> None:
    class Telling(FormPage):
        password: SecretStr
        repeated: SecretStr

        @field_validator("password")
        @classmethod
        def check(cls, password: SecretStr) -> SecretStr:
            raise ValueError(f"{password.get_secret_value()} is too simple")

    walked = walk(Telling, {"password": CLEAR, "repeated": [CLEAR]})
    assert {error.path for error in walked.errors} == {"password", "repeated"}
    assert CLEAR not in str(walked.errors)


@pytest.mark.parametrize("given", [CLEAR, SecretStr(CLEAR)], ids=["in clear", "sealed"])
def test_a_form_that_fails_does_not_show_the_secrets_of_its_pages(given: Any) -> None:
    def form() -> Any:
        answer = yield LoginPage
        raise RuntimeError(f"cannot log in with {answer.password.get_secret_value()}")

    with pytest.raises(RefusalError, match=r"cannot log in with \*{10}") as raised:
        walk(form, sealed({"password": given}))
    assert raised.value.__cause__ is None


def test_a_secret_field_is_described_as_one_and_its_default_is_not_told() -> None:
    fields = {field.name: field for field in describe_fields(LoginPage)}
    assert fields["password"].default is None
    assert not fields["password"].required
    assert "orchestrator-dagster secret" in fields["password"].text
    schema = form_schema(LoginPage)["properties"]["password"]
    assert (schema["format"], schema["writeOnly"], "default" in schema) == ("password", True, False)


def _page_from_elsewhere() -> type[BaseModel]:
    return LoginPage


def test_a_form_may_ask_for_secrets_if_its_code_or_its_pages_mention_any() -> None:
    def with_page() -> Any:
        yield LoginPage

    def with_own_page() -> Any:
        class Page(FormPage):
            password: SecretStr

        yield Page

    def by_way_of_another() -> Any:
        yield _page_from_elsewhere()

    def without() -> Any:
        class Page(FormPage):
            vlan: int

        yield Page

    asking = [LoginPage, AccountsPage, with_page, with_own_page, by_way_of_another, partial(with_page)]
    assert all(map(may_ask_for_secrets, asking))
    assert not may_ask_for_secrets(without)


def test_the_command_prints_what_to_write_instead_of_a_secret() -> None:
    finished = CliRunner().invoke(main, ["secret"], input=f"{CLEAR}\n")
    assert CLEAR not in finished.output
    assert unsealed(json.loads(finished.output)) == SecretStr(CLEAR)


def test_the_command_makes_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, CliRunner().invoke(main, ["secret", "new-key"]).output)
    assert decrypt(encrypt(b"x")) == b"x"
