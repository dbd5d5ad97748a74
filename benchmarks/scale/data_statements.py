"""The SQL that makes subscriptions out of numbers, one statement for each kind of row.

Everything about a subscription follows from its number, so the same numbers give the same database, and a row can name
another one without looking it up. Numbers ending in 0 to 2 are nodes, 3 to 7 ports, 8 and 9 circuits; those ending in
0 and 3 are active, and are what others use.
"""

from sqlalchemy import text

FUNCTIONS = text("""
    CREATE FUNCTION pg_temp.pick(number bigint, seed bigint, choices integer) RETURNS integer IMMUTABLE LANGUAGE sql
    AS $$ SELECT CAST((hashint8extended(number, seed) & 9007199254740991) % choices AS integer) $$;

    CREATE FUNCTION pg_temp.subscription(number bigint) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT CAST(md5('subscription ' || number) AS uuid) $$;

    CREATE FUNCTION pg_temp.block(number bigint, block text) RETURNS uuid IMMUTABLE LANGUAGE sql
    AS $$ SELECT CAST(md5(block || ' ' || number) AS uuid) $$;

    CREATE FUNCTION pg_temp.city(choice integer) RETURNS text IMMUTABLE LANGUAGE sql
    AS $$ SELECT (ARRAY['Amsterdam', 'Utrecht', 'Rotterdam', 'Groningen', 'Eindhoven', 'Delft', 'Leiden', 'Nijmegen',
                        'Maastricht', 'Tilburg', 'Breda', 'Arnhem', 'Zwolle', 'Enschede', 'Wageningen', 'Leeuwarden',
                        'Middelburg', 'Assen', 'Lelystad', 'Den Haag', 'Haarlem', 'Almere', 'Deventer', 'Venlo',
                        'Hilversum', 'Gouda', 'Alkmaar', 'Heerlen', 'Sittard', 'Emmen'])[choice + 1] $$
""")

# Which product, customer and status a subscription has, and its dates. Customers are not alike: a few have thousands of
# subscriptions, most of them some. Three subscriptions of ten are in the first city.
FACTS = text("""
    CREATE TEMPORARY TABLE facts ON COMMIT DROP AS
    SELECT number,
           number % 10 AS digit,
           pg_temp.subscription(number) AS subscription_id,
           CASE WHEN number % 10 <= 2
           THEN 'Node ' || (ARRAY['Cisco', 'Juniper', 'Nokia'])[1 + pg_temp.pick(number, 1, 3)]
                WHEN number % 10 <= 7 THEN 'Port ' || (ARRAY['1G', '10G', '100G'])[1 + pg_temp.pick(number, 1, 3)]
                WHEN pg_temp.pick(number, 1, 4) = 0 THEN 'Circuit protected'
                ELSE 'Circuit'
           END AS product,
           (ARRAY['university', 'school', 'hospital', 'library', 'museum', 'institute'])[1 + customer % 6]
             || '-' || lower(replace(pg_temp.city(customer % 30), ' ', '-')) || '-' || customer AS customer_id,
           CASE WHEN number % 10 IN (0, 3) OR share < 55 THEN 'active'
                WHEN share < 75 THEN 'terminated'
                WHEN share < 83 THEN 'provisioning'
                WHEN share < 90 THEN 'initial'
                WHEN share < 95 THEN 'disabled'
                ELSE 'migrating'
           END AS status,
           share >= 93 OR share % 20 <> 7 AS insync,
           pg_temp.city(CASE WHEN pg_temp.pick(number, 3, 10) < 3 THEN 0
                             ELSE 1 + pg_temp.pick(number, 4, 29)
                        END) AS city,
           pg_temp.pick(number, 5, 60) AS rack,
           moment
    FROM generate_series(1, :count) AS number,
         LATERAL (SELECT pg_temp.pick(number, 2, 100) AS share,
                         CAST(:customers * power(pg_temp.pick(number, 6, 10000) / 10000.0, 2) AS integer) AS customer,
                         TIMESTAMPTZ '2020-01-01 00:00+00' + number * (INTERVAL '5 years' / :count)
                           + pg_temp.pick(number, 7, 3600) * INTERVAL '1 ms' AS moment) AS chosen
""")

