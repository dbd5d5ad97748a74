"""The SQL that moves the data of existing subscriptions.

The blocks and links that are concerned are copied into temporary tables, each with what it was and what it is to be.
There everything is worked out; then each of the real tables is written once, whatever the number of differences.
"""

from sqlalchemy import text

CREATE_TABLES = (
    text("""
    CREATE TEMPORARY TABLE moved_subscriptions (
        subscription_id uuid PRIMARY KEY,
        product text NOT NULL,
        customer_id text NOT NULL,
        status text NOT NULL
    ) ON COMMIT DROP
"""),
    # A block's own place is that of a root.
    text("""
    CREATE TEMPORARY TABLE moved_blocks (
        subscription_instance_id uuid PRIMARY KEY,
        subscription_id uuid NOT NULL,
        product_block text NOT NULL,
        label text,
        old_attribute text,
        old_position integer,
        old_values jsonb NOT NULL,
        attribute text,
        position integer,
        values jsonb NOT NULL,
        removed boolean NOT NULL DEFAULT false,
        removed_values jsonb NOT NULL DEFAULT '{}'
    ) ON COMMIT DROP
"""),
    # The link is to be removed where the attribute is null.
    text("""
    CREATE TEMPORARY TABLE moved_links (
        in_use_by_id uuid,
        old_attribute text,
        position integer,
        depends_on_id uuid NOT NULL,
        subscription_id uuid NOT NULL,
        attribute text,
        PRIMARY KEY (in_use_by_id, old_attribute, position)
    ) ON COMMIT DROP
"""),
    text("""
    CREATE TEMPORARY TABLE block_paths (
        moment text,
        subscription_instance_id uuid,
        path text NOT NULL,
        level integer NOT NULL,
        PRIMARY KEY (moment, subscription_instance_id)
    ) ON COMMIT DROP
"""),
)

DROP_TABLES = text("""
    DROP TABLE pg_temp.block_paths, pg_temp.moved_links, pg_temp.moved_blocks, pg_temp.moved_subscriptions
""")

# Nobody else tells the planner how large temporary tables are.
ANALYZE_BLOCKS = text("ANALYZE pg_temp.moved_blocks, pg_temp.moved_subscriptions")
ANALYZE_LINKS = text("ANALYZE pg_temp.moved_links")
ANALYZE_PATHS = text("ANALYZE pg_temp.block_paths")

TAKE_IN_LINKS = text("""
    INSERT INTO pg_temp.moved_links
           (in_use_by_id, old_attribute, position, depends_on_id, subscription_id, attribute)
    SELECT relation.in_use_by_id, relation.attribute, relation.position, relation.depends_on_id,
           holder.subscription_id, given.new
    FROM jsonb_to_recordset(CAST(:links AS jsonb)) AS given (block text, old text, new text)
    JOIN pg_temp.moved_blocks AS holder ON holder.product_block = given.block
    JOIN orchestrator.subscription_instance_relations AS relation
      ON relation.in_use_by_id = holder.subscription_instance_id AND relation.attribute = given.old
""")

MOVE_ROOTS = text("""
    UPDATE pg_temp.moved_blocks AS root
    SET attribute = given.new,
        position = CASE WHEN given.new IS NOT NULL THEN root.position END
    FROM jsonb_to_recordset(CAST(:links AS jsonb)) AS given (block text, products jsonb, old text, new text)
    JOIN pg_temp.moved_subscriptions AS subscription ON given.products ? subscription.product
    WHERE given.block IS NULL
      AND root.subscription_id = subscription.subscription_id
      AND root.old_attribute = given.old
""")

COUNT_MOVED_LINKS = text("""
    SELECT given.operation AS key, count(DISTINCT link.subscription_id) AS changed
    FROM jsonb_to_recordset(CAST(:links AS jsonb)) AS given (operation integer, block text, old text)
    JOIN pg_temp.moved_blocks AS holder ON holder.product_block = given.block
    JOIN pg_temp.moved_links AS link
      ON link.in_use_by_id = holder.subscription_instance_id AND link.old_attribute = given.old
    GROUP BY given.operation
    UNION ALL
    SELECT given.operation, count(DISTINCT root.subscription_id)
    FROM jsonb_to_recordset(CAST(:links AS jsonb)) AS given (operation integer, block text, products jsonb, old text)
    JOIN pg_temp.moved_subscriptions AS subscription ON given.block IS NULL AND given.products ? subscription.product
    JOIN pg_temp.moved_blocks AS root
      ON root.subscription_id = subscription.subscription_id AND root.old_attribute = given.old
    GROUP BY given.operation
""")

