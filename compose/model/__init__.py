"""The project as plain data, what is observed of it, and its JSON form: the floor, which imports no other folder."""
