"""The Dagster resources that users configure or use."""