# Links that stay, at the place that a link is to be moved to.
PLACES_TAKEN = text("""
    SELECT DISTINCT link.subscription_id, link.attribute AS place
    FROM pg_temp.moved_links AS link
    JOIN orchestrator.subscription_instance_relations AS relation
      ON relation.in_use_by_id = link.in_use_by_id AND relation.attribute = link.attribute
    WHERE NOT EXISTS (SELECT
                      FROM pg_temp.moved_links AS other
                      WHERE other.in_use_by_id = relation.in_use_by_id AND other.old_attribute = relation.attribute)
    UNION
    SELECT DISTINCT root.subscription_id, root.attribute
    FROM pg_temp.moved_blocks AS root
    JOIN orchestrator.subscription_instances AS instance
      ON instance.subscription_id = root.subscription_id AND instance.attribute = root.attribute
    WHERE root.attribute <> root.old_attribute
      AND NOT EXISTS (SELECT
                      FROM pg_temp.moved_blocks AS other
                      WHERE other.subscription_instance_id = instance.subscription_instance_id
                        AND other.attribute IS DISTINCT FROM other.old_attribute)
    ORDER BY subscription_id
""")

# Values under the name that another value is to get: those that stay, and those that are to get it too.
NAMES_TAKEN = text("""
    WITH given AS (
        SELECT block, old, new
        FROM jsonb_to_recordset(CAST(:fields AS jsonb)) AS field (block text, old text, new text)
    )
    SELECT DISTINCT block.subscription_id, concat_ws('.', given.block, given.new) AS place
    FROM given
    JOIN pg_temp.moved_blocks AS block ON block.product_block = given.block AND block.values ? given.old
    WHERE (block.values -> given.new <> 'null'
           AND (given.block, given.new) NOT IN (SELECT other.block, other.old FROM given AS other))
       OR EXISTS (SELECT
                  FROM given AS other
                  WHERE other.block = given.block
                    AND other.new = given.new
                    AND other.old <> given.old
                    AND block.values ? other.old)
    ORDER BY block.subscription_id
""")

# All at once, so that two fields can change names. A field without a new name is removed; functions see its value yet.
MOVE_FIELDS = text("""
    WITH hits AS (
        SELECT given.operation, given.old, given.new, block.subscription_instance_id, block.subscription_id,
               block.values -> given.old AS value
        FROM jsonb_to_recordset(CAST(:fields AS jsonb)) AS given (operation integer, block text, old text, new text)
        JOIN pg_temp.moved_blocks AS block ON block.product_block = given.block AND block.values ? given.old
    ), moved AS (
        UPDATE pg_temp.moved_blocks AS block
        SET values = (block.values - hit.olds) || coalesce(hit.news, '{}'),
            removed_values = coalesce(hit.removed, '{}')
        FROM (SELECT subscription_instance_id,
                     array_agg(old) AS olds,
                     jsonb_object_agg(new, value) FILTER (WHERE new IS NOT NULL) AS news,
                     jsonb_object_agg(old, value) FILTER (WHERE new IS NULL) AS removed
              FROM hits
              GROUP BY subscription_instance_id) AS hit
        WHERE hit.subscription_instance_id = block.subscription_instance_id
    )
    SELECT operation AS key, count(DISTINCT subscription_id) AS changed
    FROM hits
    GROUP BY operation
""")

FILL_FIELDS = text("""
    WITH hits AS (
        SELECT given.operation, given.field, coalesce(given.value, 'null') AS value, block.subscription_instance_id,
               block.subscription_id
        FROM jsonb_to_recordset(CAST(:fills AS jsonb))
             AS given (operation integer, block text, field text, statuses jsonb, optional boolean, value jsonb)
        JOIN pg_temp.moved_blocks AS block ON block.product_block = given.block
        JOIN pg_temp.moved_subscriptions AS subscription
          ON subscription.subscription_id = block.subscription_id AND given.statuses ? subscription.status
        WHERE NOT block.removed
          AND (NOT block.values ? given.field OR (NOT given.optional AND block.values -> given.field = 'null'))
    ), filled AS (
        UPDATE pg_temp.moved_blocks AS block
        SET values = block.values || hit.values
        FROM (SELECT subscription_instance_id, jsonb_object_agg(field, value) AS values
              FROM hits
              GROUP BY subscription_instance_id) AS hit
        WHERE hit.subscription_instance_id = block.subscription_instance_id
    )
    SELECT operation AS key, count(DISTINCT subscription_id) AS changed
    FROM hits
    GROUP BY operation
""")

