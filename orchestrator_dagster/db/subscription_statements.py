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

# The tree starts at all blocks of the subscription and follows what they depend on, into other subscriptions too.
# UNION, not UNION ALL: a block that was reached before is not followed again, so cycles end.
# Joined with, the tree would count as a large part of all blocks, and all of them would be read; an array does not.
LOAD_SUBSCRIPTION = text("""
    WITH RECURSIVE tree (subscription_instance_id) AS (
        SELECT subscription_instance_id
        FROM orchestrator.subscription_instances
        WHERE subscription_id = :subscription_id
        UNION
        SELECT relation.depends_on_id
        FROM tree
        JOIN orchestrator.subscription_instance_relations AS relation
          ON relation.in_use_by_id = tree.subscription_instance_id
    )
    SELECT subscription.*,
           product.name AS product_name,
           product.description AS product_description,
           product.product_type,
           product.tag,
           product.status AS product_status,
           product.created_at AS product_created_at,
           product.end_date AS product_end_date,
           (SELECT json_object_agg(fixed_input.name, fixed_input.value)
            FROM orchestrator.fixed_inputs AS fixed_input
            WHERE fixed_input.product_id = product.product_id) AS fixed_inputs,
           (SELECT json_agg(json_build_object(
                       'subscription_instance_id', instance.subscription_instance_id,
                       'subscription_id', instance.subscription_id,
                       'status', owner.status,
                       'product_block', block.name,
                       'label', instance.label,
                       'values', instance.values,
                       'attribute', instance.attribute,
                       'links', (SELECT json_agg(json_build_array(relation.attribute, relation.depends_on_id)
                                                 ORDER BY relation.attribute, relation.position)
                                 FROM orchestrator.subscription_instance_relations AS relation
                                 WHERE relation.in_use_by_id = instance.subscription_instance_id)
                   ) ORDER BY instance.attribute, instance.position)
            FROM orchestrator.subscription_instances AS instance
            JOIN orchestrator.product_blocks AS block USING (product_block_id)
            JOIN orchestrator.subscriptions AS owner USING (subscription_id)
            WHERE instance.subscription_instance_id = ANY(ARRAY(SELECT subscription_instance_id FROM tree))) AS blocks
    FROM orchestrator.subscriptions AS subscription
    JOIN orchestrator.products AS product USING (product_id)
    WHERE subscription.subscription_id = :subscription_id
""")

LOAD_BLOCK = text("""
    WITH RECURSIVE tree (subscription_instance_id) AS (
        SELECT CAST(:subscription_instance_id AS uuid)
        UNION
        SELECT relation.depends_on_id
        FROM tree
        JOIN orchestrator.subscription_instance_relations AS relation
          ON relation.in_use_by_id = tree.subscription_instance_id
    )
    SELECT json_agg(json_build_object(
               'subscription_instance_id', instance.subscription_instance_id,
               'subscription_id', instance.subscription_id,
               'status', owner.status,
               'product_block', block.name,
               'label', instance.label,
               'values', instance.values,
               'links', (SELECT json_agg(json_build_array(relation.attribute, relation.depends_on_id)
                                         ORDER BY relation.attribute, relation.position)
                         FROM orchestrator.subscription_instance_relations AS relation
                         WHERE relation.in_use_by_id = instance.subscription_instance_id)
           )) AS blocks
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

# The version is compared once more for a subscription that two processes create at the same time: there was no row to
# lock then. No row comes back where somebody else was first.
SAVE_SUBSCRIPTION = text("""
    WITH saved AS (
        INSERT INTO orchestrator.subscriptions AS subscription
               (subscription_id, product_id, customer_id, description, status, insync, start_date, end_date, note,
                held_by)
        VALUES (:subscription_id, :product_id, :customer_id, :description, :status, :insync, :start_date, :end_date,
                :note, CAST(:process_id AS uuid))
        ON CONFLICT (subscription_id) DO UPDATE
        SET product_id = excluded.product_id,
            customer_id = excluded.customer_id,
            description = excluded.description,
            status = excluded.status,
            insync = excluded.insync,
            start_date = excluded.start_date,
            end_date = excluded.end_date,
            note = excluded.note,
            version = subscription.version + 1
        WHERE subscription.version = :version
        RETURNING subscription_id, version
    ), history AS (
        INSERT INTO orchestrator.subscription_versions
               (subscription_id, version, changed_by, process_id, step, changes)
        SELECT subscription_id, version, :changed_by, CAST(:process_id AS uuid), :step, CAST(:changes AS jsonb)
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

SAVE_BLOCKS = text("""
    WITH removed AS (
        DELETE FROM orchestrator.subscription_instances
        WHERE subscription_instance_id = ANY(:removed_blocks)
    )
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
""")

# A place in a list is either removed or written, never both: the two parts see the same rows and neither the other.
SAVE_RELATIONS = text("""
    WITH given AS (
        SELECT *
        FROM jsonb_to_recordset(CAST(:removed_relations AS jsonb))
             AS given (in_use_by_id uuid, attribute text, position integer)
    ), removed AS (
        DELETE FROM orchestrator.subscription_instance_relations AS relation
        USING given
        WHERE relation.in_use_by_id = ANY(ARRAY(SELECT in_use_by_id FROM given))
          AND relation.in_use_by_id = given.in_use_by_id
          AND relation.attribute = given.attribute
          AND relation.position = given.position
    )
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT in_use_by_id, attribute, position, depends_on_id
    FROM jsonb_to_recordset(CAST(:relations AS jsonb))
         AS given (in_use_by_id uuid, attribute text, position integer, depends_on_id uuid)
    ON CONFLICT (in_use_by_id, attribute, position) DO UPDATE
    SET depends_on_id = excluded.depends_on_id
""")
