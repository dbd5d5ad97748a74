"""The schema of the database and the code that expects it."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest import NewDatabase
from sqlalchemy import Engine, NullPool, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateSchema

from orchestrator_dagster.db import migrate
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrations.scope import context_options
from orchestrator_dagster.db.tables import SCHEMA, metadata
from orchestrator_dagster.errors import ConfigurationError

# What the server itself makes of the declarations, comments included
DEFINITIONS = text("""
    SELECT 'constraint' AS kind, conrelid::regclass::text AS relation, conname AS name,
           pg_get_constraintdef(oid) AS definition
    FROM pg_constraint
    WHERE connamespace = 'orchestrator'::regnamespace
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef
    FROM pg_indexes
    WHERE schemaname = 'orchestrator'
    UNION ALL
    SELECT 'column', relation.relname, attribute.attname,
           concat_ws(' ', format_type(attribute.atttypid, attribute.atttypmod), attribute.attnotnull,
                     attribute.attidentity, pg_get_expr(preset.adbin, preset.adrelid),
                     col_description(relation.oid, attribute.attnum))
    FROM pg_attribute AS attribute
    JOIN pg_class AS relation ON relation.oid = attribute.attrelid AND relation.relkind = 'r'
    LEFT JOIN pg_attrdef AS preset ON preset.adrelid = relation.oid AND preset.adnum = attribute.attnum
    WHERE relation.relnamespace = 'orchestrator'::regnamespace AND attribute.attnum > 0
""")


FUNCTIONS_AND_VIEWS = text("""
    SELECT proname FROM pg_proc WHERE pronamespace = 'orchestrator'::regnamespace
    UNION ALL
    SELECT viewname FROM pg_views WHERE schemaname = 'orchestrator'
""")


A_PROCESS = text("""
    WITH talk AS (
        INSERT INTO orchestrator.workflows (name, target, description) VALUES ('talk', 'SYSTEM', '')
        RETURNING workflow_id
    )
    INSERT INTO orchestrator.processes (process_id, workflow_id, is_task, last_status, run_id, plan)
    SELECT gen_random_uuid(), workflow_id, false, 'running', 'a run', '[]' FROM talk
""")


@pytest.fixture
def empty(new_database: NewDatabase) -> Engine:
    """A database without anything of ours."""
    return engine_for(new_database())


@pytest.fixture
def other(new_database: NewDatabase) -> Engine:
    """A second database without anything of ours."""
    return engine_for(new_database())


def definitions(engine: Engine) -> set[tuple[Any, ...]]:
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(DEFINITIONS) if "schema_revision" not in row.relation}


def tables_in(engine: Engine, schema: str) -> set[str]:
    with engine.connect() as connection:
        names = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = :schema"), {"schema": schema}
        )
        return set(names)


def test_migrations_make_what_the_tables_module_says(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={**context_options(), "compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_indexes_and_defaults_agree_on_the_server(engine: Engine, empty: Engine) -> None:
    """Alembic does not compare check constraints, nor the conditions of indexes."""
    with empty.begin() as connection:
        connection.execute(CreateSchema(SCHEMA))
        metadata.create_all(connection)
    migrated, declared = definitions(engine), definitions(empty)
    assert migrated - declared == set()
    assert declared - migrated == set()


def test_a_new_database_is_brought_to_the_newest_revision(empty: Engine) -> None:
    assert migrate.current_revision(empty) is None
    assert not migrate.is_current(empty)
    migrate.upgrade(empty)
    assert migrate.current_revision(empty) == migrate.newest_revision()
    assert migrate.is_current(empty)
    migrate.require_current(empty)


def test_the_revision_that_the_code_needs_is_the_newest_there_is() -> None:
    config = Config()
    config.set_main_option("script_location", "orchestrator_dagster.db:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.newest_revision()]


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    before = definitions(engine)
    migrate.upgrade(engine)
    assert definitions(engine) == before


def test_the_engine_settings_are_one_row_from_the_start(engine: Engine) -> None:
    with engine.begin() as connection:
        assert connection.execute(text("SELECT * FROM orchestrator.engine_settings")).all() == [
            (True, False, None, None, None)
        ]
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("INSERT INTO orchestrator.engine_settings DEFAULT VALUES"))


def test_what_is_in_the_schema_public_is_left_alone(empty: Engine) -> None:
    """Dagster keeps its tables there, and an `alembic_version` of its own."""
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE public.alembic_version (version_num text)"))
        connection.execute(text("INSERT INTO public.alembic_version VALUES ('dagster')"))
        connection.execute(text("CREATE TABLE public.runs (id int)"))
    migrate.upgrade(empty)
    assert tables_in(empty, "public") == {"alembic_version", "runs"}
    with empty.connect() as connection:
        assert connection.scalars(text("SELECT version_num FROM public.alembic_version")).all() == ["dagster"]
    migrate.downgrade(empty, "base")
    assert tables_in(empty, "public") == {"alembic_version", "runs"}


def test_a_role_called_like_our_schema_still_finds_its_tables_in_public(empty: Engine) -> None:
    """Postgres looks in the schema of the role's name first; the role of Dagster may well be `orchestrator`."""
    with empty.begin() as connection:
        if connection.scalar(text("SELECT current_user")) != SCHEMA:
            pytest.skip("the server's role has another name")
        connection.execute(text("CREATE TABLE runs (id int)"))
    migrate.upgrade(empty)
    dagster = create_engine(empty.url, poolclass=NullPool)
    with dagster.begin() as connection:
        assert inspect(connection).get_table_names() == ["runs"]
        connection.execute(text("CREATE TABLE event_logs (id int)"))
    assert tables_in(empty, "public") == {"runs", "event_logs"}


