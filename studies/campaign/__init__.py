"""Campaigns: what a person writes, and what is stored of it."""
