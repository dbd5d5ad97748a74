"""Whatever a model declares, and whatever changes in its tree: what was saved to Postgres is what is loaded from it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from generated_models import GeneratedModel, fill, generated_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, Engine, text

from orchestrator_dagster.db.catalogue import following as catalogue
from orchestrator_dagster.db.subscriptions.history import subscription_versions
from orchestrator_dagster.db.subscriptions.repository import PostgresRepository
from orchestrator_dagster.domain.catalogue import CatalogueDeclaration, ProductDeclaration
from orchestrator_dagster.domain.exact import same
from orchestrator_dagster.domain.lifecycle import SubscriptionLifecycle
from orchestrator_dagster.domain.product import ProductModel
from orchestrator_dagster.domain.repository import BlockRecord, SubscriptionRecord, use_repository

OWN, OTHER = UUID(int=100), UUID(int=200)
OWN_BLOCKS = [UUID(int=OWN.int + number) for number in range(1, 6)]
OTHER_BLOCKS = [UUID(int=OTHER.int + number) for number in range(1, 3)]

Links = Mapping[str, Sequence[UUID]]


def links(blocks: Sequence[UUID]) -> st.SearchStrategy[Links]:
    """Draw lists of blocks for two attributes, each block at most once."""
    chosen = st.lists(st.sampled_from(blocks), unique=True, max_size=4)
    return st.tuples(chosen, st.integers(0, 4)).map(
        lambda drawn: {name: ids for name, ids in (("a", drawn[0][: drawn[1]]), ("b", drawn[0][drawn[1] :])) if ids}
    )


blocks_of_own = st.fixed_dictionaries(
    {
        block_id: st.builds(
            BlockRecord,
            subscription_instance_id=st.just(block_id),
            owner_subscription_id=st.just(OWN),
            owner_status=st.just(SubscriptionLifecycle.INITIAL),
            product_block_name=st.sampled_from(["One", "Two"]),
            label=st.sampled_from([None, "label"]),
            values=st.dictionaries(st.sampled_from("xy"), st.sampled_from([None, 1, True, 1.0, [1, 2], [2, 1]])),
            links=links([*OWN_BLOCKS, *OTHER_BLOCKS]),
        )
        for block_id in OWN_BLOCKS
    }
)
trees = st.tuples(links(OWN_BLOCKS), blocks_of_own)
values_of_other = st.tuples(*(st.sampled_from([None, 1, True, 1.0]) for _ in OTHER_BLOCKS))


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction that leaves nothing behind, but meets its deferred constraints."""
    with engine.connect() as connection:
        yield connection
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        connection.rollback()


def reached(roots: Links, blocks: Mapping[UUID, BlockRecord]) -> dict[UUID, BlockRecord]:
    found: dict[UUID, BlockRecord] = {}
    waiting = [block_id for ids in roots.values() for block_id in ids]
    while waiting:
        block_id = waiting.pop()
        if block_id not in found and block_id in blocks:
            found[block_id] = blocks[block_id]
            waiting += [linked for ids in blocks[block_id].links.values() for linked in ids]
    return found


def a_product(connection: Connection) -> ProductModel:
    product_id = connection.scalar(
        text("""INSERT INTO orchestrator.products (name, description, product_type, tag, status)
                VALUES ('Product', 'Product', 'Product', 'PRODUCT', 'active')
                RETURNING product_id""")
    )
    connection.execute(
        text("INSERT INTO orchestrator.product_blocks (name, description, tag) VALUES ('One', '', ''), ('Two', '', '')")
    )
    return PostgresRepository(connection).product(product_id).product


def a_subscription(
    subscription_id: UUID, product: ProductModel, roots: Links, blocks: Mapping[UUID, BlockRecord], version: int
) -> SubscriptionRecord:
    return SubscriptionRecord(
        subscription_id=subscription_id,
        product=product,
        customer_id="acme",
        description="A subscription",
        status=SubscriptionLifecycle.INITIAL,
        insync=False,
        start_date=None,
        end_date=None,
        note=None,
        version=version,
        roots=roots,
        blocks=blocks,
    )


def with_two_foreign_blocks(connection: Connection) -> ProductModel:
    product = a_product(connection)
    PostgresRepository(connection).save_subscription(the_other(product, (None, None), 0))
    return product


