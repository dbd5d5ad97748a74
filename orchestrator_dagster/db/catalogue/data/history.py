"""One version for each subscription of which data was moved: what changed, and how to get back."""

from collections.abc import Collection

from sqlalchemy import Connection, text

from orchestrator_dagster.db.catalogue.data import statements
from orchestrator_dagster.db.exact_json import to_json
from orchestrator_dagster.db.subscriptions.writer import Author

STEP = "catalogue"
"""The step that the history names."""

ROOT_PATHS = text("""
    WITH lists AS (
        SELECT holder, attribute
        FROM jsonb_to_recordset(CAST(:lists AS jsonb)) AS list (holder text, attribute text)
    )
    INSERT INTO pg_temp.block_paths (moment, subscription_instance_id, path, level)
    SELECT CAST(:moment AS text), root.subscription_instance_id,
           concat_ws('.', root.attribute,
                     CASE WHEN max(root.position) OVER (PARTITION BY root.subscription_id, root.attribute) > 0
                            OR (subscription.product, root.attribute) IN (SELECT holder, attribute FROM lists)
                          THEN root.position END),
           0
    FROM pg_temp.moved_subscriptions AS subscription
    JOIN orchestrator.subscription_instances AS root USING (subscription_id)
    WHERE root.attribute IS NOT NULL
""")

# One level further down. A block that is reached more than once has its path from the first time; so circles end.
NEXT_PATHS = text("""
    WITH lists AS (
        SELECT holder, attribute
        FROM jsonb_to_recordset(CAST(:lists AS jsonb)) AS list (holder text, attribute text)
    ), held AS (
        SELECT holder.subscription_id, above.path, relation.attribute, relation.position, relation.depends_on_id,
               CASE WHEN max(relation.position) OVER (PARTITION BY relation.in_use_by_id, relation.attribute) > 0
                      OR (block.name, relation.attribute) IN (SELECT holder, attribute FROM lists)
                    THEN relation.position END AS index
        FROM pg_temp.block_paths AS above
        JOIN orchestrator.subscription_instances AS holder USING (subscription_instance_id)
        JOIN orchestrator.product_blocks AS block USING (product_block_id)
        JOIN orchestrator.subscription_instance_relations AS relation
          ON relation.in_use_by_id = holder.subscription_instance_id
        WHERE above.moment = :moment AND above.level = :level - 1
    )
    INSERT INTO pg_temp.block_paths (moment, subscription_instance_id, path, level)
    SELECT DISTINCT ON (below.subscription_instance_id)
           CAST(:moment AS text), below.subscription_instance_id, concat_ws('.', held.path, held.attribute, held.index),
           :level
    FROM held
    JOIN orchestrator.subscription_instances AS below
      ON below.subscription_instance_id = held.depends_on_id AND below.subscription_id = held.subscription_id
    ORDER BY below.subscription_instance_id, held.path, held.attribute, held.position
    ON CONFLICT DO NOTHING
""")

