"""The conversation between commands and a project's supervisor."""
