"""What starting looks like when code and database go together, and when they do not; what a product's status allows."""

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

import dagster as dg
import pytest
from click.testing import CliRunner, Result
from conftest import CountStatements
from sqlalchemy import Engine, text

from orchestrator_dagster import (
    CatalogueRefusedError,
    ConfigurationError,
    FormPage,
    InputError,
    Orchestrator,
    Product,
    ProductBlockModel,
    ProductLifecycle,
    ProductStatusError,
    Session,
    State,
    Stored,
    SubscriptionModel,
    begin,
    create_workflow,
    modify_workflow,
    reconcile_workflow,
    step,
    terminate_workflow,
    validate_workflow,
)
from orchestrator_dagster.cli.main import main
from orchestrator_dagster.jobs.start import try_start_form
from orchestrator_dagster.sensors.validation import validation_sensor

pytestmark = pytest.mark.usefixtures("orchestrator_database")


class LampBlock(ProductBlockModel, product_block_name="Lamp"):
    watts: int = 40


class Lamp(SubscriptionModel, is_base=True):
    lamp: LampBlock


class BrightLampBlock(ProductBlockModel, product_block_name="Lamp"):
    watts: int = 40
    lumen: Annotated[int, Stored(fill=400)]


class BrightLamp(SubscriptionModel, is_base=True):
    lamp: BrightLampBlock


class DimLampBlock(ProductBlockModel, product_block_name="Lamp"):
    candles: Annotated[int | None, Stored(fill=1)] = None


class DimLamp(SubscriptionModel, is_base=True):
    lamp: DimLampBlock


class LampForm(FormPage):
    customer_id: str = "acme"


@step("Construct lamp")
def construct_lamp(product: UUID, customer_id: str) -> State:
    return {"subscription": Lamp.from_product_id(product, customer_id)}


@step("Look")
def look() -> None: ...


def made(decorator: Any, name: str, *steps: Any) -> Any:
    def function() -> Any:
        found = begin
        for one in steps:
            found = found >> one
        return found

    function.__name__ = name
    return decorator(function)


CREATE = made(create_workflow("Create lamp", initial_input_form=LampForm), "create_lamp", construct_lamp)
MODIFY = made(modify_workflow("Modify lamp"), "modify_lamp", look)
VALIDATE = made(validate_workflow("Validate lamp"), "validate_lamp", look)
RECONCILE = made(reconcile_workflow("Reconcile lamp"), "reconcile_lamp", look)
TERMINATE = made(terminate_workflow("Terminate lamp"), "terminate_lamp", look)
ALL = [CREATE, MODIFY, VALIDATE, RECONCILE, TERMINATE]


def orchestrator(model: type[SubscriptionModel] = Lamp, **changes: Any) -> Orchestrator:
    return Orchestrator([Product("Lamp", model, workflows=ALL, **changes)])


BEFORE = orchestrator()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def lamp_id(instance: dg.DagsterInstance) -> UUID:
    with BEFORE.connect(instance=instance) as wfo:
        return wfo.run("create_lamp", {"product": "Lamp"}).subscription_id


def connect(of: Orchestrator, instance: dg.DagsterInstance) -> Session:
    return of.connect(instance=instance)  # type: ignore[return-value]


class TestStarting:
    def test_a_database_that_is_new_is_filled(self, instance: dg.DagsterInstance) -> None:
        with connect(BEFORE, instance):
            assert not BEFORE.catalogue.plan()
            assert [product.name for product in BEFORE.catalogue.show().products] == ["Lamp"]

    def test_it_takes_one_small_statement_when_all_is_well(
        self, instance: dg.DagsterInstance, engine: Engine, count_statements: CountStatements
    ) -> None:
        with connect(BEFORE, instance):
            pass
        with count_statements(engine) as statements:
            BEFORE.catalogue.check()
            with connect(BEFORE, instance):
                pass
        assert len(statements) == 2

    def test_code_that_the_database_does_not_follow_is_refused_with_the_command_to_run(
        self, instance: dg.DagsterInstance, lamp_id: UUID
    ) -> None:
        bright = orchestrator(BrightLamp)
        told = (
            r"Run `orchestrator-dagster catalogue apply`, which does this:\n  product block Lamp: field lumen: new, int"
        )
        with pytest.raises(ConfigurationError, match=told), connect(bright, instance):
            pass
        bright.catalogue.apply()
        with connect(bright, instance):
            lamp: Any = BrightLamp.from_subscription(lamp_id)
            assert lamp.lamp.lumen == 400

    def test_a_run_and_the_sensor_of_old_code_are_refused_too(
        self, instance: dg.DagsterInstance, lamp_id: UUID, engine: Engine
    ) -> None:
        with connect(BEFORE, instance) as wfo:
            orchestrator(BrightLamp).catalogue.apply(by="ada")
            with pytest.raises(ConfigurationError, match=r"ahead of the code: a newer catalogue was applied .* by ada"):
                BEFORE.job("validate_lamp").execute_in_process(
                    run_config={"subscription_id": str(lamp_id)}, instance=instance
                )
            assert wfo.processes(workflow="validate_lamp") == []
        (sensor,) = [one for one in orchestrator_sensors(BEFORE) if one.name == "validate_subscriptions"]
        context = dg.build_sensor_context(instance=instance, resources={"orchestrator_database": BEFORE.database})
        with pytest.raises(ConfigurationError, match="ahead of the code"):
            sensor.evaluate_tick(context)

    def test_what_does_no_harm_is_a_warning(
        self, instance: dg.DagsterInstance, lamp_id: UUID, caplog: pytest.LogCaptureFixture
    ) -> None:
        retagged = orchestrator(tag="LIGHT")
        with caplog.at_level(logging.WARNING), connect(retagged, instance):
            pass
        assert "product Lamp: tag from '' to 'LIGHT'" in caplog.text
        caplog.clear()
        with caplog.at_level(logging.WARNING), connect(retagged, instance):
            pass
        assert caplog.text == ""


