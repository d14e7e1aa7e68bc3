"""Clients of the keeper."""
