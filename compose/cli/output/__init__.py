"""Output of commands: terminal, tables, live boards, followed logs."""
