# setup   a virtual environment in .venv with the project and what its tests need
# test    all tests; kernel tests need root
# check   format, lint
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
STAMP := .venv/.installed

.PHONY: setup test check clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q -e '.[dev,dask]'
	mkdir -p .types && ln -sfn .. .types/pycompose
	touch $@

test: setup
	.venv/bin/pytest tests

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

clean:
	rm -rf .venv .types build dist *.egg-info
