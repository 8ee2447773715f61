# Everything a clone needs. The virtual environment is made once; it is renewed when the pins change.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/alignsd

.DEFAULT_GOAL := help
.PHONY: help demo test lab figures clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## reproduce the paper in miniature: all notebooks, then the scorecard
	@$(RUN) run --preset mini

test: $(INSTALLED)  ## style, unit tests, notebook rules, and all notebooks with the fewest steps
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/python -m pytest

lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	@$(VENV)/bin/jupyter lab notebooks/00_start_here.ipynb

figures: $(INSTALLED)  ## draw figures and scorecard of run mini again, from what its notebooks left
	@$(RUN) run --preset mini --force 08

clean:  ## delete what notebooks left for each other, and caches; executed notebooks and figures stay
	rm -rf papermill_runs/*/stages .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "alignsd needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)."; \
	  echo "Install one, then name it: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV), once: about 7 GB, most of it PyTorch."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
