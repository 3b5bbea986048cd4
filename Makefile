# Everything a fresh machine needs: Python 3.10 or later and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
EXAMPLE ?= imdb_lstm

.PHONY: demo test lint format keras-versions bench bench-startup bench-serving bench-gpu clean

demo: $(VENV)/.demo       ## train an LSTM on film reviews; EXAMPLE=alice_characters, or another, for that one
	$(BIN)/python examples/$(EXAMPLE).py $(ARGS)

# Tests that need PyTorch are skipped without it; EXTRAS=torch installs it.
test: $(VENV)/.test $(EXTRAS:%=$(VENV)/.%)  ## run the whole test suite
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

bench-serving: $(VENV)/.bench  ## the same for a model that Keras has saved: load, memory, latency
	$(BIN)/python -m benchmarks.serving $(ARGS)

bench-gpu: $(VENV)/.bench-gpu  ## measure tinyrnn on the GPU, beside PyTorch there and beside itself on the CPU
	$(BIN)/python -m benchmarks.gpu $(ARGS)

clean:                    ## remove what these commands made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "tinyrnn needs Python 3.10 or later")'
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras, most of them of one that has its name: installed again when the metadata change.
$(VENV)/.%: extras = [$*]
$(VENV)/.demo: extras = [plot,datasets]
$(VENV)/.%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.$(extras)'
	touch $@
