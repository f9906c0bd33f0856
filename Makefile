# Each target makes the virtual environment it needs; PYTHON names the interpreter to make it with (3.11 or later).
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test

.PHONY: demo test lint clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/fc7 demo

# The tests run on the installed wheel, not on the checkout: a room missing from the wheel cannot hide.
test: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	PYTHONSAFEPATH=1 $(TEST)/bin/python -m pytest

lint: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	cd $(TEST) && bin/mypy --config-file ../pyproject.toml -p fc7

$(DEMO)/.installed: pyproject.toml $(wildcard *.py cache/* extract/* classify/*)
	$(PYTHON) -m venv $(DEMO)
	rm -rf build
	$(DEMO)/bin/python -m pip install --quiet '.[demo]'
	rm -rf build
	touch $@

$(TEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	rm -rf build
	$(TEST)/bin/python -m pip install --quiet '.[dev]'
	rm -rf build
	touch $@

.PHONY: wheel
wheel: $(TEST)/.installed
	rm -rf build dist
	$(TEST)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf build

clean:
	rm -rf $(DEMO) $(TEST) build dist *.egg-info
