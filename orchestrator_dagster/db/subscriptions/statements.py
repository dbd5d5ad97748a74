"""The SQL behind loading and saving subscriptions, one statement for each intent."""

from sqlalchemy import text

PRODUCT = text("""
    SELECT product.*,
           (SELECT json_object_agg(fixed_input.name, fixed_input.value)
            FROM orchestrator.fixed_inputs AS fixed_input
            WHERE fixed_input.product_id = product.product_id) AS fixed_inputs
    FROM orchestrator.products AS product
    WHERE product.product_id = :product_id
""")

PRODUCT_BLOCK = text("""
    SELECT product_block_id, name, description, tag
    FROM orchestrator.product_blocks
    WHERE name = :name
""")

# One row of three JSON documents. The tree starts at all blocks of the subscriptions and follows what they depend on,
# into other subscriptions too. UNION, not UNION ALL: a block that was reached before is not followed again, so cycles
# end. Postgres takes a tree for a large part of all blocks, and would read all of them: OFFSET 0 and the arrays keep it
# to the index, block by block.
LOAD_SUBSCRIPTIONS = text("""
    WITH RECURSIVE tree (subscription_instance_id) AS (
        SELECT subscription_instance_id
        FROM orchestrator.subscription_instances
        WHERE subscription_id = ANY(:subscription_ids)
        UNION
        SELECT relation.depends_on_id
        FROM tree
        CROSS JOIN LATERAL (
            SELECT depends_on_id
            FROM orchestrator.subscription_instance_relations
            WHERE in_use_by_id = tree.subscription_instance_id
            OFFSET 0
        ) AS relation
    ), subscription AS (
        SELECT subscription_id, product_id, customer_id, description, status, insync, start_date, end_date, note,
               version
        FROM orchestrator.subscriptions
        WHERE subscription_id = ANY(:subscription_ids)
    ), product AS (
        SELECT product.*,
               (SELECT json_object_agg(fixed_input.name, fixed_input.value)
                FROM orchestrator.fixed_inputs AS fixed_input
                WHERE fixed_input.product_id = product.product_id) AS fixed_inputs
        FROM orchestrator.products AS product
        WHERE product.product_id = ANY(ARRAY(SELECT product_id FROM subscription))
    )
    SELECT (SELECT CAST(json_agg(subscription) AS text) FROM subscription) AS subscriptions,
           (SELECT CAST(json_agg(product) AS text) FROM product) AS products,
           (SELECT CAST(json_agg(json_build_array(
                       instance.subscription_instance_id,
                       instance.subscription_id,
                       owner.status,
                       block.name,
                       instance.label,
                       instance.values,
                       instance.attribute,
                       instance.position,
                       (SELECT json_agg(json_build_array(relation.attribute, relation.position, relation.depends_on_id)
                                        ORDER BY relation.attribute, relation.position)
                        FROM orchestrator.subscription_instance_relations AS relation
                        WHERE relation.in_use_by_id = instance.subscription_instance_id)
                   ) ORDER BY instance.attribute, instance.position) AS text)
            FROM orchestrator.subscription_instances AS instance
            JOIN orchestrator.product_blocks AS block USING (product_block_id)
            JOIN orchestrator.subscriptions AS owner USING (subscription_id)
            WHERE instance.subscription_instance_id = ANY(ARRAY(SELECT subscription_instance_id FROM tree))) AS blocks
""")

LOAD_BLOCK = text("""
    WITH RECURSIVE tree (subscription_instance_id) AS (
        SELECT CAST(:subscription_instance_id AS uuid)
        UNION
        SELECT relation.depends_on_id
        FROM tree
        CROSS JOIN LATERAL (
            SELECT depends_on_id
            FROM orchestrator.subscription_instance_relations
            WHERE in_use_by_id = tree.subscription_instance_id
            OFFSET 0
        ) AS relation
    )
    SELECT CAST(json_agg(json_build_array(
               instance.subscription_instance_id,
               instance.subscription_id,
               owner.status,
               block.name,
               instance.label,
               instance.values,
               instance.attribute,
               instance.position,
               (SELECT json_agg(json_build_array(relation.attribute, relation.position, relation.depends_on_id)
                                ORDER BY relation.attribute, relation.position)
                FROM orchestrator.subscription_instance_relations AS relation
                WHERE relation.in_use_by_id = instance.subscription_instance_id)
           )) AS text)
    FROM orchestrator.subscription_instances AS instance
    JOIN orchestrator.product_blocks AS block USING (product_block_id)
    JOIN orchestrator.subscriptions AS owner USING (subscription_id)
    WHERE instance.subscription_instance_id = ANY(ARRAY(SELECT subscription_instance_id FROM tree))
""")

