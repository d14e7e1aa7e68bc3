"""The Python API where people who use it are: test suites and notebooks. Stands on `app.api` and on nothing else."""
