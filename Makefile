# make run: set up and run the main job. make test: set up and pass the tests.
PYTHON ?= python3
VENV := .venv

run: $(VENV)/installed
	$(VENV)/bin/harness run --target memorydb --nemesis partition

test: $(VENV)/installed
	$(VENV)/bin/python tests/halves.py

check: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/clang-format --dry-run -Werror harness/native/*.?pp tests/native/*.cpp

$(VENV)/installed: pyproject.toml CMakeLists.txt $(wildcard harness/native/*.?pp)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[test]'
	touch $@

.PHONY: run test check