# Only for what goes through the blocks by their owners: it would make everything else slower.
INDEX_OWNERS = text("""
    CREATE INDEX IF NOT EXISTS moved_blocks_by_owner
    ON pg_temp.moved_blocks (subscription_id, subscription_instance_id)
""")

NEXT_BLOCKS = text("""
    SELECT block.subscription_id, block.subscription_instance_id, subscription.product, subscription.customer_id,
           subscription.status, block.product_block, block.label,
           (block.removed_values - CAST(:field AS text)) || block.values AS values
    FROM pg_temp.moved_blocks AS block
    JOIN pg_temp.moved_subscriptions AS subscription USING (subscription_id)
    WHERE (block.subscription_id, block.subscription_instance_id)
          > (CAST(:subscription_id AS uuid), CAST(:subscription_instance_id AS uuid))
      AND block.product_block = :block
      AND NOT block.removed
      AND subscription.status = ANY(:statuses)
    ORDER BY block.subscription_id, block.subscription_instance_id
    LIMIT :limit
""")

SET_VALUES = text("""
    UPDATE pg_temp.moved_blocks AS block
    SET values = block.values || jsonb_build_object(CAST(:field AS text), coalesce(given.value, 'null'))
    FROM jsonb_to_recordset(CAST(:values AS jsonb)) AS given (subscription_instance_id uuid, value jsonb)
    WHERE block.subscription_instance_id = given.subscription_instance_id
""")

# As a save does: what is not reached from the roots any more goes. Only subscriptions that lose a link, or that have
# blocks of a kind that goes, are looked at.
REMOVE_UNREACHED = text("""
    WITH RECURSIVE losing AS (
        SELECT subscription_id
        FROM pg_temp.moved_blocks
        WHERE (old_attribute IS NOT NULL AND attribute IS NULL) OR product_block = ANY(CAST(:names AS text[]))
        UNION
        SELECT subscription_id
        FROM pg_temp.moved_links
        WHERE attribute IS NULL
    ), reached AS (
        SELECT root.subscription_instance_id, root.subscription_id
        FROM losing
        JOIN orchestrator.subscription_instances AS root USING (subscription_id)
        LEFT JOIN pg_temp.moved_blocks AS moved USING (subscription_instance_id)
        WHERE root.attribute IS NOT NULL
          AND (moved.subscription_instance_id IS NULL OR moved.attribute IS NOT NULL)
        UNION
        SELECT below.subscription_instance_id, below.subscription_id
        FROM reached
        JOIN orchestrator.subscription_instance_relations AS relation
          ON relation.in_use_by_id = reached.subscription_instance_id
        JOIN orchestrator.subscription_instances AS below
          ON below.subscription_instance_id = relation.depends_on_id AND below.subscription_id = reached.subscription_id
        WHERE NOT EXISTS (SELECT
                          FROM pg_temp.moved_links AS gone
                          WHERE gone.in_use_by_id = relation.in_use_by_id
                            AND gone.old_attribute = relation.attribute
                            AND gone.attribute IS NULL)
    )
    INSERT INTO pg_temp.moved_blocks
           (subscription_instance_id, subscription_id, product_block, label, old_attribute, old_position, old_values,
            values, removed)
    SELECT instance.subscription_instance_id, instance.subscription_id, block.name, instance.label,
           instance.attribute, instance.position, instance.values, instance.values, true
    FROM losing
    JOIN orchestrator.subscription_instances AS instance USING (subscription_id)
    JOIN orchestrator.product_blocks AS block USING (product_block_id)
    WHERE NOT EXISTS (SELECT
                      FROM reached
                      WHERE reached.subscription_instance_id = instance.subscription_instance_id)
    ON CONFLICT (subscription_instance_id) DO UPDATE
    SET removed = true, attribute = NULL, position = NULL
""")

