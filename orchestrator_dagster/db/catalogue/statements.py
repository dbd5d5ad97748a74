"""The SQL that reads and writes the catalogue: one statement for each set of rows."""

from sqlalchemy import text

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('orchestrator_dagster'), hashtext('catalogue'))")

PRODUCTS = text("""
    SELECT product.name, product.description, product.product_type, product.tag, product.status, product.fields,
           EXISTS (SELECT
                   FROM orchestrator.subscriptions AS subscription
                   WHERE subscription.product_id = product.product_id) AS in_use,
           (SELECT json_object_agg(fixed_input.name, fixed_input.value)
            FROM orchestrator.fixed_inputs AS fixed_input
            WHERE fixed_input.product_id = product.product_id) AS fixed_inputs,
           ARRAY(SELECT block.name
                 FROM orchestrator.product_product_blocks AS link
                 JOIN orchestrator.product_blocks AS block USING (product_block_id)
                 WHERE link.product_id = product.product_id) AS blocks,
           ARRAY(SELECT workflow.name
                 FROM orchestrator.products_workflows AS link
                 JOIN orchestrator.workflows AS workflow USING (workflow_id)
                 WHERE link.product_id = product.product_id) AS workflows
    FROM orchestrator.products AS product
""")

BLOCKS = text("""
    SELECT block.name, block.description, block.tag, block.status, block.fields,
           EXISTS (SELECT
                   FROM orchestrator.subscription_instances AS instance
                   WHERE instance.product_block_id = block.product_block_id) AS in_use,
           ARRAY(SELECT resource_type.resource_type
                 FROM orchestrator.product_block_resource_types AS link
                 JOIN orchestrator.resource_types AS resource_type USING (resource_type_id)
                 WHERE link.product_block_id = block.product_block_id) AS resource_types,
           ARRAY(SELECT other.name
                 FROM orchestrator.product_block_relations AS link
                 JOIN orchestrator.product_blocks AS other ON other.product_block_id = link.depends_on_id
                 WHERE link.in_use_by_id = block.product_block_id) AS depends_on
    FROM orchestrator.product_blocks AS block
""")

WORKFLOWS = text("SELECT name, target, is_task, description, deleted_at FROM orchestrator.workflows")

RESOURCE_TYPES = text("SELECT resource_type, description FROM orchestrator.resource_types")

SAVE_PRODUCTS = text("""
    INSERT INTO orchestrator.products AS product (name, description, product_type, tag, status, end_date, fields)
    SELECT name, description, product_type, tag, status, CASE status WHEN 'end of life' THEN now() END, fields
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS given (name text, description text, product_type text, tag text, status text, fields jsonb)
    ON CONFLICT (name) DO UPDATE
    SET description = excluded.description,
        product_type = excluded.product_type,
        tag = excluded.tag,
        status = excluded.status,
        end_date = CASE excluded.status WHEN 'end of life' THEN coalesce(product.end_date, now()) END,
        fields = excluded.fields
    WHERE (product.description, product.product_type, product.tag, product.status, product.fields)
       IS DISTINCT FROM
          (excluded.description, excluded.product_type, excluded.tag, excluded.status, excluded.fields)
""")

# What the code does not declare any more is deleted, or ended where something of it is stored.
RETIRE_PRODUCTS = text("""
    WITH deleted AS (
        DELETE FROM orchestrator.products AS product
        WHERE name <> ALL(:names)
          AND NOT EXISTS (SELECT FROM orchestrator.subscriptions WHERE product_id = product.product_id)
    )
    UPDATE orchestrator.products AS product
    SET status = 'end of life',
        end_date = coalesce(end_date, now())
    WHERE name <> ALL(:names)
      AND status <> 'end of life'
      AND EXISTS (SELECT FROM orchestrator.subscriptions WHERE product_id = product.product_id)
""")

RETIRE_BLOCKS = text("""
    WITH deleted AS (
        DELETE FROM orchestrator.product_blocks AS block
        WHERE name <> ALL(:names)
          AND NOT EXISTS (SELECT
                          FROM orchestrator.subscription_instances
                          WHERE product_block_id = block.product_block_id)
    )
    UPDATE orchestrator.product_blocks AS block
    SET status = 'end of life',
        end_date = coalesce(end_date, now())
    WHERE name <> ALL(:names)
      AND status <> 'end of life'
      AND EXISTS (SELECT FROM orchestrator.subscription_instances WHERE product_block_id = block.product_block_id)
""")

DELETE_RESOURCE_TYPES_WITHOUT_BLOCK = text("""
    DELETE FROM orchestrator.resource_types AS resource_type
    WHERE NOT EXISTS (SELECT
                      FROM orchestrator.product_block_resource_types
                      WHERE resource_type_id = resource_type.resource_type_id)
""")

# The value is taken as `item -> 'value'`: a column of the record would turn the JSON `null` into no value at all.
SAVE_FIXED_INPUTS = text("""
    WITH given AS (
        SELECT product.product_id, item ->> 'name' AS name, item -> 'value' AS value
        FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS item
        JOIN orchestrator.products AS product ON product.name = item ->> 'product'
    ), removed AS (
        DELETE FROM orchestrator.fixed_inputs AS fixed_input
        USING orchestrator.products AS product
        WHERE product.product_id = fixed_input.product_id
          AND product.name = ANY(:products)
          AND NOT EXISTS (SELECT
                          FROM given
                          WHERE given.product_id = fixed_input.product_id AND given.name = fixed_input.name)
    )
    INSERT INTO orchestrator.fixed_inputs AS fixed_input (product_id, name, value)
    SELECT product_id, name, value
    FROM given
    ON CONFLICT (product_id, name) DO UPDATE
    SET value = excluded.value
    WHERE fixed_input.value::text <> excluded.value::text
""")

