"""What commands draw and print: terminal, tables, live boards, followed logs."""