REMOVE_LINKS_OF_REMOVED = text("""
    INSERT INTO pg_temp.moved_links
           (in_use_by_id, old_attribute, position, depends_on_id, subscription_id, attribute)
    SELECT relation.in_use_by_id, relation.attribute, relation.position, relation.depends_on_id,
           removed.subscription_id, NULL
    FROM pg_temp.moved_blocks AS removed
    JOIN orchestrator.subscription_instance_relations AS relation
      ON relation.in_use_by_id = removed.subscription_instance_id
    WHERE removed.removed
    ON CONFLICT (in_use_by_id, old_attribute, position) DO UPDATE
    SET attribute = NULL
""")

COUNT_REMOVED_BLOCKS = text("""
    SELECT product_block AS key, count(DISTINCT subscription_id) AS changed
    FROM pg_temp.moved_blocks
    WHERE removed AND product_block = ANY(CAST(:names AS text[]))
    GROUP BY product_block
""")

STILL_HELD = text("""
    SELECT DISTINCT product_block, subscription_id
    FROM pg_temp.moved_blocks
    WHERE NOT removed AND product_block = ANY(CAST(:names AS text[]))
    ORDER BY subscription_id, product_block
""")

STILL_USED = text("""
    SELECT DISTINCT removed.product_block, removed.subscription_id, holder.subscription_id AS user_id
    FROM pg_temp.moved_blocks AS removed
    JOIN orchestrator.subscription_instance_relations AS relation
      ON relation.depends_on_id = removed.subscription_instance_id
    JOIN orchestrator.subscription_instances AS holder ON holder.subscription_instance_id = relation.in_use_by_id
    WHERE removed.removed
      AND NOT EXISTS (SELECT
                      FROM pg_temp.moved_links AS gone
                      WHERE gone.in_use_by_id = relation.in_use_by_id
                        AND gone.old_attribute = relation.attribute
                        AND gone.attribute IS NULL)
    ORDER BY removed.subscription_id, holder.subscription_id
""")

# As text, because 1 and 1.0 are equal as numbers, and are two things here.
FORGET_UNCHANGED = text("""
    DELETE FROM pg_temp.moved_blocks
    WHERE NOT removed
      AND attribute IS NOT DISTINCT FROM old_attribute
      AND CAST(values AS text) = CAST(old_values AS text)
""")

FORGET_UNCHANGED_SUBSCRIPTIONS = text("""
    DELETE FROM pg_temp.moved_subscriptions AS subscription
    WHERE NOT EXISTS (SELECT
                      FROM pg_temp.moved_blocks AS block
                      WHERE block.subscription_id = subscription.subscription_id)
      AND NOT EXISTS (SELECT
                      FROM pg_temp.moved_links AS link
                      WHERE link.subscription_id = subscription.subscription_id)
""")

MOVES_LINKS = text("""
    SELECT EXISTS (SELECT FROM pg_temp.moved_links)
        OR EXISTS (SELECT FROM pg_temp.moved_blocks WHERE removed OR attribute IS DISTINCT FROM old_attribute)
""")

# What goes is deleted before the rest is written: two links may change places.
DELETE_LINKS = text("""
    DELETE FROM orchestrator.subscription_instance_relations AS relation
    USING pg_temp.moved_links AS moved
    WHERE relation.in_use_by_id = moved.in_use_by_id
      AND relation.attribute = moved.old_attribute
      AND relation.position = moved.position
""")

WRITE_LINKS = text("""
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT in_use_by_id, attribute, position, depends_on_id
    FROM pg_temp.moved_links
    WHERE attribute IS NOT NULL
""")

DELETE_BLOCKS = text("""
    DELETE FROM orchestrator.subscription_instances AS instance
    USING pg_temp.moved_blocks AS moved
    WHERE moved.removed
      AND instance.subscription_instance_id = moved.subscription_instance_id
""")

WRITE_BLOCKS = text("""
    UPDATE orchestrator.subscription_instances AS instance
    SET values = moved.values,
        attribute = moved.attribute,
        position = moved.position
    FROM pg_temp.moved_blocks AS moved
    WHERE NOT moved.removed
      AND instance.subscription_instance_id = moved.subscription_instance_id
""")
