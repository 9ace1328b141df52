# Two commands: `make demo` runs the studio on a real project, `make test` proves it. Both set everything up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= data
WORKERS ?= 3
SEED ?= 1
STORIES ?= 200
RERUNS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-job-kills test-chaos test-renpy test-s3 check bench lock clean

help: ## What can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## A virtual environment with exactly the locked packages

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ComfyVN needs Python 3.11 or later: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Start the backend with a sample project, show the whole loop, leave it running
	$(BIN)/comfyvn demo --data $(DATA)/demo

serve: $(STAMP) ## Start the backend on the data folder (DATA=…)
	$(BIN)/comfyvn serve --data $(DATA)

test: $(STAMP) ## The whole test suite, on real servers (a file at a time on each of WORKERS processes; RERUNS=0 is strict)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
		--reruns $(RERUNS) --max-suite-reruns 4 --reruns-delay 2 --rerun-show-tracebacks

test-job-kills: $(STAMP) ## Workers, API and log are killed between the events of jobs
	COMFYVN_TEST_JOB_KILLS=1 $(BIN)/python -m pytest tests/simulation/test_job_kill.py

test-chaos: $(STAMP) ## Anything is killed at random moments, for a while (CHAOS="--seed 1 --minutes 5")
	PYTHONPATH=.:tests $(BIN)/python -m simulation.chaos $(CHAOS)

test-renpy: $(STAMP) ## Exported games against the real Ren'Py (SEED=1 STORIES=200)
	$(BIN)/python -m tests.renpy --seed $(SEED) --stories $(STORIES)

test-s3: $(STAMP) ## Blobs in S3 buckets, on a server that is installed beside
	$(BIN)/python -m tests.s3

check: $(STAMP) ## Style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## Figures beside their peers, medians of one interleaved run
	$(BIN)/python -m tests.bench

lock: $(STAMP) ## Resolve the dependencies anew into requirements.lock (needs uv)
	uv pip compile --quiet pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o requirements.lock

clean: ## Remove what setup made
	rm -rf $(VENV)
