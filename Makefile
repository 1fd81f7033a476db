# holdfast.ops: what one runs in a checkout. Needs Python >= 3.10 with venv and a package index; `make lint` >= 3.11.
#
#   make quickstart [STORE=s3]   see a database backed up, destroyed, restored and proved equal
#   make test                    unit and integration tests on real servers
#   make lint sanity             every checker; ansible-test sanity on three versions of ansible-core
#   make molecule [SCENARIO=default|omnidoc|cron|hostile|all]  real Debian hosts; root, Docker, Python >= 3.11
#   make bench docs slow build clean

PYTHON ?= python3
STORE ?= local
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
SCENARIO ?= default
MOLECULE_ARGS ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The commands must find the environment's programs (ansible-playbook, weed), not the machine's.
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONDONTWRITEBYTECODE=1
# An environment is up to date when the requirements that it was made from are the present ones.
requirements_key = $(shell cat $(1) | cksum | cut -d' ' -f1)
TEST_STAMP := $(VENV)/.test-$(call requirements_key,requirements.txt requirements-test.txt)
DEV_STAMP := $(VENV)/.dev-$(call requirements_key,requirements.txt requirements-test.txt requirements-dev.txt)
# Molecule lives in an environment of its own, so that the ordinary one keeps to ansible-core.
MOLECULE := $(CURDIR)/.build/molecule
MOLECULE_STAMP := $(MOLECULE)/.made-$(call requirements_key,requirements-molecule.txt scripts/make-molecule-environment)

.PHONY: help venv dev-venv quickstart test lint lint-python lint-format lint-types lint-yaml lint-ansible lint-changelog lint-docs
.PHONY: sanity test-hosts molecule molecule-environment bench docs slow build clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(TEST_STAMP)
dev-venv: $(DEV_STAMP)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$(PYTHON) is older than 3.10 or not there: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "no virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }

$(TEST_STAMP): | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	@# Ansible finds a collection as ansible_collections/<namespace>/<name>; the checkout may lie anywhere.
	@site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	  mkdir -p "$$site/ansible_collections/holdfast"; ln -sfn "$(CURDIR)" "$$site/ansible_collections/holdfast/ops"
	@rm -f $(VENV)/.test-*; touch $@

$(DEV_STAMP): $(TEST_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@rm -f $(VENV)/.dev-*; touch $@

quickstart: venv ## a database backed up, destroyed, restored, proved; STORE=s3 with an object store
	@$(RUN) STORE=$(STORE) scripts/quickstart

test: venv ## unit and integration tests: no root, no Docker, no package of the system
	$(RUN) python -m pytest -q -n $(WORKERS) --dist loadgroup --durations=10 $(PYTEST_ARGS)

lint: dev-venv ## ruff, mypy, yamllint, ansible-lint, changelog, references of the documentation
	@# All of them, whatever the first one finds.
	@$(MAKE) --no-print-directory --keep-going lint-python lint-format lint-types lint-yaml lint-ansible lint-changelog lint-docs

lint-python:
	$(RUN) ruff check .
lint-format:
	$(RUN) ruff format --check .
lint-types:
	$(RUN) mypy plugins/module_utils
lint-yaml:
	$(RUN) yamllint --strict .
lint-ansible:
	$(RUN) ansible-lint --strict
lint-changelog:
	$(RUN) antsibull-changelog lint
lint-docs:
	$(RUN) antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self --skip-rstcheck .

sanity: ## ansible-test sanity on ansible-core 2.17, 2.19 and 2.21
	tests/sanity/run

test-hosts: ## images of Debian 12 and 13 for `make molecule`: root, mmdebstrap, Docker; built once
	PYTHON=$(PYTHON) scripts/build-test-hosts

$(MOLECULE_STAMP):
	PYTHON=$(PYTHON) scripts/make-molecule-environment $(MOLECULE)
	@touch $@

molecule-environment: $(MOLECULE_STAMP)
	@echo $(MOLECULE)

molecule: $(MOLECULE_STAMP) test-hosts ## a scenario on real Debian hosts; SCENARIO=all for every one
	@PATH="$(MOLECULE)/bin:$$PATH" MOLECULE_GLOB='molecule/*/molecule.yml' MOLECULE_COMMAND_BORDERS=false \
	  PYTHONDONTWRITEBYTECODE=1 molecule --base-config molecule/base.yml test $(if $(filter all,$(SCENARIO)),--all,--scenario-name $(SCENARIO)) $(MOLECULE_ARGS)

bench: venv ## speed and memory against the usual tools (tests/benchmarks)
	$(RUN) tests/benchmarks/run $(BENCH_ARGS)

docs: dev-venv ## the reference of every module and role, from their own documentation, into .build/docs
	$(RUN) scripts/build-docs

slow: venv ## what needs packages, Docker and root: only for throwaway machines
	$(RUN) python -m pytest -q -n $(WORKERS) --dist loadfile --durations=10 --timeout=900 tests/slow $(PYTEST_ARGS)

build: dev-venv ## the archive that `ansible-galaxy collection install` takes, into .build
	scripts/copy-collection .build/collection
	$(RUN) ansible-galaxy collection build --force --output-path .build .build/collection

clean: ## remove everything that was made here
	rm -rf .build .venv .ansible .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