SUBSCRIPTIONS = text("""
    INSERT INTO orchestrator.subscriptions
           (subscription_id, product_id, customer_id, description, status, insync, start_date, end_date, note,
            created_at)
    SELECT facts.subscription_id,
           product.product_id,
           facts.customer_id,
           CASE WHEN digit <= 2 THEN 'Node ' || facts.number || ' in ' || city || ', rack ' || rack
                WHEN digit <= 7 THEN 'Port ' || facts.number || ' in ' || city || ' of ' || facts.customer_id
                ELSE 'Circuit ' || facts.number || ' from ' || city || ' for ' || facts.customer_id
           END || ', ' || (ARRAY['research', 'campus', 'backbone', 'storage', 'student housing', 'video', 'telescope',
                                 'backup', 'office', 'laboratory'])[1 + pg_temp.pick(number, 8, 10)]
               || ' ' || (ARRAY['network', 'access', 'uplink', 'link', 'service'])[1 + pg_temp.pick(number, 9, 5)]
               || CASE WHEN number % 5000 = 17 THEN ' wavelength experiment' ELSE '' END,
           facts.status,
           insync,
           CASE WHEN facts.status IN ('active', 'terminated', 'disabled', 'migrating') THEN moment + INTERVAL '2 days'
           END,
           CASE WHEN facts.status = 'terminated' THEN moment + (30 + rack * 5) * INTERVAL '1 day' END,
           CASE WHEN pg_temp.pick(number, 10, 20) = 0 THEN 'call ' || facts.customer_id || ' before maintenance' END,
           moment
    FROM facts
    JOIN orchestrator.products AS product ON product.name = facts.product
""")

NODES = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
    SELECT pg_temp.block(number, 'node'),
           subscription_id,
           (SELECT product_block_id FROM orchestrator.product_blocks WHERE name = 'Node'),
           jsonb_build_object(
               'node_name', lower(left(city, 3)) || '-' || role || '-' || number,
               'site', city,
               'role', role,
               'loopback', host(inet '10.0.0.0' + number),
               'rack', rack,
               'managed', pg_temp.pick(number, 12, 10) < 7,
               'contacts', jsonb_build_array('noc@' || customer_id || '.example',
                                             'desk' || rack || '@' || customer_id || '.example')),
           'node',
           0
    FROM facts,
         LATERAL (SELECT (ARRAY['core', 'metro', 'edge'])[1 + pg_temp.pick(number, 11, 3)] AS role) AS chosen
    WHERE digit <= 2
""")

PORTS = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
    SELECT pg_temp.block(number, 'port'),
           subscription_id,
           (SELECT product_block_id FROM orchestrator.product_blocks WHERE name = 'Port'),
           jsonb_build_object(
               'port_name', 'xe-' || rack || '/0/' || number,
               'mtu', (ARRAY[1500, 1500, 1500, 4470, 9000])[1 + pg_temp.pick(number, 13, 5)],
               'enabled', status = 'active',
               'allowed_vlans', jsonb_build_array(100 + rack, 2 + pg_temp.pick(number, 14, 4000))),
           'port',
           0
    FROM facts
    WHERE digit BETWEEN 3 AND 7
""")

CHANNELS = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values)
    SELECT pg_temp.block(number, 'channel'),
           subscription_id,
           (SELECT product_block_id FROM orchestrator.product_blocks WHERE name = 'Channel'),
           jsonb_build_object('channel_vlan', 2 + pg_temp.pick(number, 15, 4000))
    FROM facts
    WHERE digit IN (4, 5)
""")

CIRCUITS = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
    SELECT pg_temp.block(number, 'circuit'),
           subscription_id,
           (SELECT product_block_id FROM orchestrator.product_blocks WHERE name = 'Circuit'),
           jsonb_build_object(
               'circuit_name', 'nl-' || lower(left(city, 3)) || '-' || number,
               'bandwidth', (ARRAY[100, 1000, 1000, 10000])[1 + pg_temp.pick(number, 16, 4)],
               'protected', product = 'Circuit protected'),
           'circuit',
           0
    FROM facts
    WHERE digit >= 8
""")

ENDS = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, label, values)
    SELECT pg_temp.block(number, 'end' || side),
           subscription_id,
           (SELECT product_block_id FROM orchestrator.product_blocks WHERE name = 'End'),
           'side ' || side,
           jsonb_build_object('end_vlan', 2 + pg_temp.pick(number, 17 + side, 4000),
                              'address', host(inet '172.16.0.0' + (2 * number + side) % 1048576))
    FROM facts, generate_series(0, 1) AS side
    WHERE digit >= 8
""")

# A port uses one of the active nodes and an end one of the active ports; the two ends of a circuit never the same.
# With fewer than two ports to use there is no circuit that has both of its ends connected.
RELATIONS = text("""
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT pg_temp.block(number, 'port'), 'node', 0,
           pg_temp.block(10 * (1 + pg_temp.pick(number, 19, CAST(:count / 10 AS integer))), 'node')
    FROM facts
    WHERE digit BETWEEN 3 AND 7
    UNION ALL
    SELECT pg_temp.block(number, 'port'), 'channel', 0, pg_temp.block(number, 'channel')
    FROM facts
    WHERE digit IN (4, 5)
    UNION ALL
    SELECT pg_temp.block(number, 'circuit'), 'ends', side, pg_temp.block(number, 'end' || side)
    FROM facts, generate_series(0, 1) AS side
    WHERE digit >= 8
    UNION ALL
    SELECT pg_temp.block(number, 'end' || side), 'port', 0,
           pg_temp.block(10 * ((pg_temp.pick(number, 20, CAST(:count / 10 AS integer)) + side)
                               % CAST(:count / 10 AS integer)) + 3, 'port')
    FROM facts, generate_series(0, 1) AS side
    WHERE digit >= 8