IN_USE_BY = text("""
    SELECT relation.depends_on_id AS asked_for,
           instance.subscription_instance_id,
           block.name AS product_block_name,
           subscription.subscription_id,
           subscription.status,
           subscription.description,
           subscription.insync
    FROM orchestrator.subscription_instance_relations AS relation
    JOIN orchestrator.subscription_instances AS instance ON instance.subscription_instance_id = relation.in_use_by_id
    JOIN orchestrator.product_blocks AS block USING (product_block_id)
    JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
    WHERE relation.depends_on_id = ANY(:subscription_instance_ids)
    ORDER BY subscription.created_at, instance.subscription_instance_id
""")

DEPENDS_ON = text("""
    SELECT relation.in_use_by_id AS asked_for,
           instance.subscription_instance_id,
           block.name AS product_block_name,
           subscription.subscription_id,
           subscription.status,
           subscription.description,
           subscription.insync
    FROM orchestrator.subscription_instance_relations AS relation
    JOIN orchestrator.subscription_instances AS instance ON instance.subscription_instance_id = relation.depends_on_id
    JOIN orchestrator.product_blocks AS block USING (product_block_id)
    JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
    WHERE relation.in_use_by_id = ANY(:subscription_instance_ids)
    ORDER BY relation.attribute, relation.position
""")

LOCK_SUBSCRIPTION = text("""
    SELECT version
    FROM orchestrator.subscriptions
    WHERE subscription_id = :subscription_id
    FOR NO KEY UPDATE
""")

# What a save has to know of the rest of the database. The locks keep the blocks that are going to be linked from being
# deleted, and their subscriptions from being terminated, before the save is committed.
CHECK_SAVE = text("""
    WITH known AS (
        SELECT instance.subscription_instance_id, subscription.subscription_id, subscription.status,
               subscription.held_by
        FROM orchestrator.subscription_instances AS instance
        JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
        WHERE instance.subscription_instance_id = ANY(:unknown_blocks)
        ORDER BY subscription.subscription_id
        FOR KEY SHARE OF instance
        FOR SHARE OF subscription
    )
    SELECT EXISTS (SELECT FROM orchestrator.products WHERE product_id = :product_id) AS product_exists,
           (SELECT json_object_agg(subscription_instance_id, subscription_id) FROM known) AS owners,
           (SELECT json_agg(DISTINCT subscription_id::text) FROM known WHERE status = 'terminated') AS terminated,
           (SELECT json_agg(DISTINCT held_by::text) FROM known WHERE held_by IS NOT NULL) AS holders,
           (SELECT json_agg(given.name)
            FROM unnest(CAST(:block_names AS text[])) AS given (name)
            WHERE NOT EXISTS (SELECT FROM orchestrator.product_blocks AS block WHERE block.name = given.name)
           ) AS missing_block_names,
           (SELECT json_agg(json_build_array(relation.depends_on_id, subscription.subscription_id,
                                             subscription.description))
            FROM orchestrator.subscription_instance_relations AS relation
            JOIN orchestrator.subscription_instances AS instance
              ON instance.subscription_instance_id = relation.in_use_by_id
            JOIN orchestrator.subscriptions AS subscription USING (subscription_id)
            WHERE relation.depends_on_id = ANY(:removed_blocks)
              AND subscription.subscription_id <> :subscription_id) AS users_of_removed
""")

TERMINATING = text("""
    SELECT subscription.subscription_id, process.process_id
    FROM orchestrator.processes AS process
    JOIN orchestrator.workflows AS workflow USING (workflow_id)
    JOIN orchestrator.subscriptions AS subscription ON subscription.held_by = process.process_id
    WHERE process.process_id = ANY(CAST(:holders AS uuid[]))
      AND process.process_id IS DISTINCT FROM CAST(:process_id AS uuid)
      AND workflow.target = 'TERMINATE'
""")

