"""Registries: the distribution protocol, credentials, pull and push."""
