# gateway: set-up, demonstration, tests, checks. Needs Python 3.11 or newer with venv, and make.
#
#   make run     a whole gateway on loopback, fed with the samples; Ctrl-C stops it
#   make test    the tests; what needs a service that is not there is skipped by name
#   make lint    ruff, mypy, the import contract
#   make test-service   the slow tests, and those with Postfix, Dovecot and other services, where these are installed
#   make fuzz    every parser of our own, two minutes each (ARGS="--seconds 600 --target rtf" for one; --seed 1: the same inputs each time)
#   make prove          the proof that nothing accepted is lost: 200 runs with SIGKILL, every other fault, power cuts, controls; an hour or two
#   make prove-short    the same in a few minutes: SIGKILL and mixed faults (ARGS="--runs 3 --messages 400" says how much)
#   make prove-control  the proof against gateways that are broken on purpose: it must find what each loses, or it proves nothing
#   make prove-fresh    docs/install.md, command by command, in a fresh Debian 12 (root; makes and removes it)
#   make bundle  one archive with all wheels and an installer, for machines without a package index (ARGS="--python-version 3.12")
#   make deb     the Debian package of this release, for the Debian it is built on
#   make lock    writes the lock files anew (needs uv)
#   make clean   removes what the others made

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
FOLDER ?= run-state

.PHONY: help run test test-service lint fuzz prove prove-short prove-control prove-fresh bundle deb lock clean setup setup-dev
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#  *\(make .*\)/\1/p' Makefile

# The set-up is done again only when its lock file has changed; the stamp's name carries the lock's checksum.
define install
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed (PYTHON=/path/to/python3 names one)." >&2; exit 2; }
	@stamp=".venv/.installed-$(1)-$$(cksum < $(2) | tr ' ' '-')"; \
	if [ -e "$$stamp" ]; then exit 0; fi; set -e; \
	if ! [ -x $(BIN)/python ] || ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		rm -rf .venv; \
		$(PYTHON) -m venv .venv || { echo "make: $(PYTHON) has no venv; on Debian: apt install python3-venv" >&2; exit 2; }; \
	fi; \
	echo "Setting up .venv from $(2) (once; this downloads from the package index)"; \
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --require-hashes -r $(2); \
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	pwd > "$$site/gateway-source.pth"; \
	printf '%s\n' '#!/bin/sh' 'exec "$$(dirname "$$(readlink -f "$$0")")/python" -P -m gateway "$$@"' > $(BIN)/gateway; \
	chmod +x $(BIN)/gateway; \
	rm -f .venv/.installed-$(1)-*; touch "$$stamp"
endef

setup: requirements.lock
	$(call install,run,requirements.lock)

setup-dev: requirements-dev.lock
	$(call install,dev,requirements-dev.lock)

run: setup
	@$(BIN)/gateway demo --folder $(FOLDER) < /dev/null

test: setup-dev
	$(BIN)/python -m pytest -n 2 -m "not long and not slow and not service" $(ARGS)
	@$(BIN)/python tests/services.py

test-service: setup-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "(service or slow) and not long" $(ARGS)

lint: setup-dev
	$(BIN)/ruff check gateway tests samples
	$(BIN)/ruff format --check gateway tests samples
	$(BIN)/mypy gateway
	$(BIN)/lint-imports

fuzz: setup-dev
	$(BIN)/python -m tests.fuzz $(ARGS)

prove: setup-dev
	$(BIN)/python -m tests.e2e.prove $(ARGS)
	$(BIN)/python -m tests.e2e.prove powercut
	$(BIN)/python -m tests.e2e.prove control

prove-short: setup-dev
	$(BIN)/python -m tests.e2e.prove --short $(ARGS)

prove-control: setup-dev
	@$(BIN)/python -m tests.e2e.prove control $(ARGS)

prove-fresh: setup-dev
	$(BIN)/python -m tests.e2e.fresh $(ARGS)

bundle: setup-dev
	@$(BIN)/python packaging/bundle.py $(ARGS)

deb:
	@packaging/deb.sh

lock:
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml -o requirements.lock
	uv pip compile --universal --generate-hashes --python-version 3.11 --no-header pyproject.toml --group dev -o requirements-dev.lock

clean:
	rm -rf .venv $(FOLDER) .fuzz .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
	find gateway tests samples -name __pycache__ -type d -prune -exec rm -rf {} +