# No row comes back where the version is another one by now, or where somebody else created or deleted the subscription.
# Not an upsert: one that waits for a subscription that is being deleted would make it again, with a part of its blocks.
SAVE_SUBSCRIPTION = text("""
    WITH created AS (
        INSERT INTO orchestrator.subscriptions
               (subscription_id, product_id, customer_id, description, status, insync, start_date, end_date, note,
                held_by)
        SELECT :subscription_id, :product_id, :customer_id, :description, :status, :insync, :start_date, :end_date,
               :note, CAST(:process_id AS uuid)
        WHERE :version = 0
        ON CONFLICT (subscription_id) DO NOTHING
        RETURNING subscription_id, version
    ), changed AS (
        UPDATE orchestrator.subscriptions
        SET product_id = :product_id,
            customer_id = :customer_id,
            description = :description,
            status = :status,
            insync = :insync,
            start_date = :start_date,
            end_date = :end_date,
            note = :note,
            version = version + 1
        WHERE subscription_id = :subscription_id AND version = :version
        RETURNING subscription_id, version
    ), saved AS (
        SELECT * FROM created UNION ALL SELECT * FROM changed
    ), history AS (
        INSERT INTO orchestrator.subscription_versions
               (subscription_id, version, changed_by, process_id, step, changes, undo)
        SELECT subscription_id, version, :changed_by, CAST(:process_id AS uuid), :step, CAST(:changes AS jsonb),
               CAST(:undo AS jsonb)
        FROM saved
    ), process AS (
        INSERT INTO orchestrator.processes_subscriptions (process_id, subscription_id)
        SELECT CAST(:process_id AS uuid), subscription_id
        FROM saved
        WHERE CAST(:process_id AS uuid) IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    SELECT version
    FROM saved
""")

LINK_PROCESS = text("""
    INSERT INTO orchestrator.processes_subscriptions (process_id, subscription_id)
    VALUES (:process_id, :subscription_id)
    ON CONFLICT DO NOTHING
""")

# A place in a list is either removed or written, never both: the parts see the same rows and none of them another's.
SAVE_TREE = text("""
    WITH removed AS (
        DELETE FROM orchestrator.subscription_instances
        WHERE subscription_instance_id = ANY(:removed_blocks)
    ), written AS (
        INSERT INTO orchestrator.subscription_instances AS instance
               (subscription_instance_id, subscription_id, product_block_id, label, values, attribute, position)
        SELECT given.subscription_instance_id, :subscription_id, block.product_block_id, given.label, given.values,
               given.attribute, given.position
        FROM jsonb_to_recordset(CAST(:blocks AS jsonb))
             AS given (subscription_instance_id uuid, product_block text, label text, values jsonb, attribute text,
                       position integer)
        JOIN orchestrator.product_blocks AS block ON block.name = given.product_block
        ON CONFLICT (subscription_instance_id) DO UPDATE
        SET product_block_id = excluded.product_block_id,
            label = excluded.label,
            values = excluded.values,
            attribute = excluded.attribute,
            position = excluded.position
        WHERE instance.subscription_id = excluded.subscription_id
        RETURNING subscription_instance_id
    ), cleared AS (
        SELECT *
        FROM jsonb_to_recordset(CAST(:removed_relations AS jsonb))
             AS given (in_use_by_id uuid, attribute text, position integer)
    ), unlinked AS (
        DELETE FROM orchestrator.subscription_instance_relations AS relation
        USING cleared
        WHERE relation.in_use_by_id = ANY(ARRAY(SELECT in_use_by_id FROM cleared))
          AND relation.in_use_by_id = cleared.in_use_by_id
          AND relation.attribute = cleared.attribute
          AND relation.position = cleared.position
    ), linked AS (
        INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
        SELECT in_use_by_id, attribute, position, depends_on_id
        FROM jsonb_to_recordset(CAST(:relations AS jsonb))
             AS given (in_use_by_id uuid, attribute text, position integer, depends_on_id uuid)
        ON CONFLICT (in_use_by_id, attribute, position) DO UPDATE
        SET depends_on_id = excluded.depends_on_id
    )
    SELECT count(*)
    FROM written
""")
