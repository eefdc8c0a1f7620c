# Two commands matter: `make lab` opens the course, `make test` tests it. Each installs what it needs into .venv first.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
STAMP := $(VENV)/installed
# Jupyter refuses to run as root (as in a container) unless told so.
LAB_FLAGS ?= $(if $(filter 0,$(shell id -u)),--allow-root)
# One thread a process: two test processes with two threads each are slower on two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
NOTEBOOKS = $(wildcard notebooks/*.ipynb solutions/*.ipynb)

.PHONY: help lab test test-all setup lint types unit long quick check-notebooks notebooks nbval browser bench clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo "make lab              open JupyterLab at lecture 00"
	@echo "make test             everything below, in this order, up to the first failure"
	@echo "make lint             ruff: lint and format"
	@echo "make types            mypy on the package"
	@echo "make unit             unit tests (make quick: without the slow ones)"
	@echo "make check-notebooks  are the notebooks what their sources say?"
	@echo "make nbval            run every notebook and compare what it prints"
	@echo "make browser          drive JupyterLab in Chromium"
	@echo "make test-all         make test going on after a failure, and every lecture on other networks"
	@echo "make bench            the package beside its peers, as one table (BENCH='occlusion rise': some; --write: keep it)"
	@echo "make notebooks        build the notebooks from solutions/*.py"
	@echo "make setup            only install;  make clean: remove what was made here, .venv too"

# glibc gives memory back after every large batch and asks for it anew, which can take a third of a forward pass, or not:
# that depends on what the process did before.
lab bench: export MALLOC_TRIM_THRESHOLD_ ?= 536870912
lab bench: export MALLOC_MMAP_THRESHOLD_ ?= 67108864
lab: setup
	$(BIN)/jupyter lab $(LAB_FLAGS) --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

test: lint types unit check-notebooks nbval browser

test-all:
	@$(MAKE) --keep-going test long

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "This course needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV): a few minutes and about 6 GB the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# Matplotlib announces on stderr that it builds its font cache; better here than in a notebook.
	@$(BIN)/python -c "import matplotlib.font_manager"
	@touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

unit: setup
	$(PYTEST) -n 2 -m "not browser and not long" tests

long: setup
	$(PYTEST) -n 2 -m long tests

quick: setup
	$(PYTEST) -n 2 -m "not browser and not slow and not long" tests

check-notebooks: setup
	$(BIN)/python data_scripts/build_notebooks.py --check

notebooks: setup
	$(BIN)/python data_scripts/build_notebooks.py

# --dist loadfile: the cells of a notebook need one kernel, in their order. The images are drawn first: drawing shows a
# bar, which no stored page has.
nbval: setup
ifeq ($(NOTEBOOKS),)
	@echo "nbval: there are no notebooks yet"
else
	$(BIN)/python -c "from cnnvis_helpers import diorama; diorama.load('test')"
	$(PYTEST) --nbval --nbval-current-env --nbval-cell-timeout=300 --nbval-kernel-startup-timeout=120 \
	  --nbval-sanitize-with=tests/nbval_sanitize.cfg -n 2 --dist loadfile notebooks solutions
endif

browser: setup
ifeq ($(wildcard tests/browser/test_*.py),)
	@echo "browser: there are no browser tests yet"
else
	$(PYTEST) -m browser tests/browser
endif

# torchattacks asks for releases that JupyterLab cannot run with; what we compare with works without.
bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps torchattacks==3.5.1
	$(BIN)/python benchmarks $(BENCH)

clean:
	rm -rf $(VENV) build runs cnnvis_helpers.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