# In this order: the values that changed, the places of blocks, how to get back, the versions.
# Values are compared as text, because 1 and 1.0 are equal as numbers, and are two things here.
WRITE_VERSIONS = text("""
    WITH lists AS (
        SELECT holder, attribute
        FROM jsonb_to_recordset(CAST(:lists AS jsonb)) AS list (holder text, attribute text)
    ), edits AS (
        SELECT block.subscription_instance_id, block.subscription_id, item.key, block.old_values -> item.key AS before,
               block.values -> item.key AS after
        FROM pg_temp.moved_blocks AS block
        CROSS JOIN LATERAL jsonb_object_keys(block.old_values || block.values) AS item (key)
        WHERE NOT block.removed
          AND CAST(block.old_values -> item.key AS text) IS DISTINCT FROM CAST(block.values -> item.key AS text)
    ), places AS (
        SELECT root.subscription_id, CAST(NULL AS uuid) AS in_use_by_id, root.old_attribute, root.attribute,
               root.old_position AS position, root.subscription_instance_id AS block_id,
               subscription.product AS holder
        FROM pg_temp.moved_blocks AS root
        JOIN pg_temp.moved_subscriptions AS subscription USING (subscription_id)
        WHERE root.old_attribute IS DISTINCT FROM root.attribute
        UNION ALL
        SELECT link.subscription_id, link.in_use_by_id, link.old_attribute, link.attribute, link.position,
               link.depends_on_id, coalesce(block.name, removed.product_block)
        FROM pg_temp.moved_links AS link
        LEFT JOIN orchestrator.subscription_instances AS instance
          ON instance.subscription_instance_id = link.in_use_by_id
        LEFT JOIN orchestrator.product_blocks AS block USING (product_block_id)
        LEFT JOIN pg_temp.moved_blocks AS removed
          ON removed.subscription_instance_id = link.in_use_by_id AND removed.removed
    ), shown AS (
        SELECT place.*,
               max(place.position) OVER (PARTITION BY place.subscription_id, place.in_use_by_id,
                                                      place.old_attribute) > 0 AS several,
               CASE WHEN removed.subscription_instance_id IS NOT NULL
                    THEN removed.old_values
                         || jsonb_build_object('subscription_instance_id', place.block_id, 'label', removed.label,
                                               'product_block_name', removed.product_block)
                    WHEN instance.subscription_id <> place.subscription_id
                    THEN jsonb_build_object('subscription_instance_id', place.block_id,
                                            'owner_subscription_id', instance.subscription_id)
                    ELSE jsonb_build_object('subscription_instance_id', place.block_id)
               END AS block
        FROM places AS place
        LEFT JOIN pg_temp.moved_blocks AS removed
          ON removed.subscription_instance_id = place.block_id AND removed.removed
        LEFT JOIN orchestrator.subscription_instances AS instance
          ON instance.subscription_instance_id = place.block_id
    ), slots AS (
        SELECT shown.subscription_id,
               concat_ws('.', holder.path, shown.old_attribute,
                         CASE WHEN shown.several
                                OR (shown.holder, shown.old_attribute) IN (SELECT holder, attribute FROM lists)
                              THEN shown.position END) AS path,
               shown.block AS before,
               CAST(NULL AS jsonb) AS after
        FROM shown
        LEFT JOIN pg_temp.block_paths AS holder
          ON holder.moment = 'before' AND holder.subscription_instance_id = shown.in_use_by_id
        UNION ALL
        SELECT shown.subscription_id,
               concat_ws('.', holder.path, shown.attribute,
                         CASE WHEN shown.several
                                OR (shown.holder, shown.attribute) IN (SELECT holder, attribute FROM lists)
                              THEN shown.position END),
               NULL,
               shown.block
        FROM shown
        LEFT JOIN pg_temp.block_paths AS holder
          ON holder.moment = 'after' AND holder.subscription_instance_id = shown.in_use_by_id
        WHERE shown.attribute IS NOT NULL
    ), changes AS (
        SELECT subscription_id, jsonb_object_agg(path, jsonb_build_object('before', before, 'after', after)) AS changes
        FROM (SELECT edit.subscription_id, concat_ws('.', block.path, edit.key) AS path, edit.before, edit.after
              FROM edits AS edit
              JOIN pg_temp.block_paths AS block
                ON block.moment = 'after' AND block.subscription_instance_id = edit.subscription_instance_id
              UNION ALL
              SELECT subscription_id, path,
                     (array_agg(before) FILTER (WHERE before IS NOT NULL))[1],
                     (array_agg(after) FILTER (WHERE after IS NOT NULL))[1]
              FROM slots
              GROUP BY subscription_id, path) AS change
        GROUP BY subscription_id
    ), undone_values AS (
        SELECT subscription_instance_id,
               jsonb_object_agg(key, before) FILTER (WHERE before IS NOT NULL) AS put,
               jsonb_agg(key) FILTER (WHERE before IS NULL) AS unset
        FROM edits
        GROUP BY subscription_instance_id
    ), undone_blocks AS (
        SELECT block.subscription_id,
               jsonb_object_agg(
                   block.subscription_instance_id,
                   CASE WHEN block.removed
                        THEN jsonb_build_object('product_block', block.product_block, 'label', block.label,
                                                'attribute', block.old_attribute, 'position', block.old_position)
                             || CASE WHEN block.old_values <> '{}'
                                     THEN jsonb_build_object('set', block.old_values) ELSE '{}' END
                        ELSE CASE WHEN block.old_attribute IS DISTINCT FROM block.attribute
                                  THEN jsonb_build_object('attribute', block.old_attribute) ELSE '{}' END
                             || CASE WHEN block.old_position IS DISTINCT FROM block.position
                                     THEN jsonb_build_object('position', block.old_position) ELSE '{}' END
                             || CASE WHEN undone.put IS NOT NULL
                                     THEN jsonb_build_object('set', undone.put) ELSE '{}' END
                             || CASE WHEN undone.unset IS NOT NULL
                                     THEN jsonb_build_object('unset', undone.unset) ELSE '{}' END
                   END) AS blocks
        FROM pg_temp.moved_blocks AS block
        LEFT JOIN undone_values AS undone USING (subscription_instance_id)
        GROUP BY block.subscription_id
    ), undone_links AS (
        SELECT subscription_id, jsonb_agg(place) AS links
        FROM (SELECT subscription_id,
                     jsonb_build_array(in_use_by_id, old_attribute, position, depends_on_id) AS place
              FROM pg_temp.moved_links
              UNION ALL
              SELECT link.subscription_id, jsonb_build_array(link.in_use_by_id, link.attribute, link.position, NULL)
              FROM pg_temp.moved_links AS link
              WHERE link.attribute IS NOT NULL
                AND NOT EXISTS (SELECT
                                FROM pg_temp.moved_links AS other
                                WHERE other.in_use_by_id = link.in_use_by_id
                                  AND other.old_attribute = link.attribute
                                  AND other.position = link.position)) AS undone
        GROUP BY subscription_id
    ), raised AS (
        UPDATE orchestrator.subscriptions AS subscription
        SET version = subscription.version + 1
        FROM pg_temp.moved_subscriptions AS moved
        WHERE subscription.subscription_id = moved.subscription_id
        RETURNING subscription.subscription_id, subscription.version
    )
    INSERT INTO orchestrator.subscription_versions
           (subscription_id, version, changed_by, process_id, step, changes, undo)
    SELECT raised.subscription_id, raised.version, :changed_by, CAST(:process_id AS uuid), :step, changes.changes,
           CASE WHEN blocks IS NOT NULL THEN jsonb_build_object('blocks', blocks) ELSE '{}' END
           || CASE WHEN links IS NOT NULL THEN jsonb_build_object('links', links) ELSE '{}' END
    FROM raised
    JOIN changes USING (subscription_id)
    LEFT JOIN undone_blocks USING (subscription_id)
    LEFT JOIN undone_links USING (subscription_id)
""")

Lists = Collection[tuple[str, str]]
"""The fields that hold lists of blocks: the name of a product or of a product block, and the attribute."""


def note_paths(connection: Connection, moment: str, lists: Lists) -> None:
    """Note where the blocks of the subscriptions stand now, the first path to each: level by level from the roots."""
    parameters = {"moment": moment, "lists": _json(lists)}
    found = connection.execute(ROOT_PATHS, parameters).rowcount
    level = 0
    while found:
        level += 1
        connection.execute(statements.ANALYZE_PATHS)
        found = connection.execute(NEXT_PATHS, {**parameters, "level": level}).rowcount


def write_versions(connection: Connection, author: Author, lists: Lists) -> None:
    """Give each subscription its new version, after everything else is written."""
    connection.execute(
        WRITE_VERSIONS,
        {
            "changed_by": author.changed_by,
            "process_id": author.process_id,
            "step": STEP,
            "lists": _json(lists),
        },
    )


def _json(lists: Lists) -> str:
    return to_json([{"holder": holder, "attribute": attribute} for holder, attribute in sorted(lists)])
