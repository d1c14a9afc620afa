# `make` does everything from nothing: it needs only Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# DVC asks for the user's name and home, which a bare number, as in a container, does not have.
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)
export HOME ?= $(shell $(PYTHON) -c 'from pathlib import Path; print(Path.home())' 2>/dev/null \
	|| echo $(CURDIR)/.dvc/tmp)

.PHONY: all help report experiments setup mend reset test long slow extras bench records gpu-check fuzz lint format lock dist

all: setup mend  ## set up, run the pipeline, show the results
	dvc repro
	@echo
	@digits results
	@echo
	@echo "Look next at report/index.html, draw a digit on report/draw.html, or try:"
	@echo "  source .venv/bin/activate"
	@echo "  digits predict models/two_hidden.npz --index 7"
	@echo "  dvc exp run -n slower -S lr=0.055"

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

report: setup mend  ## open the report in a browser
	dvc repro report
	@python -m webbrowser -t "file://$(CURDIR)/report/index.html" >/dev/null 2>&1 || true
	@echo "The report: file://$(CURDIR)/report/index.html"
	@echo "To draw on: file://$(CURDIR)/report/draw.html"

experiments: setup  ## compare the experiments that DVC recorded: experiments.html
	@digits experiments

# uv installs a lock in a third of pip's time. It does not read pip's configuration, so it is handed
# the index and the certificates from there. Where it fails, or with UV=, pip installs the same lock.
UV ?= $(BIN)/uv
install = { [ -n "$(UV)" ] && $(pip_settings) $(UV) pip install --quiet --python $(1)/bin/python \
	--require-hashes -r $(2); } || \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(2)
pip_setting = $$($(BIN)/python -m pip config get $(1) 2>/dev/null)
pip_settings = UV_SYSTEM_CERTS=1 UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$(call pip_setting,global.index-url)}}"
install_this = $(1)/bin/python -m pip install --quiet --disable-pip-version-check \
	--no-deps --no-build-isolation -e .

# For other Pythons some locked packages have no wheels, and would be compiled or refused.
known_python = import re, sys; \
	known = re.findall(r"Python :: (3\.\d+)", open("pyproject.toml").read()); \
	this = "%d.%d" % sys.version_info[:2]; \
	sys.exit(None if this in known else "the locked packages are for Python " + ", ".join(known) \
	+ ", got " + this + "; choose one of these with: make PYTHON=python" + known[-1])

setup: .venv/installed  ## install what the pipeline needs into .venv

# A fresh environment whenever the lock or the package's metadata change.
.venv/installed: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c '$(known_python)'
	rm -rf .venv
	$(PYTHON) -m venv .venv
	[ -z "$(UV)" ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(call install,.venv,requirements.lock)
	$(call install_this,.venv)
	touch $@

.venv/tested: .venv/installed requirements-test.lock
	$(call install,.venv,requirements-test.lock)
	touch $@

# DVC writes two files of its own in place, and a kill in that moment leaves one that it refuses to
# read. Without them it can go on; what is no longer in dvc.lock runs again. Nothing else is touched,
# and not a dvc.lock with a merge's conflicts. Where DVC links outputs into its cache and the cache has
# lost them, it stops at links that lead nowhere; what they stood for runs again.
mend:  ## repair what a kill or a lost cache left of DVC's own files
	@[ -s .dvc/tmp/rwlock ] || rm -f .dvc/tmp/rwlock
	@[ ! -e dvc.lock ] || dvc stage list >/dev/null 2>&1 || grep -q '^<<<<<<<' dvc.lock || { \
		mv dvc.lock dvc.lock.tmp; \
		if dvc stage list >/dev/null 2>&1; then \
			rm dvc.lock.tmp; echo "dvc.lock was cut short and is made anew"; \
		else mv dvc.lock.tmp dvc.lock; fi; }
	@find data models metrics plots report -type l -lname '*/files/md5/*' ! -exec test -e {} \; \
		-exec rm {} + 2>/dev/null || true

reset:  ## go back to the committed state: git restore -SW . && dvc checkout
	git restore -SW . && dvc checkout

# Three processes keep two cores busy: tests wait for a browser, a server or another process at times.
PARALLEL := pytest -n 3 --dist loadfile --no-loadscope-reorder

test: .venv/tested  ## run the tests that need no browser and take little time
	$(PARALLEL)

long: .venv/tested  ## run the others, as .ci/run does: pages in a browser, and what takes longer
	$(PARALLEL) -m "long and not slow"

# Tests that start clusters and servers, or repeat things many times.
slow: extras  ## run these and the slowest tests
	pytest -m "long or slow"

# Trackers, S3 remotes, and what slow tests need. MLflow's server takes no pyarrow as new as ours, so
# it gets an environment of its own.
extras: .venv/extras  ## install trackers and S3 remotes

.venv/extras: .venv/tested requirements-extras.lock requirements-mlflow.lock
	$(call install,.venv,requirements-extras.lock)
	$(PYTHON) -m venv .venv/mlflow-server
	$(call install,.venv/mlflow-server,requirements-mlflow.lock)
	touch $@

# Takes half an hour and wants the machine for itself. PyTorch stays out of the pipeline's environment.
bench: .venv-bench/installed  ## measure training beside PyTorch, scikit-learn and NumPy
	.venv-bench/bin/python -m benchmarks.training

records: .venv-bench/installed  ## measure the time to target accuracies: docs/records.md
	.venv-bench/bin/python -m benchmarks.records

.venv-bench/installed: .venv/installed requirements-test.lock benchmarks/requirements.txt
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	$(call install,.venv-bench,requirements-test.lock)
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(call install_this,.venv-bench)
	touch $@

# Runs with whatever Python has CuPy and PyTorch: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= .venv-bench/bin/python
gpu-check:  ## test and measure training on a GPU: benchmarks/results-gpu.json
	$(GPU_PYTHON) -m benchmarks.gpu

# 100,000 inputs for every reader, about half an hour. Linux only.
fuzz: .venv/tested  ## feed mutated files to every reader
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[fuzz]'
	python -m tests.hostile.fuzz

dist: .venv/installed  ## build wheel, sdist and bill of materials in dist/
	python .ci/dist.py dist
	python .ci/sbom.py dist/sbom.cdx.json

lint: .venv/tested  ## check style and types
	ruff check .
	ruff format --check .
	mypy

format: .venv/tested  ## format the code
	ruff check --fix .
	ruff format .

# Needs uv. The locks serve every supported Python and platform, and name no index. All extras are
# resolved together first, so that none of them asks for another version of what `make` installs.
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--fork-strategy fewest --python-version 3.11 --custom-compile-command "make lock"
RUN := --extra sweep --extra build
TEST := $(RUN) --extra test --extra lint
lock:
	$(COMPILE) $(TEST) --extra tracking --extra s3 --extra slow pyproject.toml -o requirements-extras.lock
	$(COMPILE) $(TEST) --constraint requirements-extras.lock pyproject.toml -o requirements-test.lock
	$(COMPILE) $(RUN) --constraint requirements-extras.lock pyproject.toml -o requirements.lock
	sed -n 's/^mlflow-skinny==\([^ ]*\).*/mlflow==\1/p' requirements-extras.lock | \
		$(COMPILE) - -o requirements-mlflow.lock
	echo uv | $(COMPILE) - -o requirements-uv.lock
