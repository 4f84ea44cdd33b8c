# Every target makes the virtual environment first where it is missing or out of date; after that it is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := outputs/demo
SEEDS := 1,2,3
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=logical --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test test-rest test-all test-long neighbors lint bench docs report clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\npython train.py -m experiment=RECIPE; each file in conf/experiment/ has its commands and its cost:\n'
	@awk 'FNR == 1 {text = ""} FNR > 1 && text !~ /[.?]$$/ { \
		sub(/^# /, text == "" ? "" : " "); text = text $$0; \
		if (match(text, /[.?]( |$$)/)) { \
			text = substr(text, 1, RSTART); name = FILENAME; gsub(/conf\/experiment\/|\.yaml/, "", name); \
			printf "  %-24s %s\n", name, text}}' conf/experiment/*/*.yaml conf/experiment/*/*/*.yaml

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "the pinned versions need Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(INSTALLED) ## .venv with the pinned dependencies

demo: $(INSTALLED) ## everything from nothing to outputs/demo/report/index.html (minutes on 2 CPU cores)
	$(BIN)/python train.py --multirun experiment=demo/pretrain position=rope,sinusoidal,learned seed=$(SEEDS)
	$(BIN)/python train.py --multirun experiment=demo/finetune position=rope,sinusoidal,learned seed=$(SEEDS)
	$(BIN)/python evaluate.py runs='$(DEMO)/*' title='RoFormer demo'

test: $(INSTALLED) ## the tests to run before a commit (minutes on 2 CPU cores); COVERAGE=--cov measures what they cover
	$(BIN)/python -m coverage erase
	$(PYTEST) $(COVERAGE) -m 'not slow and not full and not long and not neighbors'

test-rest: $(INSTALLED) ## the tests that `make test` omits (trainings, processes, all encodings x backends), after it
	$(PYTEST) -m '(slow or full) and not long and not neighbors'

test-all: COVERAGE := --cov
test-all: test test-rest ## every test once, one part after the other; at least 90 % coverage by the first

neighbors: $(INSTALLED) ## exports in PEFT, sentence-transformers, TRL, lm-eval and mteb; it installs these
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[neighbors]'
	HF_HUB_OFFLINE=1 $(PYTEST) -m neighbors tests/neighbours

test-long: $(INSTALLED) ## killed runs, power cuts (as root), a million broken files; the record goes to docs/reliability.json
	$(PYTEST) -m long

lint: $(INSTALLED) ## ruff, mypy, which package may import which, spelling, yaml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/yamllint --strict .

bench: $(INSTALLED) ## speed beside its peers in their best setting, on this machine (at most 6 minutes)
	$(BIN)/python -m benchmarks.run --windows

docs: $(INSTALLED) ## the generated pages, and the documentation site in site/, strictly and offline
	$(BIN)/python -m tools.pages
	$(BIN)/zensical build --clean --strict

report: $(INSTALLED) ## docs/reproduction.md from docs/results
	$(BIN)/python -m tools.reproduction_page

clean: ## delete the environment, caches and outputs
	rm -rf $(VENV) data/cache outputs build site *.egg-info