def orchestrator_sensors(of: Orchestrator) -> list[dg.SensorDefinition]:
    return [validation_sensor([of.job("validate_lamp")], timedelta(days=1), of.catalogue)]


class TestTheStatusOfAProduct:
    @pytest.fixture
    def wfo(self, instance: dg.DagsterInstance, lamp_id: UUID) -> Iterator[Session]:
        with connect(BEFORE, instance) as session:
            yield session

    def put(self, engine: Engine, status: ProductLifecycle) -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE orchestrator.products SET status = :status"), {"status": status})

    @pytest.mark.parametrize("status", ProductLifecycle)
    def test_it_says_which_workflows_may_start(
        self, wfo: Session, lamp_id: UUID, engine: Engine, status: ProductLifecycle
    ) -> None:
        self.put(engine, status)
        allowed = {
            ProductLifecycle.ACTIVE: {"create", "modify", "validate", "reconcile", "terminate"},
            ProductLifecycle.PRE_PRODUCTION: {"create", "modify", "validate", "reconcile", "terminate"},
            ProductLifecycle.PHASE_OUT: {"modify", "validate", "reconcile", "terminate"},
            ProductLifecycle.END_OF_LIFE: {"validate", "reconcile", "terminate"},
        }[status]
        for name in ("create", "modify", "validate", "reconcile", "terminate"):
            given = {"product": "Lamp"} if name == "create" else {"subscription_id": str(lamp_id)}
            if name in allowed:
                assert wfo.run(f"{name}_lamp", given).status == "completed"
            elif name == "create":
                with pytest.raises(InputError, match=f"no new subscriptions to this product, which is {status}"):
                    wfo.run("create_lamp", given)
            else:
                with pytest.raises(ProductStatusError, match=r"product Lamp of .* is end of life") as refused:
                    wfo.run(f"{name}_lamp", given)
                assert refused.value.reason == "product.no_workflow_invalid_status"

    def test_the_form_shows_what_can_be_created_and_last_what_is_not_for_sale_yet(
        self, instance: dg.DagsterInstance
    ) -> None:
        statuses = {
            "Early": ProductLifecycle.PRE_PRODUCTION,
            "Late": ProductLifecycle.PHASE_OUT,
            "Normal": ProductLifecycle.ACTIVE,
        }
        lamps = Orchestrator([Product(name, Lamp, workflows=[CREATE], status=one) for name, one in statuses.items()])
        with connect(lamps, instance):
            walked = try_start_form(lamps.database.engine, CREATE, {})
        shown = walked.pages[0].model.model_json_schema()["properties"]["product"]
        assert shown["enum"] == ["Normal", "Early"]
        assert shown["description"] == "Name or id of the product. Not for sale yet (pre production): Early"


class TestTheCommand:
    @pytest.fixture
    def run(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def run(of: Orchestrator, *arguments: str) -> Result:
            monkeypatch.setattr("orchestrator_dagster.cli.catalogue.load_orchestrator", lambda *_: of)
            return CliRunner().invoke(main, ["catalogue", *arguments])

        return run

    def test_a_plan_says_what_apply_does_and_its_exit_code_whether_it_would(self, run: Any, lamp_id: UUID) -> None:
        bright, dim = orchestrator(BrightLamp), orchestrator(DimLamp)
        assert run(BEFORE, "plan").output == "Nothing to do: the database follows the code.\n"
        planned = run(bright, "plan")
        assert (planned.exit_code, run(bright, "plan", "--detailed-exitcode").exit_code) == (0, 2)
        assert f"1 subscription: the value becomes 400 ({lamp_id} Initial subscription of Lamp)" in planned.output
        assert "Deletes data, and needs consent:" in run(dim, "plan").output

    def test_apply_exits_with_1_where_it_refuses_and_says_what_would_help(self, run: Any, lamp_id: UUID) -> None:
        dim = orchestrator(DimLamp)
        refused = run(dim, "apply")
        assert refused.exit_code == 1
        assert "run `orchestrator-dagster catalogue apply --allow-data-loss` if that is right" in refused.output
        (consent,) = json.loads(run(dim, "apply", "--json").output)["consents"]
        assert "field watts: 1 subscription: the values are deleted" in consent
        assert run(dim, "apply", "--allow-data-loss", "--user", "ada").exit_code == 0
        assert run(dim, "apply").output == "Nothing to do: the database follows the code.\n"
        behind = run(BEFORE, "plan")
        assert (behind.exit_code, "The database is ahead of the code" in behind.output) == (1, True)
        assert run(BEFORE, "apply", "--force", "--allow-data-loss").exit_code == 0

    def test_show_prints_what_the_database_has(self, run: Any, lamp_id: UUID) -> None:
        shown = run(BEFORE, "show").output
        for line in (
            "    lamp: Lamp\n",
            "  Lamp\n    watts: int\n",
            "  create_lamp (CREATE): Create lamp\n",
            "Applied 2",
        ):
            assert line in shown
        found = json.loads(run(BEFORE, "show", "--json").output)
        assert found["product_blocks"]["Lamp"]["fields"]["watts"]["types"]["active"] == "int"


def test_a_refusal_has_the_plan(lamp_id: UUID) -> None:
    with pytest.raises(CatalogueRefusedError) as refused:
        orchestrator(DimLamp).catalogue.apply()
    assert len(refused.value.plan.consents) == 1
