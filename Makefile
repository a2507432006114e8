# One command per chore; `make` lists them. Stamp files keep repeated runs fast.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PYTHON

# Two more than cores: half of the time, tests wait for a daemon.
WORKERS ?= $(shell n=$$(nproc); echo $$((n > 2 ? 4 : n + 2)))
TESTS ?= tests
ARGS ?=
CHECKED := src tests bench deploy
FAST_TESTS := not clients and not browser and not postgresql and not object_store

.PHONY: help
help: ## Show this list
	@echo "Hythe: your own Docker Hub. Targets:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | awk -F '|' '{ printf "  %-16s %s\n", $$1, $$2 }'
	@echo "Variables: PYTHON=python3.12  NO_SYSTEM_PACKAGES=1  ARGS='--listen 0.0.0.0:5000'  TESTS=tests/unit  WORKERS=2"

.PHONY: serve
serve: .venv/.serve ## Install what a hub needs, and run one on http://127.0.0.1:5000
	@exec .venv/bin/hythe serve $(ARGS)

.PHONY: install
install: .venv/.serve ## Create the environment only; the command is .venv/bin/hythe

.PHONY: install-dev
install-dev: .venv/.dev ## Create the environment with the tools for tests and checks

.PHONY: system-packages
system-packages: ## Install all system packages that hub, tests and benchmarks use
	@scripts/system-packages all

.PHONY: test
test: .venv/.dev .cache/node/.stamp .cache/image/.stamp ## Install what the tests need and run them (TESTS=.. for a part)
	@scripts/system-packages serve test
	.venv/bin/pytest -n $(WORKERS) $(TESTS) $(ARGS)

.PHONY: test-fast
test-fast: .venv/.dev ## Run the tests that need no daemon, database server or browser (SQLite only)
	@scripts/system-packages serve
	.venv/bin/pytest -n $(WORKERS) -m "$(FAST_TESTS)" tests/unit tests/contracts tests/architecture $(ARGS)

.PHONY: faults
faults: .venv/.dev .cache/node/.stamp ## Run the fault tests with all repetitions: kills, full disks, races
	@scripts/system-packages serve test
	.venv/bin/pytest --all-rounds tests/faults tests/unit/registry/test_races.py tests/builds/test_killed_worker.py tests/builds/test_push_storm.py $(ARGS)

.PHONY: test-packages
test-packages: .venv/.packaging .cache/node/.stamp .cache/image/.stamp ## Run all tests of wheel, deb, image, chart and units
	@scripts/system-packages serve test image
	.venv/bin/pytest --all-rounds tests/clients/test_packages.py tests/clients/test_container_image.py $(ARGS)

.PHONY: bench
bench: .venv/.dev ## Run the benchmarks next to peers and print the ratios
	@scripts/system-packages serve bench
	.venv/bin/python -m bench $(ARGS)

.PHONY: lint
lint: .venv/.dev ## Check format, style, types and import rules
	.venv/bin/ruff format --check $(CHECKED)
	.venv/bin/ruff check $(CHECKED)
	.venv/bin/mypy src tests/parts tests/parts_selftest tests/architecture bench deploy
	.venv/bin/lint-imports --no-cache

.PHONY: check
check: lint test ## Run lint, then test

.PHONY: format
format: .venv/.dev ## Format the code and sort its imports
	.venv/bin/ruff check --fix $(CHECKED)
	.venv/bin/ruff format $(CHECKED)

.PHONY: lock
lock: .venv/.serve ## Write requirements/*.lock from pyproject.toml (ARGS=--upgrade for newer versions)
	scripts/lock $(ARGS)

.PHONY: image
image: .venv/.serve ## Build the container image for amd64 and arm64, into buildah's store (docs/install.md)
	@scripts/image $(ARGS)

.PHONY: deb
deb: .venv/.serve ## Build the Debian package for this release into dist/
	@scripts/deb $(ARGS)

.PHONY: wheel
wheel: .venv/.serve ## Build the wheel and the source archive into dist/
	@uv=$$(command -v uv || echo .cache/uv/bin/uv); $$uv build --quiet --out-dir dist .

.PHONY: clean
clean: ## Remove the environment and all caches, but no hub data
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.serve: requirements/serve.lock pyproject.toml scripts/python-environment
	@scripts/find-python "$(PYTHON)" >/dev/null
	@PYTHON="$$(scripts/find-python "$(PYTHON)")" scripts/system-packages serve || echo "Continuing without them; features that need them will say so."
	@echo "Creating the Python environment in .venv .."
	@scripts/python-environment requirements/serve.lock
	@touch $@

.venv/.dev: .venv/.serve requirements/dev.lock
	@echo "Adding the tools for tests and checks .."
	@scripts/python-environment requirements/dev.lock
	@touch $@

.venv/.packaging: .venv/.dev requirements/packaging.lock
	@scripts/python-environment requirements/packaging.lock
	@touch $@

# The parts of the image that change rarely, for this machine only: preparing them takes half a minute of CPU time.
.cache/image/.stamp: .venv/.serve scripts/image deploy/image/packages requirements/serve.lock
	@if scripts/image --cached --base-only --platforms "linux/$$(dpkg --print-architecture)"; then touch $@; \
	else echo "Continuing without it; the tests of the image will fail."; fi

.cache/node/.stamp: tests/parts/package.json tests/parts/package-lock.json
	@scripts/system-packages serve test
	@scripts/node-packages
	@touch $@