""")

VERSIONS = text("""
    INSERT INTO orchestrator.subscription_versions (subscription_id, version, changed_at, changed_by, changes)
    SELECT subscription_id, 1, moment, 'import',
           jsonb_build_object('status', jsonb_build_object('before', NULL, 'after', status),
                              'customer_id', jsonb_build_object('before', NULL, 'after', customer_id))
    FROM facts
""")

# The trees: a chassis with about as many shelves as each of them has cards.
TREES = text("""
    CREATE TEMPORARY TABLE trees ON COMMIT DROP AS
    SELECT pg_temp.subscription(-number) AS subscription_id,
           -number AS number,
           blocks,
           CAST(round(sqrt(blocks - 1)) AS integer) AS shelves
    FROM unnest(CAST(:sizes AS integer[])) WITH ORDINALITY AS given (blocks, number)
""")

TREE_SUBSCRIPTIONS = text("""
    INSERT INTO orchestrator.subscriptions
           (subscription_id, product_id, customer_id, description, status, insync, start_date)
    SELECT subscription_id,
           (SELECT product_id FROM orchestrator.products WHERE name = 'Chassis'),
           'trees',
           'Chassis of ' || blocks || ' blocks, number ' || abs(number),
           'active',
           true,
           TIMESTAMPTZ '2025-01-01 00:00+00'
    FROM trees
""")

TREE_BLOCKS = text("""
    INSERT INTO orchestrator.subscription_instances
           (subscription_instance_id, subscription_id, product_block_id, values, attribute, position)
    SELECT made.id, trees.subscription_id, block.product_block_id, made.values, made.attribute, made.position
    FROM trees,
         LATERAL (SELECT 'Chassis' AS block,
                         pg_temp.block(number, 'chassis') AS id,
                         jsonb_build_object('chassis_name', 'chassis' || number, 'generation', 0) AS values,
                         'chassis' AS attribute,
                         0 AS position
                  UNION ALL
                  SELECT 'Shelf', pg_temp.block(number, 'shelf ' || shelf),
                         jsonb_build_object('shelf_name', 'shelf ' || shelf, 'height', 1 + shelf % 4), NULL, NULL
                  FROM generate_series(0, shelves - 1) AS shelf
                  UNION ALL
                  SELECT 'Card', pg_temp.block(number, 'card ' || card),
                         jsonb_build_object('serial', md5(number || ' ' || card), 'slot', card,
                                            'working', card % 7 > 0),
                         NULL, NULL
                  FROM generate_series(0, blocks - shelves - 2) AS card) AS made
    JOIN orchestrator.product_blocks AS block ON block.name = made.block
""")

TREE_RELATIONS = text("""
    INSERT INTO orchestrator.subscription_instance_relations (in_use_by_id, attribute, position, depends_on_id)
    SELECT pg_temp.block(number, 'chassis'), 'shelves', shelf, pg_temp.block(number, 'shelf ' || shelf)
    FROM trees, generate_series(0, shelves - 1) AS shelf
    UNION ALL
    SELECT pg_temp.block(number, 'shelf ' || card % shelves), 'cards', card / shelves,
           pg_temp.block(number, 'card ' || card)
    FROM trees, generate_series(0, blocks - shelves - 2) AS card
""")

TREE_VERSIONS = text("""
    INSERT INTO orchestrator.subscription_versions (subscription_id, version, changed_by, changes)
    SELECT subscription_id, 1, 'import', '{}'
    FROM trees
""")

# What the triggers would have done for each subscription.
SEARCH = text("""
    INSERT INTO orchestrator.subscription_search
    TABLE orchestrator.subscription_documents
""")

# Foreign keys are triggers too: what the statements above write is right, and a million look-ups are not needed.
WITHOUT_TRIGGERS = text("SET LOCAL session_replication_role = replica")
MEMORY = text("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL work_mem = '256MB'")

# Indexes that no constraint needs are made anew afterwards, which takes less time than to keep them.
SECONDARY_INDEXES = text("""
    SELECT CAST(index.indexrelid AS regclass)::text AS name, pg_get_indexdef(index.indexrelid) AS definition
    FROM pg_index AS index
    JOIN pg_class AS indexed ON indexed.oid = index.indrelid
    JOIN pg_namespace AS namespace ON namespace.oid = indexed.relnamespace
    WHERE namespace.nspname = 'orchestrator'
      AND indexed.relname = ANY(:tables)
      AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = index.indexrelid)
    ORDER BY name
""")
