"""Storages: what a database is called, who may write to it, and how trials get into it."""
