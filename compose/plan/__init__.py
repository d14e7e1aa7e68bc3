"""Plans, decided purely: what each command does to make what exists what is wanted."""
