"""Carries plans out, and keeps health and restarts, on a Host, whoever that is."""
