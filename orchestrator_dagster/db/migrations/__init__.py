"""The migrations of the schema `orchestrator`; `db.migrate` runs them."""
