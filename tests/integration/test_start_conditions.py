"""When a workflow may start on a subscription, what the refusal names, and that nothing of it is left behind."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    TARGET_DEFAULT_USABLE_MAP,
    WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS,
    WF_BLOCKED_BY_PARENTS,
    WF_USABLE_MAP,
    WF_USABLE_WHILE_OUT_OF_SYNC,
    FormPage,
    Orchestrator,
    Process,
    Product,
    ProductBlockModel,
    RelationsOutOfSyncError,
    Session,
    StartConditionError,
    State,
    StepList,
    SubscriptionInUseError,
    SubscriptionLifecycle,
    SubscriptionModel,
    SubscriptionOutOfSyncError,
    SubscriptionStatusError,
    Target,
    begin,
    create_workflow,
    done,
    init,
    modify_workflow,
    reconcile_workflow,
    set_status,
    step,
    terminate_workflow,
    validate_workflow,
    workflow,
)


class RackBlockInactive(ProductBlockModel, product_block_name="Start rack"):
    units: int | None = None


class RackBlock(RackBlockInactive, lifecycle=[SubscriptionLifecycle.ACTIVE]):
    units: int


class RackInactive(SubscriptionModel, is_base=True):
    rack: RackBlockInactive


class RackProvisioning(RackInactive, lifecycle=[SubscriptionLifecycle.PROVISIONING]):
    """As it was before."""


class Rack(RackProvisioning, lifecycle=[SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.DISABLED]):
    rack: RackBlock


class ServerBlock(ProductBlockModel, product_block_name="Start server"):
    rack: RackBlockInactive | None = None


class Server(SubscriptionModel, is_base=True):
    server: ServerBlock


broken: set[str] = set()
"""The workflows whose own step fails."""


@step("Work")
def work(workflow_name: str) -> None:
    if workflow_name in broken:
        raise RuntimeError(f"{workflow_name} is broken")


@step("Construct rack")
def construct_rack(product: UUID) -> State:
    subscription = RackInactive.from_product_id(product, "acme")
    subscription.rack.units = 42
    return {"subscription": subscription}


class RackPage(FormPage):
    rack_id: UUID


@step("Construct server")
def construct_server(product: UUID, rack_id: UUID) -> State:
    subscription = Server.from_product_id(product, "acme", description="Server in rack")
    subscription.server.rack = Rack.from_subscription(rack_id).rack
    return {"subscription": subscription}


@create_workflow("Create rack")
def create_rack() -> StepList:
    return begin >> construct_rack >> work


@create_workflow("Provision rack", status=SubscriptionLifecycle.PROVISIONING)
def provision_rack() -> StepList:
    return begin >> construct_rack


@modify_workflow("Modify rack")
def modify_rack() -> StepList:
    return begin >> work


@modify_workflow("Disable rack")
def disable_rack() -> StepList:
    return begin >> set_status(SubscriptionLifecycle.DISABLED)


@workflow("Note", target=Target.MODIFY)
def modify_note() -> StepList:
    return init >> work >> done


@terminate_workflow("Terminate rack")
def terminate_rack() -> StepList:
    return begin >> work


@validate_workflow("Validate rack")
def validate_rack() -> StepList:
    return begin >> work


@reconcile_workflow("Reconcile rack")
def reconcile_rack() -> StepList:
    return begin >> work


@create_workflow("Create server", initial_input_form=RackPage)
def create_server() -> StepList:
    return begin >> construct_server


@modify_workflow("Modify server")
def modify_server() -> StepList:
    return begin >> work


@terminate_workflow("Terminate server")
def terminate_server() -> StepList:
    return begin


ON_RACKS = [modify_rack, disable_rack, modify_note, terminate_rack, validate_rack, reconcile_rack]
ON_SERVERS = [create_server, modify_server, terminate_server]
ORCHESTRATOR = Orchestrator(
    products=[
        Product("Rack", Rack, workflows=[create_rack, provision_rack, *ON_RACKS]),
        Product("Server", Server, workflows=ON_SERVERS),
    ]
)


@pytest.fixture
def wfo(module_database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", module_database_url)
    broken.clear()
    with dg.DagsterInstance.ephemeral() as instance, ORCHESTRATOR.connect(instance=instance) as session:
        yield session


@pytest.fixture
def rack_id(wfo: Session) -> UUID:
    return wfo.run("create_rack", {"product": "Rack"}).subscription_id


@pytest.fixture
def server_id(wfo: Session, rack_id: UUID) -> UUID:
    """A server that uses the rack."""
    return wfo.run("create_server", {"product": "Server", "rack_id": str(rack_id)}).subscription_id


def run(wfo: Session, name: str, subscription_id: UUID) -> Process:
    return wfo.run(name, {"subscription_id": str(subscription_id)})


def fail(wfo: Session, name: str, subscription_id: UUID) -> Process:
    """Leave a failed process of the workflow on the subscription."""
    broken.add(name)
    process = run(wfo, name, subscription_id)
    assert process.status == "failed"
    broken.remove(name)
    return process


def put_out_of_sync(subscription_id: UUID) -> None:
    subscription = SubscriptionModel.from_subscription(subscription_id)
    subscription.insync = False
    subscription.save()


def everything(engine: Engine) -> dict[str, list[Any]]:
    """Return all rows that a start could change."""
    tables = [
        "processes",
        "process_runs",
        "process_inputs",
        "process_steps",
        "processes_subscriptions",
        "subscriptions",
        "subscription_versions",
        "subscription_instances",
    ]
    with engine.connect() as connection:
        statement = "SELECT * FROM orchestrator.{0} ORDER BY {0}::text"
        return {table: list(connection.execute(text(statement.format(table))).all()) for table in tables}


def refusal(wfo: Session, name: str, subscription_id: UUID) -> StartConditionError:
    """Return why the workflow is refused, and make sure that nothing of it is left behind."""
    engine = wfo.orchestrator.database.engine
    before = everything(engine)
    with pytest.raises(StartConditionError) as refused:
        run(wfo, name, subscription_id)
    assert everything(engine) == before
    assert refused.value.workflow == name
    assert refused.value.subscription_id == subscription_id
    assert str(subscription_id) in str(refused.value)
    return refused.value


def row(wfo: Session, subscription_id: UUID) -> Any:
    return next(found for found in wfo.subscriptions() if found.subscription_id == subscription_id)


class TestInSync:
    @pytest.mark.parametrize("name", ["modify_rack", "terminate_rack", "disable_rack"])
    def test_a_subscription_out_of_sync_is_not_worked_on(self, wfo: Session, rack_id: UUID, name: str) -> None:
        put_out_of_sync(rack_id)
        refused = refusal(wfo, name, rack_id)
        assert isinstance(refused, SubscriptionOutOfSyncError)
        assert refused.reason == "subscription.not_in_sync"
        assert "out of sync" in str(refused)

    @pytest.mark.parametrize("name", ["validate_rack", "reconcile_rack"])
    def test_validation_and_reconciliation_are_exempt_and_put_it_in_sync(
        self, wfo: Session, rack_id: UUID, name: str
    ) -> None:
        put_out_of_sync(rack_id)
        assert run(wfo, name, rack_id).status == "completed"
        assert row(wfo, rack_id).insync

    def test_a_note_may_be_written_on_a_subscription_out_of_sync(self, wfo: Session, rack_id: UUID) -> None:
        assert "modify_note" in WF_USABLE_WHILE_OUT_OF_SYNC
        put_out_of_sync(rack_id)
        assert run(wfo, "modify_note", rack_id).status == "completed"
        assert not row(wfo, rack_id).insync

    def test_an_installation_may_exempt_a_workflow(
        self, wfo: Session, rack_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put_out_of_sync(rack_id)
        WF_USABLE_WHILE_OUT_OF_SYNC.append("terminate_rack")
        monkeypatch.setitem(WF_USABLE_MAP, "terminate_rack", [SubscriptionLifecycle.PROVISIONING])
        try:
            # exempt from being in sync only: the status still counts
            assert isinstance(refusal(wfo, "terminate_rack", rack_id), SubscriptionStatusError)
        finally:
            WF_USABLE_WHILE_OUT_OF_SYNC.remove("terminate_rack")


class TestHeldBy:
    """One process at a time on a subscription, whatever it is for."""

    @pytest.mark.parametrize(
        "name", ["modify_rack", "terminate_rack", "disable_rack", "validate_rack", "reconcile_rack"]
    )
    def test_what_a_failed_process_holds_is_refused_to_every_other_and_the_process_is_named(
        self, wfo: Session, rack_id: UUID, name: str
    ) -> None:
        holder = fail(wfo, "modify_rack", rack_id)
        assert row(wfo, rack_id).held_by == holder.process_id
        refused = refusal(wfo, name, rack_id)
        assert isinstance(refused, SubscriptionOutOfSyncError)
        assert refused.held_by == holder.process_id
        assert str(holder.process_id) in str(refused)

    @pytest.mark.parametrize("name", ["modify_rack", "terminate_rack"])
    def test_what_a_failed_validation_holds_is_refused_to_what_changes_it(
        self, wfo: Session, rack_id: UUID, name: str
    ) -> None:
        holder = fail(wfo, "validate_rack", rack_id)
        assert (row(wfo, rack_id).insync, row(wfo, rack_id).held_by) == (False, holder.process_id)
        assert str(holder.process_id) in str(refusal(wfo, name, rack_id))

    @pytest.mark.parametrize("name", ["validate_rack", "reconcile_rack"])
    def test_a_failed_validation_gives_way_to_the_next_one_and_to_reconciliation(
        self, wfo: Session, rack_id: UUID, name: str
    ) -> None:
        failed = fail(wfo, "validate_rack", rack_id)
        assert run(wfo, name, rack_id).status == "completed"
        assert (row(wfo, rack_id).insync, row(wfo, rack_id).held_by) == (True, None)
        assert failed.refresh().status.ended, "it can do no more"
        with pytest.raises(ValueError, match=str(failed.process_id)):
            failed.retry()

    def test_a_note_takes_no_hold_and_needs_none(self, wfo: Session, rack_id: UUID) -> None:
        holder = fail(wfo, "modify_rack", rack_id)
        assert run(wfo, "modify_note", rack_id).status == "completed"
        assert row(wfo, rack_id).held_by == holder.process_id
        assert holder.retry().status == "completed"

    def test_a_failed_note_is_in_nobodys_way(self, wfo: Session, rack_id: UUID) -> None:
        fail(wfo, "modify_note", rack_id)
        assert row(wfo, rack_id).held_by is None
        assert run(wfo, "modify_rack", rack_id).status == "completed"

    def test_a_process_that_ended_lets_go(self, wfo: Session, rack_id: UUID) -> None:
        for _ in range(2):
            assert run(wfo, "modify_rack", rack_id).status == "completed"
            assert (row(wfo, rack_id).insync, row(wfo, rack_id).held_by) == (True, None)

    def test_a_process_that_goes_on_to_its_end_lets_go(self, wfo: Session, rack_id: UUID) -> None:
        holder = fail(wfo, "modify_rack", rack_id)
        assert holder.retry().status == "completed"
        assert row(wfo, rack_id).held_by is None
        assert run(wfo, "terminate_rack", rack_id).status == "completed"

    def test_a_failed_create_holds_what_it_made(self, wfo: Session) -> None:
        broken.add("create_rack")
        failed = wfo.run("create_rack", {"product": "Rack"})
        assert failed.status == "failed"
        assert row(wfo, failed.subscription_id).held_by == failed.process_id
        assert str(failed.process_id) in str(refusal(wfo, "validate_rack", failed.subscription_id))
        broken.clear()
        assert failed.retry().status == "completed"
        assert row(wfo, failed.subscription_id).held_by is None

    def test_a_subscription_is_held_while_a_process_works_on_it(
        self, wfo: Session, rack_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[Any] = []

        class Watched(set[str]):
            def __contains__(self, name: object) -> bool:
                seen.append((row(wfo, rack_id).insync, row(wfo, rack_id).held_by))
                return False

        monkeypatch.setitem(globals(), "broken", Watched())
        process = run(wfo, "validate_rack", rack_id)
        assert seen == [(False, process.process_id)]

    def test_a_launch_is_refused_before_anything_is_launched(self, wfo: Session, rack_id: UUID) -> None:
        holder = fail(wfo, "modify_rack", rack_id)
        runs = len(wfo.instance.get_runs())
        with pytest.raises(StartConditionError, match=str(holder.process_id)):
            wfo.launch("modify_rack", {"subscription_id": str(rack_id)})
        assert len(wfo.instance.get_runs()) == runs


class TestRelations:
    def test_what_uses_a_subscription_out_of_sync_is_not_worked_on(
        self, wfo: Session, rack_id: UUID, server_id: UUID
    ) -> None:
        put_out_of_sync(rack_id)
        refused = refusal(wfo, "modify_server", server_id)
        assert isinstance(refused, RelationsOutOfSyncError)
        assert refused.reason == "subscription.relations_not_in_sync"
        assert [related.subscription_id for related in refused.locked_relations] == [rack_id]
        assert str(rack_id) in str(refused)

    def test_what_a_subscription_out_of_sync_uses_is_not_worked_on(
        self, wfo: Session, rack_id: UUID, server_id: UUID
    ) -> None:
        put_out_of_sync(server_id)
        refused = refusal(wfo, "modify_rack", rack_id)
        assert isinstance(refused, RelationsOutOfSyncError)
        assert str(server_id) in str(refused)

    def test_a_relation_that_a_process_works_on_counts_too(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        fail(wfo, "modify_server", server_id)
        assert str(server_id) in str(refusal(wfo, "modify_rack", rack_id))

    def test_terminated_relations_count_too(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        run(wfo, "terminate_server", server_id)
        put_out_of_sync(server_id)
        assert isinstance(refusal(wfo, "modify_rack", rack_id), RelationsOutOfSyncError)

    @pytest.mark.parametrize("name", ["validate_rack", "reconcile_rack", "modify_note"])
    def test_the_same_workflows_are_exempt(self, wfo: Session, rack_id: UUID, server_id: UUID, name: str) -> None:
        put_out_of_sync(server_id)
        assert run(wfo, name, rack_id).status == "completed"

    def test_relations_in_sync_are_in_nobodys_way(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        assert run(wfo, "modify_rack", rack_id).status == "completed"
        assert run(wfo, "modify_server", server_id).status == "completed"

    def test_its_own_state_is_named_before_that_of_its_relations(
        self, wfo: Session, rack_id: UUID, server_id: UUID
    ) -> None:
        put_out_of_sync(rack_id)
        put_out_of_sync(server_id)
        assert isinstance(refusal(wfo, "modify_rack", rack_id), SubscriptionOutOfSyncError)


class TestStatus:
    @pytest.fixture
    def provisioned_id(self, wfo: Session) -> UUID:
        return wfo.run("provision_rack", {"product": "Rack"}).subscription_id

    @pytest.mark.parametrize("name", ["modify_rack", "validate_rack", "reconcile_rack"])
    def test_only_active_subscriptions_are_worked_on(self, wfo: Session, provisioned_id: UUID, name: str) -> None:
        refused = refusal(wfo, name, provisioned_id)
        assert isinstance(refused, SubscriptionStatusError)
        assert refused.reason == "subscription.no_modify_invalid_status"
        assert (refused.status, list(refused.usable_when)) == ("provisioning", ["active"])
        assert "provisioning" in str(refused)
        assert "active" in str(refused)

    def test_a_subscription_that_is_provisioned_can_be_terminated(self, wfo: Session, provisioned_id: UUID) -> None:
        assert run(wfo, "terminate_rack", provisioned_id).status == "completed"

    def test_a_terminated_subscription_is_not_worked_on_any_more(self, wfo: Session, rack_id: UUID) -> None:
        run(wfo, "terminate_rack", rack_id)
        for name in ("modify_rack", "terminate_rack", "validate_rack", "reconcile_rack"):
            assert isinstance(refusal(wfo, name, rack_id), SubscriptionStatusError)

    def test_an_installation_may_say_when_a_workflow_is_usable(
        self, wfo: Session, rack_id: UUID, provisioned_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(WF_USABLE_MAP, "modify_rack", [SubscriptionLifecycle.PROVISIONING])
        assert run(wfo, "modify_rack", provisioned_id).status == "completed"
        refused = refusal(wfo, "modify_rack", rack_id)
        assert "provisioning" in str(refused)

    def test_an_installation_may_give_statuses_as_text(
        self, wfo: Session, provisioned_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(WF_USABLE_MAP, "modify_rack", ["provisioning"])
        assert run(wfo, "modify_rack", provisioned_id).status == "completed"

    def test_an_installation_may_change_the_default_of_a_target(
        self, wfo: Session, rack_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(wfo, "disable_rack", rack_id)
        assert isinstance(refusal(wfo, "modify_rack", rack_id), SubscriptionStatusError)
        usable = [SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.DISABLED]
        monkeypatch.setitem(TARGET_DEFAULT_USABLE_MAP, Target.MODIFY, usable)
        assert run(wfo, "modify_rack", rack_id).status == "completed"

    def test_the_defaults_cover_every_target_as_the_reference_has_them(self) -> None:
        active, provisioning = SubscriptionLifecycle.ACTIVE, SubscriptionLifecycle.PROVISIONING
        assert {
            Target.CREATE: [],
            Target.MODIFY: [active],
            Target.TERMINATE: [active, provisioning],
            Target.SYSTEM: [active],
            Target.VALIDATE: [active],
            Target.RECONCILE: [active],
        } == TARGET_DEFAULT_USABLE_MAP
        assert set(TARGET_DEFAULT_USABLE_MAP) == set(Target)


class TestInUse:
    def test_what_others_use_cannot_be_terminated_and_they_are_named(
        self, wfo: Session, rack_id: UUID, server_id: UUID
    ) -> None:
        refused = refusal(wfo, "terminate_rack", rack_id)
        assert isinstance(refused, SubscriptionInUseError)
        assert refused.reason == "subscription.no_modify_subscription_in_use_by_others"
        assert [using.subscription_id for using in refused.unterminated_in_use_by] == [server_id]
        assert str(server_id) in str(refused)
        assert "Server in rack" in str(refused)

    def test_all_that_use_it_are_named(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        second = wfo.run("create_server", {"product": "Server", "rack_id": str(rack_id)}).subscription_id
        refused = refusal(wfo, "terminate_rack", rack_id)
        assert {str(server_id), str(second)} <= set(str(refused).split())

    def test_once_they_are_terminated_it_can_be(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        assert run(wfo, "terminate_server", server_id).status == "completed"
        assert run(wfo, "terminate_rack", rack_id).status == "completed"

    def test_what_uses_others_can_be_terminated(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        assert run(wfo, "terminate_server", server_id).status == "completed"
        assert row(wfo, rack_id).status == "active"

    def test_use_is_in_no_other_workflows_way(self, wfo: Session, rack_id: UUID, server_id: UUID) -> None:
        for name in ("modify_rack", "validate_rack", "reconcile_rack"):
            assert run(wfo, name, rack_id).status == "completed"

    @pytest.mark.parametrize("blocked", [WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS, WF_BLOCKED_BY_PARENTS])
    def test_an_installation_may_block_another_workflow_by_use(
        self,
        wfo: Session,
        rack_id: UUID,
        server_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
        blocked: dict[str, bool],
    ) -> None:
        monkeypatch.setitem(blocked, "modify_rack", True)
        assert str(server_id) in str(refusal(wfo, "modify_rack", rack_id))

    @pytest.mark.parametrize("blocked", [WF_BLOCKED_BY_IN_USE_BY_SUBSCRIPTIONS, WF_BLOCKED_BY_PARENTS])
    def test_an_installation_may_let_a_termination_start_in_spite_of_use(
        self,
        wfo: Session,
        rack_id: UUID,
        server_id: UUID,
        monkeypatch: pytest.MonkeyPatch,
        blocked: dict[str, bool],
    ) -> None:
        monkeypatch.setitem(blocked, "terminate_rack", False)
        started = run(wfo, "terminate_rack", rack_id)
        # it starts; what it may do to the status is for the lifecycle's own safeguard to say
        assert (started.status, [one.name for one in started.steps][-1]) == (
            "failed",
            "Set subscription to 'terminated'",
        )
        assert str(server_id) in (started.failed_reason or "")


class TestWhatIsLeftBehind:
    def test_a_refused_run_stays_in_dagster_with_its_reason(self, wfo: Session, rack_id: UUID) -> None:
        put_out_of_sync(rack_id)
        refusal(wfo, "modify_rack", rack_id)
        last = wfo.instance.get_runs(limit=1)[0]
        assert last.status is dg.DagsterRunStatus.FAILURE
        failures = wfo.instance.all_logs(last.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        assert "out of sync" in str(failures[0].get_dagster_event().event_specific_data)

    def test_a_refused_process_does_not_exist(self, wfo: Session, rack_id: UUID) -> None:
        put_out_of_sync(rack_id)
        refusal(wfo, "modify_rack", rack_id)
        last = wfo.instance.get_runs(limit=1)[0]
        with pytest.raises(LookupError):
            wfo.process(last.run_id)
        with pytest.raises(LookupError):
            wfo.retry(last.run_id)
