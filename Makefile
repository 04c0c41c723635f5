# Every target makes .venv when it is missing, and brings it up to date when the dependencies change.
#
#   make demo    sample stories -> tokenizer -> training -> evaluation -> three stories
#   make test    the test suite
#   make check   format, lint, types, layers, doctests, the command reference
#   make bench   the benchmarks, which write benchmarks/results/ and read SEEDBED_DATA, real texts
#   make faults  kills and damage: does every run end as if nothing had happened?
#   make validate  does `seedbed compare` find a truth that is known? 10 minutes or less
#   make docs    docs/commands.md anew, from the commands themselves

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The first Python of a version that Seedbed runs on; or say make PYTHON=...
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$python && break; done)

.PHONY: demo test check bench faults validate docs
.NOTPARALLEL:

demo: .venv/core
	$(BIN)/seedbed demo

test: .venv/dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --doctest-modules src/seedbed
	$(BIN)/python docs/make_commands.py --check

bench: .venv/dev
	@failed=; for benchmark in $(filter-out %/harness.py %/meters.py %/trainers.py %/gpu.py %/known_texts.py %/validate.py,$(wildcard benchmarks/*.py)); do \
		echo "$$benchmark"; $(BIN)/python $$benchmark || failed="$$failed $$benchmark"; \
	done; test -z "$$failed" || { echo "Failed:$$failed" >&2; exit 1; }

faults: .venv/dev
	$(BIN)/python tests/faults/harness.py
	$(BIN)/python tests/faults/comparison.py

validate: .venv/dev
	$(BIN)/python benchmarks/validate.py

docs: .venv/dev
	$(BIN)/python docs/make_commands.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Seedbed needs Python 3.11, 3.12 or 3.13: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

# The stamps say when what was installed last. What `dev` installs holds the core.
.venv/core: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e .
	@touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(INSTALL) -e ".[dev]"
	@touch .venv/core $@