def the_other(product: ProductModel, values: tuple[Any, ...], version: int) -> SubscriptionRecord:
    """The subscription of the foreign blocks, each with one value."""
    blocks = {
        block_id: BlockRecord(block_id, OTHER, SubscriptionLifecycle.INITIAL, "One", values={"x": value})
        for block_id, value in zip(OTHER_BLOCKS, values, strict=True)
    }
    return a_subscription(OTHER, product, {"roots": OTHER_BLOCKS}, blocks, version)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(generated=generated_models(), data=st.data())
def test_a_model_comes_back_as_it_was_saved(engine: Engine, generated: GeneratedModel, data: st.DataObject) -> None:
    declaration = ProductDeclaration("Generated", generated.model, "Generated", "Generated", "GENERATED")
    with transaction(engine) as connection, use_repository(PostgresRepository(connection)):
        catalogue.apply(connection, CatalogueDeclaration(products=(declaration,), workflows=()))
        product_id = connection.scalar(text("SELECT product_id FROM orchestrator.products"))
        subscription: Any = generated.model.from_product_id(product_id, "acme")
        fill(data.draw, generated, subscription)
        subscription.save()
        loaded: Any = generated.model.from_subscription(subscription.subscription_id)
        assert same(loaded.root, subscription.root)

        loaded.save()
        assert loaded.version == 1
        again: Any = generated.model.from_subscription(subscription.subscription_id)
        assert same(again, loaded)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(trees, min_size=1, max_size=4))
def test_any_tree_can_become_any_other(engine: Engine, steps: list[tuple[Links, dict[UUID, BlockRecord]]]) -> None:
    """Blocks that come, go, move, and use each other in any way; each save is one version, unless nothing differs."""
    with transaction(engine) as connection:
        product = with_two_foreign_blocks(connection)
        store = PostgresRepository(connection)
        version = 0
        for roots, blocks in steps:
            saved = store.save_subscription(a_subscription(OWN, product, roots, blocks, version))
            loaded = store.load_subscription(OWN)
            own = {key: one for key, one in loaded.blocks.items() if one.owner_subscription_id == OWN}
            assert loaded.roots == roots
            assert repr(sorted(own.items())) == repr(sorted(as_loaded(reached(roots, blocks)).items()))
            assert saved in (version, version + 1)
            assert store.save_subscription(loaded) == saved
            version = saved
        versions = [one.version for one in subscription_versions(connection, OWN)]
        assert versions == list(range(1, version + 1))
        assert store.load_subscription(OTHER).version == 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.tuples(values_of_other, trees), min_size=1, max_size=5))
def test_every_version_of_any_tree_is_shown_again_as_it_was(
    engine: Engine, steps: list[tuple[tuple[Any, ...], tuple[Links, dict[UUID, BlockRecord]]]]
) -> None:
    """With the blocks of another subscription, which changes too; and the history leads to the present."""
    with transaction(engine) as connection:
        product = with_two_foreign_blocks(connection)
        store = PostgresRepository(connection)
        kept: dict[tuple[UUID, int], str] = {}
        version, other_version = 0, 1
        for values, (roots, blocks) in steps:
            other_version = store.save_subscription(the_other(product, values, other_version))
            kept.setdefault((OTHER, other_version), exact(store.load_subscription(OTHER)))
            version = store.save_subscription(a_subscription(OWN, product, roots, blocks, version))
            kept.setdefault((OWN, version), exact(store.load_subscription(OWN)))
        for (subscription_id, number), loaded in kept.items():
            assert exact(store.subscription_as_of(subscription_id, version=number)) == loaded
        for subscription_id in (OWN, OTHER):
            now = store.subscription_as_of(subscription_id, at=datetime.now(UTC) + timedelta(days=1))
            assert exact(now) == exact(store.load_subscription(subscription_id))


def exact(record: SubscriptionRecord) -> str:
    """A record as text, in which `1`, `1.0` and `true` differ."""
    return json.dumps(to_jsonable_python(record), sort_keys=True)


def as_loaded(blocks: Mapping[UUID, BlockRecord]) -> dict[UUID, BlockRecord]:
    """Return blocks with their values and links in the order in which the database gives them."""
    return {
        block_id: BlockRecord(
            block.subscription_instance_id,
            block.owner_subscription_id,
            block.owner_status,
            block.product_block_name,
            block.label,
            dict(sorted(block.values.items())),
            dict(sorted(block.links.items())),
        )
        for block_id, block in blocks.items()
    }
