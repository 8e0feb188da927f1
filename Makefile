# Everything runs in .venv; each target installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: install tune test check bench bench-search bench-numerics gpu clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[int8]'
	-$(BIN)/tune engines --fetch ppocr
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	touch $@

install: $(VENV)/.installed

tune: $(VENV)/.installed  ## find the best settings of this machine: make tune ARGS="--budget 5m"
	$(BIN)/tune $(ARGS)

test: $(VENV)/.installed-test  ## run the tests: make test ARGS="-k session"
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.installed-test  ## types, lint, format, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-test  ## measure the tool itself
	$(BIN)/python -m pytest tests/bench --benchmark-enable -s $(ARGS)

bench-search: $(VENV)/.installed-test  ## replay recorded tables: this search beside others, into build/search
	$(BIN)/python -m tests.bench.replay.compare $(ARGS)

bench-numerics: $(VENV)/.installed-test  ## what each runtime and precision reads, into build/numerics
	$(BIN)/python -m tests.bench.numerics $(ARGS)

gpu: $(VENV)/.installed-test  ## on a CUDA machine: tuned against untuned PyTorch, with the GPU's counters
	$(PIP) -e '.[torch]'
	$(BIN)/pip uninstall --quiet --yes onnxruntime  # its files are those of the CUDA build, which goes in its place
	$(BIN)/pip install --quiet --force-reinstall --no-deps 'onnxruntime-gpu>=1.24'
	-$(BIN)/tune engines --fetch ppocr
	$(BIN)/python -m tests.bench.gpu $(ARGS)

clean:
	rm -rf $(VENV)
