"""A workflow that asks for secrets, uses them, and has a step that fails with one of them in its error."""

import hashlib
import os
import sys
from pathlib import Path

import dagster as dg
from pydantic import BaseModel, SecretStr

from orchestrator_dagster import (
    Assignee,
    FormGenerator,
    FormPage,
    Orchestrator,
    State,
    StepList,
    begin,
    inputstep,
    step,
    task,
)
from orchestrator_dagster.errors import ProcessFailureError


class Account(BaseModel):
    name: str
    password: SecretStr


def log_in_form() -> FormGenerator:
    class LogInPage(FormPage):
        site: str
        password: SecretStr
        community: SecretStr = SecretStr("by-default-public")

    class AccountsPage(FormPage):
        accounts: list[Account] = []

    log_in = yield LogInPage
    accounts = yield AccountsPage
    return log_in.model_dump() | accounts.model_dump()


def digest(secret: SecretStr) -> str:
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()


@step("Log in")
def log_in(site: str, password: SecretStr, community: SecretStr, accounts: list[Account]) -> State:
    sys.stderr.write(f"Logging in at {site} with {password}\n")
    return {
        "password": password,
        "logged_in": digest(password),
        "accounts": accounts,
        "session": SecretStr(f"s-{site}"),
    }


@inputstep("Ask for the token", assignee=Assignee.NOC)
def ask_for_token() -> FormGenerator:
    class TokenPage(FormPage):
        token: SecretStr
        remark: str

    answer = yield TokenPage
    return answer.model_dump()


@step("Use the token")
def use_token(token: SecretStr, password: SecretStr) -> State:
    if Path(os.environ["FAIL_WHILE_THERE"]).exists():
        try:
            raise ConnectionError(f"https://ada:{password.get_secret_value()}@router refused")
        except ConnectionError as error:
            clear = token.get_secret_value()
            raise ProcessFailureError(f"the token {clear} is not known", {"tokens": [clear]}) from error
    return {"used": digest(token)}


@task("Log in somewhere", initial_input_form=log_in_form)
def log_in_somewhere() -> StepList:
    return begin >> log_in >> ask_for_token >> use_token


def failing_form() -> FormGenerator:
    class PasswordPage(FormPage):
        password: SecretStr

    answer = yield PasswordPage
    raise RuntimeError(f"{answer.password.get_secret_value()} is no good")


@task("Fail to ask", initial_input_form=failing_form)
def fail_to_ask() -> StepList:
    return begin


orchestrator = Orchestrator(products=[], workflows=[log_in_somewhere, fail_to_ask])
defs: dg.Definitions = orchestrator.definitions()
