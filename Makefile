# setup    a virtual environment in .venv with the project and what its tests need;
#          CONSTRAINTS=.ci/constraints.txt takes the exact versions that CI uses
# demo     the dask example: up, four workers, a computation, down (root)
# test     all tests, those of the kernel beside the rest; they need root
# test-vm  some of them in a Debian 12 guest: cgroup v2, systemd, AppArmor (root); others: make test-vm VM_TESTS='tests/...'
# check    format, lint, types (of tests too), house rules
# bench    the rows of the budgets table beside docker compose and podman-compose, as a table and bench.json (root);
#          BENCH="--rows up1,up50 --runs 5" chooses; else builds beside buildah and a pull beside skopeo and umoci too
# faults   SIGKILL to each process, pair and all of them at 2,400 steps of the commands, and as many on a machine that is
#          short of disk, inodes, descriptors, processes or memory (root; hours);
#          FAULTS=800 chooses how many; a sample of them is among the tests
# soak     restarts, scaling, exec and full logs for MINUTES=10, and whether helpers grow (root)
# clean    everything that the others made
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
FAULTS ?= 2400
MINUTES ?= 10
STAMP := .venv/.installed
DASK := .venv/bin/pycompose -p dask-distributed
# The finder that setuptools installs for -e imports enough to cost every process 10 ms; a folder on the path costs none.
LIGHT_PATH = cd .venv/lib/python*/site-packages && rm -f __editable__.pycompose*.pth __editable___pycompose*_finder.py \
  && echo "$(CURDIR)/.types" >pycompose.pth

.PHONY: setup demo test test-vm check bench faults soak clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip uninstall -q -y pycompose 2>/dev/null || true  # its name before
	.venv/bin/pip install -q $(addprefix -c ,$(CONSTRAINTS)) -e '.[dev,dask]'
	mkdir -p .types && ln -sfn .. .types/pycompose
	$(LIGHT_PATH)
	touch $@

demo: setup
	@$(DASK) -f examples/dask/compose.yaml up -d; status=$$?; \
	if [ $$status = 0 ]; then \
	  $(DASK) scale dask-worker=4 && .venv/bin/python examples/dask/compute.py 4; status=$$?; \
	  $(DASK) down || status=$$?; \
	fi; exit $$status

test: setup
	.venv/bin/python tests/side_by_side.py

test-vm: setup
	.venv/bin/python tests/vm/guest.py $(VM_TESTS)

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy -p pycompose.compose -p pycompose.runtime -p pycompose.network -p pycompose.errors -p pycompose.nsenter -p pycompose.aio
	.venv/bin/mypy tests
	.venv/bin/pytest -q tests/test_house.py

bench: setup
	.venv/bin/python tests/bench $(BENCH)
	@if [ -z "$(BENCH)" ]; then .venv/bin/python tests/bench/build.py; .venv/bin/python tests/bench/pull.py; fi

faults: setup
	PYCOMPOSE_FAULTS=$(FAULTS) .venv/bin/pytest -q -s tests/kernel/test_faults.py tests/kernel/test_shortages.py tests/registry/test_killed.py

soak: setup
	.venv/bin/python tests/bench/soak.py --minutes $(MINUTES)

clean:
	rm -rf .venv .types .cache build dist *.egg-info bench.json
