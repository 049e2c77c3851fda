# The interface to this clone: `make help`. Every target first makes the clone ready (.ci/bootstrap), which takes a
# fraction of a second when it is ready already. No make on this machine yet? `python3 .ci/bootstrap demo` does the same.

PYTHON := .venv/bin/python
# Processes of the test suite. Tests that must not run beside one another share an xdist_group.
JOBS ?= $(shell nproc)
# More words for pytest, for example: make test PYTEST="-k snapshot -x"
PYTEST ?=
# More words for the demo, for example: make demo DEMO="--keep"
DEMO ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench rows clean ready-%

help: ## show this list
	@echo "nbdsvc: block volumes for hypervisor hosts. Targets:"; echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ready-demo ## the main job from start to end, on this machine, in a few minutes
	@$(PYTHON) -m nbdsvc.cli demo $(DEMO)

test: ready-test ## every test (PYTEST="-k word" for some of them)
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup $(PYTEST)

check: ready-check ## formatting, lint, types, arrows between the rooms, C warnings, house rules, generated pages
	@$(PYTHON) .ci/check

bench: ready-bench ## measure, and draw benchmarks/results/report.html
	@$(PYTHON) benchmarks/run.py

rows: ready-rows ## which acceptance rows are proved by which tests
	@$(PYTHON) -m pytest --rows -q

clean: ## remove what was built and installed in this clone; Debian packages stay
	rm -rf .venv build *.egg-info nbdsvc/*.so .hypothesis .mypy_cache .ruff_cache .import_linter_cache native/tests/build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

ready-%:
	@python3 .ci/bootstrap --only $*
