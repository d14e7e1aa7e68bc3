"""Compose files read into a `Project`: parsed, interpolated, merged, checked; and shown in canonical form."""
