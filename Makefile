# The interface of this repository: `make help`. Every target first makes sure that what it needs is installed.
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest -q
SECONDS := 60
MINUTES := 6
KILLS := 100
EXAMPLES := 100
# Tests of the operations that only a driver with replication, or with groups of its own, can do.
REPLICATED := tests/integration/test_failover.py tests/integration/test_group_driver.py
SOURCES := nbdsvc drivers rig tests benchmarks native

.PHONY: help demo test test-kills storm storm-backups check rows api-table bench fuzz api-fuzz soak mutations walk-replay rig rig-ci rig-replay rig-mutations rig-bench rig-up rig-down docs clean base test-tools rig-tools openstack

help: ## Print this
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

demo: base ## Show the main job from end to end on this machine (root)
	$(PYTHON) -m nbdsvc demo

test: test-tools openstack ## Run all tests (root: they use loop devices and FUSE)
	$(PYTEST) -n 2 --dist worksteal

test-kills: test-tools ## Kill at every step of a backup or of a move between hosts, which `test` does at a few
	NBDSVC_TEST_KILLS=all $(PYTEST) tests/recovery/test_kill_between_hosts.py tests/recovery/test_kill_in_use_between_hosts.py tests/recovery/test_kill_backups.py

storm: test-tools ## A hundred kills of any process over three hosts, with moves, losses of hosts and failovers: make storm KILLS=20
	NBDSVC_KILLS=$(KILLS) $(PYTEST) -s tests/recovery/test_storm_of_hosts.py

storm-backups: test-tools ## Two hundred kills of the service and of the store's server in backups and restores: make storm-backups KILLS=20
	NBDSVC_KILLS=$(if $(filter command%,$(origin KILLS)),$(KILLS),200) $(PYTEST) -s tests/recovery/test_storm_of_backups.py

check: test-tools ## Lint, types, import contracts, C warnings, limits of the house
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy
	.venv/bin/lint-imports
	set -e; for source in native/*/*.c; do gcc -Inative -std=gnu11 -O2 -Wall -Wextra -Werror -fsyntax-only $$source; done
	$(PYTHON) .ci/house
	$(PYTHON) .ci/figures

rows: test-tools ## Which acceptance rows are proved by which tests
	$(PYTEST) --collect-only -p no:warnings --rows tests rig/suite

api-table: test-tools ## Which operations of the API's reference are served, and which tests call them: docs/api-operations.md
	rm -rf build/calls
	NBDSVC_TEST_CALLS=$(CURDIR)/build/calls $(PYTEST) -n 2 --dist worksteal tests/api $(REPLICATED)
	PYTHONPATH=tests/support $(PYTHON) tests/support/api_table.py build/calls > docs/api-operations.md

bench: test-tools ## Measure against the peers; results in benchmarks/results
	$(PYTHON) benchmarks/bench_nbd.py
	$(PYTHON) benchmarks/bench_durable.py
	$(PYTHON) benchmarks/bench_copy.py
	$(PYTHON) benchmarks/bench_clone.py
	$(PYTHON) benchmarks/bench_image_cache.py
	$(PYTHON) benchmarks/bench_backup.py
	$(PYTHON) benchmarks/bench_job.py
	$(PYTHON) benchmarks/bench_service.py
	$(PYTHON) benchmarks/bench_backends.py
	$(PYTHON) benchmarks/bench_idle.py
	$(PYTHON) benchmarks/bench_scheduler.py
	$(PYTHON) benchmarks/report.py

mutations: test-tools ## Plant bugs in a copy of the product, and tell which of them a random walk finds: make mutations NAME="..."
	PYTHONPATH=tests/support:. $(PYTHON) -m walk.hunt $(if $(NAME),"$(NAME)")

walk-replay: test-tools ## Run a random walk that went wrong again, and cut it short: make walk-replay FILE=build/walk/failure.json
	PYTHONPATH=tests/support:. $(PYTHON) -m walk.replay $(FILE)

rig: rig-tools ## Run the suite on virtual machines with real kernels, and remove them: make rig MINUTES=60 for a long run
	RIG_MINUTES=$(MINUTES) $(PYTHON) -m rig run $(RIG_ARGS)

rig-ci: rig-tools ## The part of the suite that every change has to pass: twenty minutes
	RIG_MINUTES=4 RIG_SEED=1 $(PYTHON) -m rig run -s -m ci rig/suite

rig-replay: rig-tools ## Run a saved failure of the rig again: make rig-replay FILE=build/rig/failure.json
	$(PYTHON) -m rig replay $(FILE)

rig-mutations: rig-tools ## Plant bugs in the machines' tree, and tell which of them the rig finds
	$(PYTHON) -m rig mutations

rig-bench: rig-tools ## Measure what real initiators get: fio through kernel nbd and iSCSI against the LV below
	$(PYTHON) -m rig bench
	$(PYTHON) benchmarks/report.py

rig-up: rig-tools ## Bring the machines up and leave them; then: make rig RIG_ARGS=--keep
	$(PYTHON) -m rig up

rig-down: ## Remove the machines, their networks and the namespace
	$(PYTHON) -m rig down

fuzz: test-tools ## Fuzz the readers of images, and say what of them it reached: make fuzz SECONDS=600; it goes on from build/fuzz
	$(PYTHON) tests/native/fuzz.py $(SECONDS) build/fuzz

api-fuzz: test-tools ## Requests of schemathesis within and beyond the API's document: none may be answered with a 5xx: make api-fuzz EXAMPLES=1000
	NBDSVC_TEST_EXAMPLES=$(EXAMPLES) $(PYTEST) tests/api/test_protocol.py -k openapi

soak: test-tools ## Random jobs for MINUTES, every byte checked; then the service must be as small as before
	NBDSVC_SOAK_MINUTES=$(MINUTES) $(PYTEST) -s tests/integration/test_soak.py

docs: base ## Draw the pages that are drawn from the code
	$(PYTHON) .ci/states-page > docs/states.md
	$(PYTHON) .ci/house-page > docs/house.md
	$(PYTHON) .ci/explain-page > docs/explain.md
	$(PYTHON) .ci/policy-page > docs/policy.md

clean: ## Remove what was installed and built here
	rm -rf .venv .venv-openstack .venv-setup.log build *.egg-info nbdsvc/*.so

base:
	@.ci/bootstrap --level base

test-tools:
	@.ci/bootstrap --level test

rig-tools:
	@.ci/bootstrap --level rig

openstack:
	@.ci/bootstrap --level openstack
