"""Lists, value filters and full-text search of subscriptions by index.

Revision 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "orchestrator"

# Each list has an index in its own order. A date that is not there counts as later than all others, in the index too:
# so the next page of a list that is sorted by it starts in the index where the last one ended. An index takes no text
# of any length, hence the beginning of the description.
INDEXES = {
    "ix_subscriptions_product_id_status_created_at_subscription_id": (
        "product_id",
        "status",
        "created_at",
        "subscription_id",
    ),
    "ix_subscriptions_customer_id_created_at_subscription_id": ("customer_id", "created_at", "subscription_id"),
    "ix_subscriptions_status_created_at_subscription_id": ("status", "created_at", "subscription_id"),
    "ix_subscriptions_start_date": (
        sa.text("coalesce(start_date, 'infinity'::timestamp with time zone)"),
        "subscription_id",
    ),
    "ix_subscriptions_end_date": (
        sa.text("coalesce(end_date, 'infinity'::timestamp with time zone)"),
        "subscription_id",
    ),
    "ix_subscriptions_description": (sa.text('"left"(description, 100)'), "subscription_id"),
}
REPLACED = {
    "ix_subscriptions_product_id": "product_id",
    "ix_subscriptions_customer_id": "customer_id",
    "ix_subscriptions_status": "status",
}

# What saves have added waits in a list until it is this long (kB), and every search reads that list.
PENDING = {"gin_pending_list_limit": 1024}

# Whatever stands between the words of a name, an address or an id counts as a blank, so that `ams-core-1` is three
# words that follow each other. But an index finds words, not which follow each other, and those of `10.0.0.1` are
# nearly everywhere: so two words with no blank between them are in the index as one, too. Those start with a blank:
# they have no place in the text, and so must not be among what `10*` finds as a part of a phrase.
#
# To know where the blanks were, they stand in `parts` as well. The text is cut off well below what a `tsvector` holds.
SEARCH_DOCUMENT = r"""
CREATE FUNCTION orchestrator.search_document(given text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    marks CONSTANT text := U&'[\0001!-/:-@[-`{-~\2013\2014\2018\2019\201C\201D\2026]+';
    cut_off text := regexp_replace(left(given, 100000), '\s+', ' ', 'g');
    marked text := regexp_replace(replace(cut_off, ' ', E'\x01 \x01'), marks, E'\x01', 'g');
    parts text[] := string_to_array(marked, E'\x01');
BEGIN
    RETURN to_tsvector('simple', regexp_replace(cut_off, marks, ' ', 'g'))
        || array_to_tsvector(ARRAY(
            SELECT lower(' ' || word || ' ' || next_word)
            FROM unnest(parts, parts[2:]) AS pairs (word, next_word)
            WHERE word NOT IN ('', ' ') AND next_word NOT IN ('', ' ') AND octet_length(word || next_word) < 2000
        ));
END
$$
"""

# The names of values are not in it, only what they are.
DOCUMENTS = """
CREATE VIEW orchestrator.subscription_documents AS
SELECT subscription.subscription_id,
       orchestrator.search_document(concat_ws(' ',
           subscription.subscription_id,
           subscription.description,
           subscription.note,
           subscription.customer_id,
           product.name,
           product.description,
           product.product_type,
           product.tag,
           (SELECT string_agg(fixed_input.value #>> '{}', ' ' ORDER BY fixed_input.name)
            FROM orchestrator.fixed_inputs AS fixed_input
            WHERE fixed_input.product_id = product.product_id),
           (SELECT string_agg(concat_ws(' ', of_customer.customer_id, of_customer.description), ' '
                              ORDER BY of_customer.customer_id)
            FROM orchestrator.subscription_customer_descriptions AS of_customer
            WHERE of_customer.subscription_id = subscription.subscription_id),
           (SELECT string_agg(concat_ws(' ', instance.label, held.texts), ' '
                              ORDER BY instance.subscription_instance_id)
            FROM orchestrator.subscription_instances AS instance
            CROSS JOIN LATERAL (
                SELECT string_agg(value #>> '{}', ' ') AS texts
                FROM jsonb_path_query(instance.values, 'strict $.**') AS value
                WHERE jsonb_typeof(value) IN ('string', 'number')
            ) AS held
            WHERE instance.subscription_id = subscription.subscription_id)
       )) AS document
FROM orchestrator.subscriptions AS subscription
JOIN orchestrator.products AS product USING (product_id)
"""

# Two transactions that change what one document is made of take turns at its row: the second sees what the first did.
# The plan is made once for a connection: making it takes longer than running it.
REFRESH_SEARCH = """
CREATE FUNCTION orchestrator.refresh_search(changed uuid[]) RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    IF cardinality(changed) = 0 THEN
        RETURN;
    END IF;
    LOCK TABLE orchestrator.subscription_search IN ROW EXCLUSIVE MODE;
    PERFORM FROM orchestrator.subscription_search
    WHERE subscription_id = ANY(changed)
    ORDER BY subscription_id
    FOR NO KEY UPDATE;
    INSERT INTO orchestrator.subscription_search AS search (subscription_id, document)
    SELECT subscription_id, document
    FROM orchestrator.subscription_documents
    WHERE subscription_id = ANY(changed)
    ON CONFLICT (subscription_id) DO UPDATE
    SET document = excluded.document
    WHERE search.document <> excluded.document;
END
$$
"""

# A product is in the documents of all its subscriptions, those included that others are just making: they wait.
REFRESH_SEARCH_OF_PRODUCTS = """
CREATE FUNCTION orchestrator.refresh_search_of_products(changed uuid[]) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF cardinality(changed) = 0 THEN
        RETURN;
    END IF;
    LOCK TABLE orchestrator.subscription_search IN SHARE ROW EXCLUSIVE MODE;
    PERFORM orchestrator.refresh_search(ARRAY(
        SELECT subscription_id
        FROM orchestrator.subscriptions
        WHERE product_id = ANY(changed)
    ));
END
$$
"""

# The rows are not called `new` and `old`, which are variables of a trigger.
SUBSCRIPTIONS_CHANGED = """
CREATE FUNCTION orchestrator.search_subscriptions() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM orchestrator.refresh_search(ARRAY(SELECT subscription_id FROM new_rows));
    ELSE
        PERFORM orchestrator.refresh_search(ARRAY(
            SELECT after.subscription_id
            FROM new_rows AS after
            JOIN old_rows AS before USING (subscription_id)
            WHERE (after.description, after.note, after.customer_id, after.product_id)
                  IS DISTINCT FROM (before.description, before.note, before.customer_id, before.product_id)
        ));
    END IF;
    RETURN NULL;
END
$$
"""

INSTANCES_CHANGED = """
CREATE FUNCTION orchestrator.search_subscription_instances() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM orchestrator.refresh_search(ARRAY(SELECT DISTINCT subscription_id FROM new_rows));
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM orchestrator.refresh_search(ARRAY(SELECT DISTINCT subscription_id FROM old_rows));
    ELSE
        PERFORM orchestrator.refresh_search(ARRAY(
            SELECT DISTINCT unnest(ARRAY[after.subscription_id, before.subscription_id])
            FROM new_rows AS after
            JOIN old_rows AS before USING (subscription_instance_id)
            WHERE (after.subscription_id, after.label, after.values)
                  IS DISTINCT FROM (before.subscription_id, before.label, before.values)
        ));
    END IF;
    RETURN NULL;
END
$$
"""

CUSTOMER_DESCRIPTIONS_CHANGED = """
CREATE FUNCTION orchestrator.search_customer_descriptions() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM orchestrator.refresh_search(ARRAY(SELECT DISTINCT subscription_id FROM old_rows));
    ELSE
        PERFORM orchestrator.refresh_search(ARRAY(SELECT DISTINCT subscription_id FROM new_rows));
    END IF;
    RETURN NULL;
END
$$
"""

PRODUCTS_CHANGED = """
CREATE FUNCTION orchestrator.search_products() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM orchestrator.refresh_search_of_products(ARRAY(
        SELECT after.product_id
        FROM new_rows AS after
        JOIN old_rows AS before USING (product_id)
        WHERE (after.name, after.description, after.product_type, after.tag)
              IS DISTINCT FROM (before.name, before.description, before.product_type, before.tag)
    ));
    RETURN NULL;
END
$$
"""

FIXED_INPUTS_CHANGED = """
CREATE FUNCTION orchestrator.search_fixed_inputs() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM orchestrator.refresh_search_of_products(ARRAY(SELECT DISTINCT product_id FROM new_rows));
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM orchestrator.refresh_search_of_products(ARRAY(SELECT DISTINCT product_id FROM old_rows));
    ELSE
        PERFORM orchestrator.refresh_search_of_products(ARRAY(
            SELECT after.product_id FROM (TABLE new_rows EXCEPT TABLE old_rows) AS after
            UNION
            SELECT before.product_id FROM (TABLE old_rows EXCEPT TABLE new_rows) AS before
        ));
    END IF;
    RETURN NULL;
END
$$
"""

VALUE_AS_MOMENT = r"""
CREATE FUNCTION orchestrator.value_as_moment(value jsonb) RETURNS timestamp with time zone
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    written text := CASE
        WHEN jsonb_typeof(value) = 'string' THEN value #>> '{}'
        WHEN value #>> '{$exact,$type}' IN ('date', 'datetime') THEN value #>> '{$exact,value}'
    END;
BEGIN
    IF written ~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$' THEN
        RETURN written::timestamp AT TIME ZONE 'UTC';
    ELSIF written ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d(:?\d\d)?)?)$' THEN
        RETURN written::timestamp with time zone;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$
"""

VALUE_AS_NUMBER = r"""
CREATE FUNCTION orchestrator.value_as_number(value jsonb) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN jsonb_typeof(value) = 'number' THEN value::numeric
        WHEN written ~ '^[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?$' AND length(written) < 1000 THEN written::numeric
    END
    FROM (
        SELECT CASE
            WHEN jsonb_typeof(value) = 'string' THEN value #>> '{}'
            WHEN value #>> '{$exact,$type}' = 'Decimal' THEN value #>> '{$exact,value}'
        END AS written
    ) AS texts
$$
"""

FUNCTIONS = {
    "search_subscriptions()": SUBSCRIPTIONS_CHANGED,
    "search_subscription_instances()": INSTANCES_CHANGED,
    "search_customer_descriptions()": CUSTOMER_DESCRIPTIONS_CHANGED,
    "search_products()": PRODUCTS_CHANGED,
    "search_fixed_inputs()": FIXED_INPUTS_CHANGED,
    "refresh_search_of_products(uuid[])": REFRESH_SEARCH_OF_PRODUCTS,
    "refresh_search(uuid[])": REFRESH_SEARCH,
    "value_as_moment(jsonb)": VALUE_AS_MOMENT,
    "value_as_number(jsonb)": VALUE_AS_NUMBER,
}

# A trigger sees rows of one kind of event only, so that there is one for each
TRIGGERS = {
    ("subscriptions", "INSERT"): "search_subscriptions",
    ("subscriptions", "UPDATE"): "search_subscriptions",
    ("subscription_instances", "INSERT"): "search_subscription_instances",
    ("subscription_instances", "UPDATE"): "search_subscription_instances",
    ("subscription_instances", "DELETE"): "search_subscription_instances",
    ("subscription_customer_descriptions", "INSERT"): "search_customer_descriptions",
    ("subscription_customer_descriptions", "UPDATE"): "search_customer_descriptions",
    ("subscription_customer_descriptions", "DELETE"): "search_customer_descriptions",
    ("products", "UPDATE"): "search_products",
    ("fixed_inputs", "INSERT"): "search_fixed_inputs",
    ("fixed_inputs", "UPDATE"): "search_fixed_inputs",
    ("fixed_inputs", "DELETE"): "search_fixed_inputs",
}
_ROWS_OF = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def upgrade() -> None:
    """Make the indexes of lists and values, and the documents of what there is already."""
    _create_indexes()
    op.execute(SEARCH_DOCUMENT)
    op.execute(DOCUMENTS)
    _create_search()
    for definition in reversed(FUNCTIONS.values()):
        op.execute(definition)
    for (table, event), function in TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER search_after_{event.lower()} AFTER {event} ON orchestrator.{table} "
            f"REFERENCING {_ROWS_OF[event]} FOR EACH STATEMENT EXECUTE FUNCTION orchestrator.{function}()"
        )


def downgrade() -> None:
    """Drop them, and make the indexes that were there before."""
    for table, event in TRIGGERS:
        op.execute(f"DROP TRIGGER search_after_{event.lower()} ON orchestrator.{table}")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION orchestrator.{signature}")
    op.drop_table("subscription_search", schema=SCHEMA)
    op.execute("DROP VIEW orchestrator.subscription_documents")
    op.execute("DROP FUNCTION orchestrator.search_document(text)")
    op.drop_index("ix_subscription_instances_values", "subscription_instances", schema=SCHEMA)
    op.drop_index("ix_subscriptions_out_of_sync", "subscriptions", schema=SCHEMA)
    for name in INDEXES:
        op.drop_index(name, "subscriptions", schema=SCHEMA)
    for name, column in REPLACED.items():
        op.create_index(name, "subscriptions", [column], schema=SCHEMA)


def _create_indexes() -> None:
    for name in REPLACED:
        op.drop_index(name, "subscriptions", schema=SCHEMA)
    for name, columns in INDEXES.items():
        op.create_index(name, "subscriptions", list(columns), schema=SCHEMA)
    op.create_index(
        "ix_subscriptions_out_of_sync",
        "subscriptions",
        ["created_at", "subscription_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("NOT insync"),
    )
    op.create_index(
        "ix_subscription_instances_values",
        "subscription_instances",
        ["values"],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_ops={"values": "jsonb_path_ops"},
        postgresql_with=PENDING,
    )


def _create_search() -> None:
    op.create_table(
        "subscription_search",
        sa.Column("subscription_id", sa.Uuid(), nullable=False),
        sa.Column("document", TSVECTOR(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_id"],
            [f"{SCHEMA}.subscriptions.subscription_id"],
            name=op.f("fk_subscription_search_subscription_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription_id", name=op.f("pk_subscription_search")),
        schema=SCHEMA,
        comment="the words of each subscription; kept by triggers",
    )
    op.execute("INSERT INTO orchestrator.subscription_search TABLE orchestrator.subscription_documents")
    op.create_index(
        "ix_subscription_search_document",
        "subscription_search",
        ["document"],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_with=PENDING,
    )