def test_a_downgrade_takes_everything_away_and_the_next_upgrade_brings_it_back(engine: Engine) -> None:
    before = definitions(engine)
    migrate.downgrade(engine, "base")
    assert tables_in(engine, SCHEMA) == {"schema_revision"}
    with engine.connect() as connection:
        assert connection.scalars(FUNCTIONS_AND_VIEWS).all() == []
    migrate.upgrade(engine)
    assert definitions(engine) == before


def test_of_the_unused_tokens_of_a_process_the_newest_is_kept(engine: Engine) -> None:
    migrate.downgrade(engine, "0006")
    with engine.begin() as connection:
        connection.execute(A_PROCESS)
        connection.execute(
            text("""
                INSERT INTO orchestrator.resume_tokens (process_id, created_by, created_at, used_by_run)
                SELECT process_id, token.*
                FROM orchestrator.processes,
                     (VALUES ('used', TIMESTAMPTZ '2026-01-01', 'a run'), ('old', '2026-01-01', NULL),
                             ('new', '2026-01-02', NULL), ('older', '2025-01-01', NULL))
                         AS token (created_by, created_at, used_by_run)
            """)
        )
    migrate.upgrade(engine)
    with engine.connect() as connection:
        left = connection.scalars(text("SELECT created_by FROM orchestrator.resume_tokens"))
        assert set(left) == {"used", "new"}


def test_a_downgrade_below_waits_lets_waiting_processes_fail_and_keeps_all_rounds_of_the_log(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(A_PROCESS)
        connection.execute(text("UPDATE orchestrator.processes SET last_status = 'suspended'"))
        connection.execute(
            text("""
                INSERT INTO orchestrator.process_steps (process_id, step, attempt, round, name, status, run_id,
                                                        created_by, changes, started_at, completed_at)
                SELECT process_id, 'call', round, round, 'Call', 'success', 'a run', 'me', '{}', now(), now()
                FROM orchestrator.processes, generate_series(1, 3) AS round
            """)
        )
    migrate.downgrade(engine, "0006")
    with engine.connect() as connection:
        status, reason = connection.execute(text("SELECT last_status, failed_reason FROM orchestrator.processes")).one()
        steps = connection.scalars(text("SELECT step FROM orchestrator.process_steps ORDER BY step_id"))
        assert steps.all() == ["call#1", "call#2", "call"]
    assert (status, reason) == ("failed", "It was suspended when the database went back to revision 0006")
    migrate.upgrade(engine)


def test_two_that_upgrade_at_once_both_succeed(empty: Engine) -> None:
    failures: list[BaseException] = []
    ready = threading.Barrier(4)

    def upgrade() -> None:
        ready.wait()
        try:
            migrate.upgrade(empty)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert migrate.is_current(empty)


def test_an_upgrade_that_is_killed_half_way_leaves_nothing_behind(empty: Engine) -> None:
    killed_after_a_few_tables = """
import os, signal, sys
from sqlalchemy import event
from orchestrator_dagster.db.engine import engine_for
from orchestrator_dagster.db.migrate import upgrade

engine = engine_for(sys.argv[1])

@event.listens_for(engine, "after_cursor_execute")
def kill(connection, cursor, statement, *_):
    if "CREATE TABLE orchestrator.subscriptions" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

upgrade(engine)
"""
    url = empty.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", killed_after_a_few_tables, url], check=False)
    assert killed.returncode == -9
    assert tables_in(empty, SCHEMA) == set()
    migrate.upgrade(empty)
    assert migrate.is_current(empty)


def test_a_database_without_tables_is_refused_with_the_command_to_run(empty: Engine) -> None:
    with pytest.raises(ConfigurationError, match=r"no tables yet\. Run `orchestrator-dagster db upgrade`"):
        migrate.require_current(empty)


def test_a_database_that_is_ahead_of_the_code_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE orchestrator.schema_revision SET version_num = '9999'"))
    for refused in (migrate.require_current, migrate.upgrade):
        with pytest.raises(ConfigurationError, match="ahead of the code: it is at revision 9999"):
            refused(engine)


def test_revisions_depend_on_nothing_that_may_change() -> None:
    """What a revision wrote, it can read whatever becomes of the package."""
    folder = Path(migrate.__file__).with_name("migrations") / "versions"
    files = [file for file in folder.glob("r*.py") if "orchestrator_dagster" in file.read_text()]
    assert files == []


def test_the_package_takes_its_revisions_along() -> None:
    folder = Path(migrate.__file__).with_name("migrations")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in (".py", ".mako")}
    versions = {"versions/__init__.py", "versions/r0001_first_tables.py", "versions/r0002_edits_in_the_step_log.py"}
    assert {"env.py", "script.py.mako", *versions} <= names
