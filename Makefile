# `make` does everything from nothing: it needs only Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

# DVC asks for the user's name and home, which a bare number, as in a container, does not have.
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)
export HOME ?= $(shell $(PYTHON) -c 'from pathlib import Path; print(Path.home())' 2>/dev/null \
	|| echo $(CURDIR)/.dvc/tmp)

.PHONY: all setup mend extras report test slow bench fuzz lint format lock

all: setup mend
	dvc repro
	@echo
	@python -m pipeline results
	@echo
	@echo "Look next at report/index.html, draw a digit on report/draw.html, or try:"
	@echo "  source .venv/bin/activate"
	@echo "  python -m pipeline predict models/two_hidden.npz --index 7"
	@echo "  dvc exp run -S lr=0.055"

report: setup mend
	dvc repro report
	@python -m webbrowser -t "file://$(CURDIR)/report/index.html" >/dev/null 2>&1 || true
	@echo "The report: file://$(CURDIR)/report/index.html"
	@echo "To draw on: file://$(CURDIR)/report/draw.html"

setup: .venv/installed

# A fresh environment whenever the lock or the package's metadata change.
.venv/installed: requirements.lock pyproject.toml
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# DVC writes two files of its own in place, and a kill in that moment leaves one that it refuses to
# read. Without them it can go on; what is no longer in dvc.lock runs again. Nothing else is touched,
# and not a dvc.lock with a merge's conflicts.
mend:
	@[ -s .dvc/tmp/rwlock ] || rm -f .dvc/tmp/rwlock
	@[ ! -e dvc.lock ] || dvc stage list >/dev/null 2>&1 || grep -q '^<<<<<<<' dvc.lock || { \
		mv dvc.lock dvc.lock.tmp; \
		if dvc stage list >/dev/null 2>&1; then \
			rm dvc.lock.tmp; echo "dvc.lock was cut short and is made anew"; \
		else mv dvc.lock.tmp dvc.lock; fi; }

extras: .venv/extras

# Trackers, S3 remotes, and what slow tests need. MLflow's server takes no pyarrow as new as ours, so
# it gets an environment of its own.
.venv/extras: .venv/installed requirements-extras.lock requirements-mlflow.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-extras.lock
	$(PYTHON) -m venv .venv/mlflow-server
	.venv/mlflow-server/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mlflow.lock
	touch $@

test: setup
	pytest -n 2 --dist loadfile --no-loadscope-reorder

# Tests that start clusters and servers, or repeat things many times.
slow: extras
	pytest -m slow

# Takes half an hour and wants the machine for itself. PyTorch stays out of the pipeline's environment.
bench: .venv-bench/installed
	.venv-bench/bin/python -m benchmarks.training

.venv-bench/installed: requirements.lock pyproject.toml benchmarks/requirements.txt
	rm -rf .venv-bench
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# 100,000 inputs for every reader, about half an hour. Linux only.
fuzz: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[fuzz]'
	python -m tests.hostile.fuzz

lint: setup
	ruff check .
	ruff format --check .
	mypy

format: setup
	ruff check --fix .
	ruff format .

# Needs uv. The locks serve every supported Python and platform, and name no index. All extras are
# resolved together first, so that none of them asks for another version of what `make` installs.
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--fork-strategy fewest --python-version 3.11 --custom-compile-command "make lock"
LOCKED := --extra sweep --extra test --extra lint --extra build
lock:
	$(COMPILE) $(LOCKED) --extra tracking --extra s3 --extra slow pyproject.toml -o requirements-extras.lock
	$(COMPILE) $(LOCKED) --constraint requirements-extras.lock pyproject.toml -o requirements.lock
	sed -n 's/^mlflow-skinny==\([^ ]*\).*/mlflow==\1/p' requirements-extras.lock | \
		$(COMPILE) - -o requirements-mlflow.lock
