# Each target makes the virtual environment it needs; PYTHON names the interpreter to make it with (3.11 or later).
PYTHON ?= python3
PYTHON_LOWEST ?= python3.11
DEMO := .venv
TEST := .venv-test
LOWEST := .venv-lowest

.PHONY: demo test without lowest faults zoo bench docs site pictures lint clean

demo: $(DEMO)/.installed
	$(DEMO)/bin/fc7 demo

# The tests run on the installed wheel, not on the checkout: a room missing from the wheel cannot hide. Files
# run in the order of tests/conftest.py, three at a time on two cores, because many wait for processes. Threads that
# spin while they wait would take the cores from others. Compiled tests are kept in __pycache__, also where a machine
# is told to keep none: each worker would compile them and pytest's plugins anew, for half of what collecting takes.
TEST_ENV := OMP_WAIT_POLICY=PASSIVE PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=
test: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	$(TEST_ENV) $(TEST)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# All tests with every call that some systems lack taken away from fc7; then with each alone, those tests that ask for it.
# CALLS names some of them.
without: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	$(TEST_ENV) PYTHONPATH=tests/without $(TEST)/bin/python tests/without/each.py $(CALLS) -- -n 3 --dist loadfile --no-loadscope-reorder

# The same on the lowest versions of everything, but for torch and torchvision, which are as usual unless TORCH names them.
lowest: $(LOWEST)/.installed wheel
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	$(TEST_ENV) $(LOWEST)/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# The fault tests at full size, about 25 minutes; the table in docs/reliability.md is written from what they measure.
faults: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	FC7_FAULTS=full FC7_FIGURES=$(TEST)/figures.json PYTHONSAFEPATH=1 $(TEST)/bin/python -m pytest tests/faults --timeout=3600
	$(TEST)/bin/python tests/faults/document.py $(TEST)/figures.json docs/reliability.md

# Layers of seeded networks against the libraries' own code, and the table in docs/zoo.md. 83 of the 138 took 18 minutes
# on two cores. Then a network of each of timm's families.
zoo: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	rm -f $(TEST)/zoo.json
	PYTHONSAFEPATH=1 $(TEST)/bin/python tests/zoo.py $(TEST)/zoo.json docs/zoo.md
	FC7_ZOO=full PYTHONSAFEPATH=1 $(TEST)/bin/python -m pytest tests/extract/backbones/test_zoo_families.py --timeout=900

# Ratios measured side by side in one run; about 15 minutes, with DATA, a folder with train/ and val/, about 45 on a
# machine that does nothing else.
bench: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/help.py
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/cache.py
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/heads.py
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/similar.py
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/review.py $(DATA)
	PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/scale.py --sizes 100000,300000
	$(if $(DATA),for each in main_job extract networks options choices audit near_duplicates export engines screen; do \
	  PYTHONSAFEPATH=1 $(TEST)/bin/python benchmarks/$$each.py $(DATA) || exit 1; done)

# docs/cli.md and the keys in docs/project_file.md, from the parser.
docs: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	PYTHONSAFEPATH=1 $(TEST)/bin/python tests/manual.py docs/cli.md

# The site, in site/, from docs/, the docstrings and the notebook, which runs. A warning, a dead link between pages and a page
# that no other leads to are errors.
site: $(TEST)/.installed
	rm -rf build
	$(TEST)/bin/python -m pip install --quiet '.[docs]'
	rm -rf build
	PYTHONSAFEPATH=1 $(TEST)/bin/python -m sphinx -W --keep-going -q -E -b html docs site

# The pictures of the README, taken of the demo's pages in a browser.
pictures: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	PYTHONPATH=tests PYTHONSAFEPATH=1 $(TEST)/bin/python tests/pictures.py docs/images

lint: $(TEST)/.installed wheel
	$(TEST)/bin/python -m pip install --quiet --no-deps --force-reinstall dist/fc7-*.whl
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	cd $(TEST) && bin/mypy --config-file ../pyproject.toml -p fc7

$(DEMO)/.installed: pyproject.toml $(wildcard *.py cache/* extract/* extract/*/* classify/* classify/*/*)
	$(PYTHON) -m venv $(DEMO)
	rm -rf build
	$(DEMO)/bin/python -m pip install --quiet '.[demo,report,review,tables]'
	rm -rf build
	touch $@

$(TEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	rm -rf build
	$(TEST)/bin/python -m pip install --quiet '.[dev]'
	rm -rf build
	touch $@

$(LOWEST)/.installed: pyproject.toml tests/lowest.txt
	$(PYTHON_LOWEST) -m venv $(LOWEST)
	rm -rf build
	$(LOWEST)/bin/python -m pip install --quiet --constraint tests/lowest.txt $(TORCH) '.[dev]'
	rm -rf build
	touch $@

.PHONY: wheel
wheel: $(TEST)/.installed
	rm -rf build dist
	$(TEST)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf build

clean:
	rm -rf $(DEMO) $(TEST) $(LOWEST) build dist site *.egg-info
