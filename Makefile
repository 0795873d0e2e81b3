# Each target does all of its own set-up in .venv. `make help` lists them.
PYTHON ?= python3
STUDY ?= config.yaml
ARGS ?=
LOCK ?= envs/cpu.txt
BIN := .venv/bin
READY := .venv/ready-$(shell cat $(filter-out envs/bench.txt envs/textattack.txt,$(wildcard envs/*.txt)) pyproject.toml | cksum | cut -d' ' -f1)
BENCH := .venv/bench-$(shell cksum < envs/bench.txt | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help setup run plan test lint bench bench-gpu clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18
	@echo "  variables: STUDY=studies/x.yaml  ARGS='options for snakemake'  PYTHON=python3.12  LOCK=envs/cuda.txt"

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than Python 3.11: make PYTHON=python3.12 ..."; exit 1; }
	@echo "setting up .venv from $(LOCK) (once, a few minutes)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f .venv/ready-* && touch $@

setup: $(READY) ## make .venv with the pinned packages

run: $(READY) ## run a study to its report (default: config.yaml, the demonstration)
	@$(BIN)/python -m xstilts run $(STUDY) $(ARGS)

plan: $(READY) ## list what `make run` would do, and why
	@$(BIN)/python -m snakemake --configfile $(STUDY) --dry-run $(ARGS)

# One thread each: the tests' models are so small that a second thread only waits for the first.
test: $(READY) ## run the tests, at most four at once
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(READY) ## check style: ruff, snakefmt, snakemake --lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check --compact-diff Snakefile rules
	@$(BIN)/python -m snakemake --configfile studies/tiny.yaml --lint

# After the set-up, which begins anew with another list of packages: what only benchmarks need is then put in again.
$(BENCH): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/bench.txt
	@rm -f .venv/bench-* && touch $@

bench: $(BENCH) ## measure against peers -> benchmarks/results/*.json, docs/performance.md
	@$(BIN)/python -m benchmarks $(ARGS)
	@$(BIN)/python -m benchmarks.performance

bench-gpu: $(BENCH) ## the same on a GPU: XLM-R base to XXL (LOCK=envs/cuda.txt)
	@$(BIN)/python -m benchmarks gpu
	@$(BIN)/python -m benchmarks.performance

clean: ## delete results and logs; the artifact store data/ and .venv stay
	rm -rf results work logs .snakemake
