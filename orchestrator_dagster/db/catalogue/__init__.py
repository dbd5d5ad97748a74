"""The catalogue in Postgres, and how it follows the code."""
