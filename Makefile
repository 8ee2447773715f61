# Everything a clone needs. The virtual environment is made once; it is renewed when the pins change.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/alignsd
# What make lab passes on: make lab ARGS="--no-browser --port 9999"
ARGS ?=
# Tests run in so many processes at once, a file in one of them. The tests in a browser run alone,
# since a browser, JupyterLab and kernels are many processes already.
JOBS ?= 2
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
# Without a network apt-get gives up soon.
APT := -o Acquire::Retries=0 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20

.DEFAULT_GOAL := help
.PHONY: help demo class test browser lab figures site clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## reproduce the paper in miniature: all notebooks, then the scorecard
	@$(RUN) run --preset mini

class: $(INSTALLED)  ## make the stages of preset class once, so that students can start in any notebook
	@$(RUN) run --preset class
	@echo
	@echo "Next:"
	@echo "  make lab ARGS=\"--preset class\"              opens working copies for preset class"
	@echo "  tar -czf class.tar.gz papermill_runs/class   packs the run for other machines"
	@echo "  tar -xzf class.tar.gz                        unpacks the run in another clone of this version"
	@echo "docs/teaching.md has a plan for two hours, and one for half a day."

test: $(INSTALLED) browser  ## style, types, unit tests, notebook rules, and all notebooks with the fewest steps
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --quiet --diff alignsd tests benchmarks
	@$(VENV)/bin/python -m mypy
	@$(VENV)/bin/python -m pytest -n $(JOBS) --dist loadfile --ignore tests/browser
	@$(VENV)/bin/python -m pytest tests/browser

# Without a browser the tests that need one are skipped, so nothing here may fail.
browser:  ## install Chromium for the tests in a browser, where apt-get and root can
	@for browser in $(BROWSERS); do \
	  if command -v $$browser >/dev/null 2>&1; then exit 0; fi; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing Chromium for the tests in a browser, once."; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  { apt-get $(APT) update && apt-get $(APT) install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	    || echo "Chromium could not be installed: the tests in a browser are skipped."; \
	fi

lab: $(INSTALLED)  ## open working copies of the notebooks in JupyterLab
	@$(RUN) lab $(ARGS)

figures: $(INSTALLED)  ## draw figures and scorecard of run mini again, from what its notebooks left
	@$(RUN) run --preset mini --force 08

site: $(INSTALLED)  ## build the site from executed notebooks and documents, and check its links
	@$(VENV)/bin/python -m sphinx -q -W --keep-going -c docs/site -b html . site
	@$(VENV)/bin/python docs/site/check_links.py site
	@echo "Open site/index.html in a browser."

clean:  ## delete what notebooks left for each other, and caches; executed notebooks and figures stay
	rm -rf papermill_runs/*/stages papermill_runs/*/ablations .pytest_cache .ruff_cache .mypy_cache
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
