"""A step starts another process and waits for it: what the two have of each other, and what becomes of both."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    AuthContext,
    FormPage,
    NotAuthorizedError,
    Orchestrator,
    Process,
    Product,
    ProductBlockModel,
    RefusalError,
    Session,
    StartConditionError,
    State,
    StepList,
    SubscriptionLifecycle,
    SubscriptionModel,
    SubscriptionOutOfSyncError,
    begin,
    create_workflow,
    inputstep,
    modify_workflow,
    no_uncompleted_instance,
    reconcile_workflow,
    run_workflow,
    step,
    task,
    validate_workflow,
)
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.engine_settings import pause_engine, resume_engine
from orchestrator_dagster.db.families import lineage
from orchestrator_dagster.domain.process import Assignee
from orchestrator_dagster.jobs.child import MOST_ANCESTORS, start_child


class SiteBlock(ProductBlockModel, product_block_name="Child site"):
    racks: int = 0


class Site(SubscriptionModel, is_base=True):
    site: SiteBlock


class HostBlock(ProductBlockModel, product_block_name="Child host"):
    site: SiteBlock | None = None
    cores: int = 1


class Host(SubscriptionModel, is_base=True):
    host: HostBlock


broken: set[str] = set()


class SitePage(FormPage):
    site_id: UUID


class CoresPage(FormPage):
    cores: int


class NumberPage(FormPage):
    number: int


@step("Construct site")
def construct_site(product: UUID) -> State:
    return {"subscription": Site.from_product_id(product, "acme", status=SubscriptionLifecycle.INITIAL)}


@step("Construct host")
def construct_host(product: UUID, site_id: UUID) -> State:
    subscription = Host.from_product_id(product, "acme")
    subscription.host.site = Site.from_subscription(site_id).site
    return {"subscription": subscription}


@step("Set cores")
def set_cores(subscription: Host, cores: int, workflow_name: str) -> State:
    if workflow_name in broken:
        raise RuntimeError("no such machine")
    subscription.host.cores = cores
    return {"subscription": subscription}


@step("Double")
def double(number: int) -> State:
    return {"doubled": 2 * number}


@inputstep("Confirm", assignee=Assignee.NOC)
def confirm() -> type[FormPage]:
    return NumberPage


@create_workflow("Create site")
def create_site() -> StepList:
    return begin >> construct_site


@create_workflow("Create host", initial_input_form=SitePage)
def create_host() -> StepList:
    return begin >> construct_host


@modify_workflow("Resize host", initial_input_form=CoresPage)
def resize_host() -> StepList:
    return begin >> set_cores


def host_input(host_id: str, cores: int) -> State:
    return {"subscription_id": host_id, "cores": cores}


class ResizePage(FormPage):
    host_id: UUID
    cores: int


@modify_workflow("Refit site", initial_input_form=ResizePage)
def refit_site() -> StepList:
    return begin >> run_workflow("resize_host", host_input, result_key="resized")


@modify_workflow("Hire a host", initial_input_form=None)
def hire_host() -> StepList:
    return begin >> run_workflow("create_host", lambda subscription_id: {"product": "Host", "site_id": subscription_id})


@modify_workflow("Work on itself")
def rework_site() -> StepList:
    return begin >> run_workflow("reconcile_site", lambda subscription_id: {"subscription_id": subscription_id})


@validate_workflow("Validate site")
def validate_site() -> StepList:
    return begin >> run_workflow("reconcile_site", lambda subscription_id: {"subscription_id": subscription_id})


@reconcile_workflow("Reconcile site")
def reconcile_site() -> StepList:
    return begin


@task("Double", NumberPage)
def double_number() -> StepList:
    return begin >> double


@task("Have it doubled", NumberPage)
def have_doubled() -> StepList:
    return begin >> run_workflow("double_number", lambda number: {"number": number}, result_key="answer")


@task("Have something doubled that is no number")
def have_nonsense_doubled() -> StepList:
    return begin >> run_workflow("double_number", {"number": "nonsense", "colour": "red"})


@task("Ask a person")
def ask() -> StepList:
    return begin >> confirm


@task("Have a person asked")
def have_asked() -> StepList:
    return begin >> run_workflow("ask", {})


@task("Have somebody have a person asked")
def have_had_asked() -> StepList:
    return begin >> run_workflow("have_asked", {})


@task("Start itself")
def echo() -> StepList:
    return begin >> run_workflow("echo", {})


@task("Alone", run_predicate=no_uncompleted_instance)
def alone() -> StepList:
    return begin >> run_workflow("alone", {})


def nobody(_: AuthContext) -> bool:
    return False


@task("For nobody", authorize_callback=nobody)
def for_nobody() -> StepList:
    return begin


@task("Want the impossible")
def want_for_nobody() -> StepList:
    return begin >> run_workflow("for_nobody", {})


ON_SITES = [create_site, refit_site, hire_host, rework_site, validate_site, reconcile_site]
TASKS = [double_number, have_doubled, have_nonsense_doubled, ask, have_asked, have_had_asked]
ORCHESTRATOR = Orchestrator(
    [Product("Site", Site, workflows=ON_SITES), Product("Host", Host, workflows=[create_host, resize_host])],
    workflows=[*TASKS, echo, alone, for_nobody, want_for_nobody],
)


@pytest.fixture
def wfo(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
    broken.clear()
    with dg.DagsterInstance.ephemeral() as instance, ORCHESTRATOR.connect(instance=instance, user="ada") as session:
        yield session


@pytest.fixture
def module_engine(module_database_url: str) -> Engine:
    return engine_for(module_database_url)


@pytest.fixture
def site_id(wfo: Session) -> UUID:
    return wfo.run("create_site", {"product": "Site"}).subscription_id


@pytest.fixture
def host_id(wfo: Session, site_id: UUID) -> UUID:
    """A host that uses the site."""
    return wfo.run("create_host", {"product": "Host", "site_id": str(site_id)}).subscription_id


def child_of(process: Process) -> Process:
    (child,) = process.children
    return child


class TestItGoesWell:
    def test_the_parent_goes_on_with_what_came_of_its_child(self, wfo: Session) -> None:
        parent = wfo.run("have_doubled", {"number": 21})
        child = child_of(parent)
        assert (parent.status, child.status, child.workflow) == ("completed", "completed", "double_number")
        assert parent.state["answer"]["doubled"] == 42
        assert parent.state["answer"]["process_id"] == str(child.process_id)
        assert child.created_by == "ada"

    def test_a_child_that_waits_lets_its_parent_wait(self, wfo: Session) -> None:
        parent = wfo.run("have_asked")
        child = child_of(parent)
        assert (parent.status, child.status) == ("waiting", "suspended")
        wfo.resume(child.process_id, {"number": 1})
        assert [wfo.process(each.process_id).status for each in (parent, child)] == ["completed", "completed"]

    def test_a_failed_child_can_be_retried_and_its_parent_goes_on(self, wfo: Session, host_id: UUID) -> None:
        site_id = wfo.depends_on(host_id)[0].subscription_id
        broken.add("resize_host")
        parent = wfo.run("refit_site", {"subscription_id": str(site_id), "host_id": str(host_id), "cores": 8})
        child = child_of(parent)
        assert (parent.status, child.status) == ("waiting", "failed")
        broken.clear()
        wfo.retry(child.process_id)
        assert wfo.process(parent.process_id).status == "completed"
        assert Host.from_subscription(host_id).host.cores == 8

    def test_while_the_engine_is_paused_a_child_waits_in_the_queue(self, wfo: Session, module_engine: Engine) -> None:
        parent = wfo.run("have_asked")
        with module_engine.begin() as connection:
            pause_engine(connection, "ada", "cable cut")
            child_id = start_child(
                connection, double_number, {"number": 1}, parent_process_id=parent.process_id, user="ada"
            )
        assert wfo.go_on() == []
        assert wfo.process(child_id).status == "created"
        with module_engine.begin() as connection:
            resume_engine(connection, "ada")
        wfo.go_on()
        assert wfo.process(child_id).status == "completed"


class TestWhatTheChildMayWorkOn:
    def test_what_its_parent_holds_locks_no_relation(self, wfo: Session, site_id: UUID, host_id: UUID) -> None:
        parent = wfo.run("refit_site", {"subscription_id": str(site_id), "host_id": str(host_id), "cores": 4})
        assert (parent.status, Host.from_subscription(host_id).host.cores) == ("completed", 4)
        assert parent.state["resized"]["subscription_id"] == str(host_id)

    def test_it_may_use_what_its_parent_holds(self, wfo: Session, site_id: UUID) -> None:
        parent = wfo.run("hire_host", {"subscription_id": str(site_id)})
        assert parent.status == "completed"
        assert len(wfo.in_use_by(site_id)) == 1

    def test_what_another_process_holds_locks_it_all_the_same(
        self, wfo: Session, site_id: UUID, host_id: UUID, module_engine: Engine
    ) -> None:
        parent = wfo.run("have_asked")
        broken.add("resize_host")
        wfo.run("refit_site", {"subscription_id": str(site_id), "host_id": str(host_id), "cores": 4})
        given = {"subscription_id": str(host_id), "cores": 2}
        with module_engine.connect() as connection, pytest.raises(StartConditionError, match="is held by process"):
            start_child(connection, resize_host, given, parent_process_id=parent.process_id, user="ada")

    @pytest.mark.parametrize("name", ["rework_site", "validate_site"])
    def test_the_subscription_that_its_parent_holds_is_not_its_own(
        self, wfo: Session, site_id: UUID, name: str
    ) -> None:
        parent = wfo.run(name, {"subscription_id": str(site_id)})
        assert parent.status == "failed"
        assert (
            f"is held by process {parent.process_id}, which starts this one and keeps what it holds until this one"
            in parent.failed_reason
        )

    def test_the_refusal_says_that_it_can_never_go_well(
        self, wfo: Session, site_id: UUID, module_engine: Engine
    ) -> None:
        parent = wfo.run("rework_site", {"subscription_id": str(site_id)})
        given = {"subscription_id": str(site_id)}
        with module_engine.connect() as connection, pytest.raises(SubscriptionOutOfSyncError) as refused:
            start_child(connection, reconcile_site, given, parent_process_id=parent.process_id, user="ada")
        assert (refused.value.held_by, refused.value.waits_for_it) == (parent.process_id, True)


class TestItIsNotStarted:
    def test_wrong_input_fails_the_parents_step_with_every_field(self, wfo: Session) -> None:
        parent = wfo.run("have_nonsense_doubled")
        assert parent.status == "failed"
        assert "The input of double_number is not valid" in parent.failed_reason
        assert "number: " in parent.failed_reason
        assert "colour: " in parent.failed_reason
        assert len(wfo.processes(workflow="double_number", status="created")) == 0

    def test_its_run_predicate_counts(self, wfo: Session) -> None:
        parent = wfo.run("alone")
        assert (parent.status, "a process that is not finished" in parent.failed_reason) == ("failed", True)
        parent.abort("enough")

    def test_who_may_start_it_counts(self, wfo: Session) -> None:
        parent = wfo.run("want_for_nobody")
        assert (parent.status, parent.failed_reason) == ("failed", "ada is not authorized to start for_nobody")

    def test_nobody_sees_it_before_its_parents_step_has_ended(self, wfo: Session, module_engine: Engine) -> None:
        parent = wfo.run("have_asked")
        with module_engine.connect() as connection:
            child_id = start_child(
                connection, double_number, {"number": 1}, parent_process_id=parent.process_id, user="ada"
            )
            assert lineage(connection, child_id) == (child_id, parent.process_id)
            connection.rollback()
            assert lineage(connection, child_id) == ()

    def test_a_refusal_leaves_the_parents_transaction_as_it_was(self, wfo: Session, module_engine: Engine) -> None:
        parent = wfo.run("have_asked")
        with module_engine.begin() as connection:
            connection.execute(text("CREATE TEMP TABLE done_before (x int) ON COMMIT DROP"))
            with pytest.raises(NotAuthorizedError):
                start_child(connection, for_nobody, {}, parent_process_id=parent.process_id, user="ada")
            with pytest.raises(RefusalError):
                start_child(connection, double_number, {}, parent_process_id=parent.process_id, user="ada")
            assert connection.execute(text("SELECT count(*) FROM done_before")).scalar_one() == 0

    def test_a_workflow_that_starts_itself_comes_to_an_end(self, wfo: Session) -> None:
        wfo.run("echo")
        processes = wfo.processes(workflow="echo")
        statuses = [process.status for process in processes]
        assert sorted(statuses) == ["failed", *["waiting"] * MOST_ANCESTORS]
        (deepest,) = [process for process in processes if process.status == "failed"]
        assert f"is part of {MOST_ANCESTORS} others" in deepest.failed_reason


class TestTheParentIsAborted:
    def test_its_children_and_theirs_are_aborted_as_well(self, wfo: Session) -> None:
        parent = wfo.run("have_had_asked")
        child = child_of(parent)
        grandchild = child_of(child)
        parent.abort("wrong customer")
        wfo.go_on()
        ended = [wfo.process(each.process_id) for each in (parent, child, grandchild)]
        assert [process.status for process in ended] == ["aborted"] * 3
        reasons = [process.failed_reason or "" for process in ended]
        assert reasons[0] == "wrong customer"
        assert reasons[1] == f"Process {parent.process_id}, which started this one, is aborted: wrong customer"
        assert str(child.process_id) in reasons[2]

    def test_children_that_have_ended_stay_as_they_are(self, wfo: Session, module_engine: Engine) -> None:
        parent = wfo.run("have_asked")
        with module_engine.begin() as connection:
            done = start_child(
                connection, double_number, {"number": 1}, parent_process_id=parent.process_id, user="ada"
            )
        wfo.go_on()
        parent.abort("wrong customer")
        wfo.go_on()
        assert wfo.process(done).status == "completed"

    def test_a_child_that_is_aborted_fails_its_parents_step(self, wfo: Session) -> None:
        parent = wfo.run("have_asked")
        child_of(parent).abort("not needed")
        wfo.go_on()
        failed: Any = wfo.process(parent.process_id)
        assert (failed.status, "not needed" in failed.failed_reason) == ("failed", True)
