# `make demo` and `make test` build everything they need in .venv; a second run starts at once.

VENV := .venv
BIN := $(VENV)/bin
EXTRAS := embedded,chgnet,dev
REMOTE := .venv-jobflow-remote
PYTEST_ARGS ?=
DEMO_ARGS ?=
AUDIT_ARGS ?=

# Pretrained weights and reference data lie beside the checkout on some machines. Elsewhere the
# weights are looked for in the matgl cache and on the hub, and tests that need data say why they
# skip.
MODELS := $(abspath $(wildcard ../shared/models))
ifneq ($(MODELS),)
export NEAREDGE_MODEL_PATH ?= $(MODELS)
endif

# The strict editable install is a tree of links under build/: a file that is added or removed needs
# a new tree. The stamp carries a checksum of the list of files, so that nothing else makes one.
PACKAGE_FILES := find nearedge makers models workflows -type f \
	\( -name '*.py' -o -name '*.yaml' -o -name '*.html' -o -name '*.css' -o -name 'py.typed' \)
TREE := $(shell { $(PACKAGE_FILES) | LC_ALL=C sort; cat pyproject.toml; } | cksum | cut -d ' ' -f 1)
DEPENDENCIES := $(VENV)/dependencies.stamp
LINKED := $(VENV)/linked-$(TREE).stamp
REMOTE_LINKED := $(REMOTE)/linked.stamp

.DEFAULT_GOAL := help
.PHONY: help install jobflow-remote demo test test-slow lint audit format bench docs pins clean \
	distclean FORCE

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

install: $(LINKED) ## build .venv with everything in it

jobflow-remote: $(REMOTE_LINKED) ## build .venv-jobflow-remote, to run flows under jobflow-remote

demo: $(LINKED) ## the main job on real input, with a report at the end
	$(BIN)/nearedge demo $(DEMO_ARGS)

test: $(LINKED) ## the default test-suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# jobflow-remote's environment wants a network: built beforehand or not at all, unless all is wanted.
test-slow: $(LINKED) $(if $(filter 1,$(NEAREDGE_REQUIRE_ALL)),$(REMOTE_LINKED)) ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# mypy judges the installed package, from another folder, as a user's mypy would.
lint: $(LINKED) ## ruff, and mypy --strict on the installed package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(VENV) && bin/mypy --strict --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p nearedge

audit: $(LINKED) ## what is known against the pinned packages; AUDIT_ARGS=--online asks PyPI
	$(BIN)/python .ci/audit.py $(AUDIT_ARGS)

format: $(LINKED) ## sort imports and format
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

bench: $(LINKED) ## the benchmarks, with their figures
	@set -e; for benchmark in benchmarks/*.py; do echo "== $$benchmark"; \
		$(BIN)/python "$$benchmark"; done

docs: $(LINKED) ## write docs/cli.md from the commands themselves
	NO_COLOR=1 $(BIN)/python -m typer nearedge.cli.app utils docs --name nearedge \
		--title 'The command line' --output docs/cli.md

# Local version suffixes such as +cpu name a build, not a version.
pins: $(LINKED) ## write constraints.txt from what .venv holds
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude nearedge \
		--exclude pip | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f; } > $(VENV)/constraints.new
	mv $(VENV)/constraints.new constraints.txt

clean: ## remove what was built, but not .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f $(VENV)/linked-*.stamp

distclean: clean ## remove .venv too
	rm -rf $(VENV) $(REMOTE)

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
		if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then echo "building $(VENV) with $$python"; \
			exec "$$python" -m venv $(VENV); fi; \
	done; \
	echo 'NearEdge needs Python 3.11 or newer with its venv module (on Debian:' \
		'apt-get install python3-venv). Name another one with make PYTHON=/path/to/python.' >&2; \
	exit 1

# torch comes first and by its exact version: where a CPU build can be found pip takes it, and a
# later resolution does not replace it. lightshow comes without the dependencies that it pins to
# versions too old for matgl and atomate2.
$(DEPENDENCIES): constraints.txt pyproject.toml | $(BIN)/python
	@echo 'installing the pinned packages of constraints.txt (once; some minutes)'
	@$(BIN)/python -c 'import sys, tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		extras = project["optional-dependencies"]; \
		chosen = (extras[name] for name in sys.argv[1].split(",")); \
		print(*project["dependencies"], *sum(chosen, []), sep="\n")' '$(EXTRAS)' \
		> $(VENV)/requirements.txt
	@$(BIN)/python -m pip install -qq --constraint constraints.txt torch \
		&& $(BIN)/python -m pip install -qq --constraint constraints.txt \
			--requirement $(VENV)/requirements.txt \
		&& $(BIN)/python -m pip install -qq --no-deps --constraint constraints.txt lightshow \
		|| { echo 'pip could not install the packages of constraints.txt: see its message above;' \
			'a machine without network needs them in a folder named by PIP_FIND_LINKS.' >&2; exit 1; }
	@touch $@

$(LINKED): $(DEPENDENCIES) $(if $(wildcard build/__editable__*),,FORCE)
	@rm -f $(VENV)/linked-*.stamp
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable . \
		--config-settings editable_mode=strict
	@touch $@

# NearEdge beside jobflow-remote: what constraints-jobflow-remote.txt pins beats constraints.txt. The
# editable install is of the other kind, a map of folders, so that both leave each other alone.
$(REMOTE_LINKED): constraints-jobflow-remote.txt $(DEPENDENCIES)
	@test -x $(REMOTE)/bin/python || $(BIN)/python -m venv $(REMOTE)
	@echo 'installing jobflow-remote with NearEdge into $(REMOTE) (once; some minutes)'
	@awk -F== 'NR == FNR { own[$$1]; print; next } !($$1 in own)' \
		constraints-jobflow-remote.txt constraints.txt > $(REMOTE)/constraints.txt
	@pip="$(REMOTE)/bin/python -m pip install -qq --constraint $(REMOTE)/constraints.txt" \
		&& $$pip torch && $$pip --requirement $(VENV)/requirements.txt jobflow-remote \
		&& $$pip --no-deps lightshow \
		&& $$pip --no-deps --no-build-isolation --editable .
	@touch $@

FORCE:
