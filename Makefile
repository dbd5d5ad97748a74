PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo dev test lint types pytest browser long life kill-matrix chaos test-lowest bench bench-scale bench-suspended bench-soak clean

demo: $(VENV)/.installed  ## drive the example's products through their whole life
	$(BIN)/python -m examples.demo

dev: $(VENV)/.installed  ## start database, Dagit and daemon with the example, and stay up
	$(BIN)/orchestrator-dagster dev

test: lint types pytest  ## everything that must be green

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

pytest: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist worksteal

browser:  ## install Chromium, without which the tests in a browser are skipped (Debian, as root)
	command -v chromium || (apt-get update && apt-get install --yes --no-install-recommends chromium)

long: $(VENV)/.installed  ## the tests that take long: they are not part of the suite
	$(BIN)/pytest -n 2 --dist worksteal -m long

life: $(VENV)/.installed  ## the life of processes against a model, for longer than in the suite
	LIFE=long $(BIN)/pytest --timeout=3600 tests/integration/test_life_of_processes.py

kill-matrix: $(VENV)/.installed  ## workers killed at every point of every step, of workflows of every shape
	KILL_MATRIX=whole $(BIN)/pytest tests/acceptance/test_kill_matrix.py

chaos: $(VENV)/.installed  ## 300 processes while Postgres is restarted and workers are killed
	CHAOS_PROCESSES=300 $(BIN)/pytest -s tests/chaos

test-lowest:  ## the suite on the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct -e .[dev]
	.venv-lowest/bin/pytest -n 2 --dist worksteal -W default

bench: $(VENV)/.installed bench-scale  ## both benchmarks (see benchmarks/README.md)
	$(BIN)/python -m benchmarks

bench-scale: $(VENV)/.installed  ## load, save, find and change subscriptions, up to a million of them (see docs/scale.md)
	$(BIN)/python -m benchmarks.scale

bench-suspended: $(VENV)/.installed  ## 10,000 suspended processes: what they hold, and what going on with one takes
	$(BIN)/python -m benchmarks.suspended

bench-soak: $(VENV)/.installed  ## 10,000 processes, and what memory they leave behind
	$(BIN)/python -m benchmarks --only soak

# the marker is written last, so that an installation that was interrupted is made again
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .[dev]
	touch $@

clean:  ## remove what the targets above made
	rm -rf $(VENV) .venv-lowest .venv-orchestrator-core .demo .mypy_cache .pytest_cache .ruff_cache *.egg-info
