# Every verb creates .venv when it is missing: `make demo` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: setup demo test fmt check docs bench torture sanitize link clean

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(PIP) install --quiet --upgrade pip setuptools

# The editable install compiles the kernels: again when one of them changes.
KERNELS := $(wildcard stores/kernels/*.cpp stores/kernels/*.h stores/kernels/*/*.cpp stores/kernels/*/*.h)

# What the demo needs is much less than what the tests need, so each has a stamp of its own.
.venv/.demo: pyproject.toml setup.py $(KERNELS) | .venv/bin/python
	$(PIP) install --quiet --editable ".[text,eval]"
	touch $@

.venv/.dev: pyproject.toml setup.py $(KERNELS) | .venv/bin/python
	$(PIP) install --quiet --editable ".[dev]"
	touch $@ .venv/.demo

setup: .venv/.dev link

link: .venv/.dev
	$(BIN)/python dev/link_rooms.py

demo: .venv/.demo
	$(BIN)/python examples/demo.py

fmt: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile

# A thousand kills and a fault at every system call; most of an hour.
torture: setup
	$(BIN)/python -m tests.stores.torture --kills 1000 --calls

# The native kernels under ASan and UBSan; the plain library is built again at the end.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -O1 -g
sanitize: setup
	ATTAR_NATIVE_FLAGS="$(SANITIZE)" $(BIN)/python setup.py -q build_ext --inplace --force
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m pytest tests/stores/kernels tests/stores/cascade \
	  --ignore tests/stores/kernels/test_triton.py --ignore tests/stores/kernels/test_library.py
	$(BIN)/python setup.py -q build_ext --inplace --force

# The site in build/site: reference and pictures are written first, links are checked, no network.
docs: setup
	$(BIN)/python dev/docs.py

bench: setup
	$(BIN)/python -m bench
	$(BIN)/python examples/pdf_questions.py
	$(BIN)/python examples/shrink_chroma.py

clean:
	rm -rf .venv build *.egg-info