SAVE_BLOCKS = text("""
    INSERT INTO orchestrator.product_blocks AS block (name, description, tag, status, fields)
    SELECT name, description, tag, status, fields
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS given (name text, description text, tag text, status text, fields jsonb)
    ON CONFLICT (name) DO UPDATE
    SET description = excluded.description,
        tag = excluded.tag,
        status = excluded.status,
        end_date = NULL,
        fields = excluded.fields
    WHERE (block.description, block.tag, block.status, block.fields)
       IS DISTINCT FROM (excluded.description, excluded.tag, excluded.status, excluded.fields)
""")

SAVE_RESOURCE_TYPES = text("""
    INSERT INTO orchestrator.resource_types AS resource_type (resource_type, description)
    SELECT resource_type, description
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (resource_type text, description text)
    ON CONFLICT (resource_type) DO UPDATE
    SET description = excluded.description
    WHERE resource_type.description <> excluded.description
""")

SAVE_WORKFLOWS = text("""
    WITH removed AS (
        UPDATE orchestrator.workflows
        SET deleted_at = now()
        WHERE deleted_at IS NULL AND name <> ALL(:names)
    )
    INSERT INTO orchestrator.workflows AS workflow (name, target, is_task, description)
    SELECT name, target, is_task, description
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
         AS given (name text, target text, is_task boolean, description text)
    ON CONFLICT (name) DO UPDATE
    SET target = excluded.target,
        is_task = excluded.is_task,
        description = excluded.description,
        deleted_at = NULL
    WHERE (workflow.target, workflow.is_task, workflow.description, workflow.deleted_at)
       IS DISTINCT FROM (excluded.target, excluded.is_task, excluded.description, NULL)
""")

# Each of the statements below makes the links of the given owners what is given, and leaves those of others alone.
LINK_PRODUCTS_TO_BLOCKS = text("""
    WITH given AS (
        SELECT product.product_id, block.product_block_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.products AS product ON product.name = item.owner
        JOIN orchestrator.product_blocks AS block ON block.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_product_blocks AS link
        USING orchestrator.products AS product
        WHERE product.product_id = link.product_id
          AND product.name = ANY(:owners)
          AND (link.product_id, link.product_block_id) NOT IN (SELECT product_id, product_block_id FROM given)
    )
    INSERT INTO orchestrator.product_product_blocks (product_id, product_block_id)
    SELECT product_id, product_block_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_PRODUCTS_TO_WORKFLOWS = text("""
    WITH given AS (
        SELECT product.product_id, workflow.workflow_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.products AS product ON product.name = item.owner
        JOIN orchestrator.workflows AS workflow ON workflow.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.products_workflows AS link
        USING orchestrator.products AS product
        WHERE product.product_id = link.product_id
          AND product.name = ANY(:owners)
          AND (link.product_id, link.workflow_id) NOT IN (SELECT product_id, workflow_id FROM given)
    )
    INSERT INTO orchestrator.products_workflows (product_id, workflow_id)
    SELECT product_id, workflow_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_BLOCKS_TO_RESOURCE_TYPES = text("""
    WITH given AS (
        SELECT block.product_block_id, resource_type.resource_type_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.product_blocks AS block ON block.name = item.owner
        JOIN orchestrator.resource_types AS resource_type ON resource_type.resource_type = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_block_resource_types AS link
        USING orchestrator.product_blocks AS block
        WHERE block.product_block_id = link.product_block_id
          AND block.name = ANY(:owners)
          AND (link.product_block_id, link.resource_type_id) NOT IN
              (SELECT product_block_id, resource_type_id FROM given)
    )
    INSERT INTO orchestrator.product_block_resource_types (product_block_id, resource_type_id)
    SELECT product_block_id, resource_type_id
    FROM given
    ON CONFLICT DO NOTHING
""")

LINK_BLOCKS_TO_BLOCKS = text("""
    WITH given AS (
        SELECT block.product_block_id AS in_use_by_id, other.product_block_id AS depends_on_id
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS item (owner text, name text)
        JOIN orchestrator.product_blocks AS block ON block.name = item.owner
        JOIN orchestrator.product_blocks AS other ON other.name = item.name
    ), removed AS (
        DELETE FROM orchestrator.product_block_relations AS link
        USING orchestrator.product_blocks AS block
        WHERE block.product_block_id = link.in_use_by_id
          AND block.name = ANY(:owners)
          AND (link.in_use_by_id, link.depends_on_id) NOT IN (SELECT in_use_by_id, depends_on_id FROM given)
    )
    INSERT INTO orchestrator.product_block_relations (in_use_by_id, depends_on_id)
    SELECT in_use_by_id, depends_on_id
    FROM given
    ON CONFLICT DO NOTHING
""")


RENAME_PRODUCTS = text("""
    UPDATE orchestrator.products
    SET name = given.new
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (old text, new text)
    WHERE name = given.old
""")

RENAME_BLOCKS = text("""
    UPDATE orchestrator.product_blocks
    SET name = given.new
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (old text, new text)
    WHERE name = given.old
""")

RENAME_WORKFLOWS = text("""
    UPDATE orchestrator.workflows
    SET name = given.new
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (old text, new text)
    WHERE name = given.old
""")

RENAME_RESOURCE_TYPES = text("""
    UPDATE orchestrator.resource_types
    SET resource_type = given.new
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (old text, new text)
    WHERE resource_type = given.old
""")

RENAME_FIXED_INPUTS = text("""
    UPDATE orchestrator.fixed_inputs AS fixed_input
    SET name = given.new
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS given (product text, old text, new text)
    JOIN orchestrator.products AS product ON product.name = given.product
    WHERE fixed_input.product_id = product.product_id AND fixed_input.name = given.old
""")
