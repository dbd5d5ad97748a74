"""Subscriptions in Postgres: the store of the models, lists, history."""
