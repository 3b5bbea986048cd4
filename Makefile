# Everything a fresh machine needs: Python 3.10 or later and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint format keras-versions bench bench-startup clean

demo: $(VENV)/.demo       ## train an LSTM on film reviews, print its accuracy, draw its curves
	$(BIN)/python examples/imdb_lstm.py $(ARGS)

test: $(VENV)/.test       ## run the whole test suite
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.lint       ## check style and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.lint     ## rewrite the layout
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

keras-versions: $(VENV)/.test  ## exchange files with nine versions of Keras: half an hour, ARGS="--versions 3.15.1" for one
	$(BIN)/python tests/keras_versions.py $(ARGS)

bench: $(VENV)/.bench     ## measure tinyrnn beside its peers: twenty minutes, ARGS=--quick for two
	$(BIN)/python -m benchmarks $(ARGS)

bench-startup: $(VENV)/.bench  ## the same for import time, size and the first step
	$(BIN)/python -m benchmarks.startup $(ARGS)

clean:                    ## remove what these commands made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tinyrnn needs Python 3.10 or later")'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras: installed again when the metadata change.
$(VENV)/.demo: extras = [plot,datasets]
$(VENV)/.test: extras = [test]
$(VENV)/.lint: extras = [lint]
$(VENV)/.bench: extras = [bench]
$(VENV)/.%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.$(extras)'
	touch $@
