# Needs python3 (3.11 or newer), make and a package registry; without make, see the README.
# Everything is installed into .venv once; running a target again reuses what is installed.

VENV = .venv
PYTHON = $(VENV)/bin/python
INSTALL = $(PYTHON) -m pip install --quiet --disable-pip-version-check

.PHONY: course test lint notebooks numbers figures space clean

# Draw the dataset, run the four notebooks into build/course, caption test pictures, score them.
course: $(VENV)/.course data/toy/annotations
	$(PYTHON) -m tools.run_notebooks

# Run every test and hold the coverage floor of pyproject.toml.
test: $(VENV)/.test
	$(PYTHON) -m pytest --cov

# Check style, format and types.
lint: $(VENV)/.test
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# For authors: rerun the notebooks in git, in order, without what differs from run to run.
notebooks: $(VENV)/.test data/toy/annotations
	$(PYTHON) -m tools.run_notebooks --in-place

# For authors: measure what has no file in benchmarks/numbers yet, then write it into the documents.
# `python -m tools.write_numbers NAME` measures a stage again.
numbers: data/toy/annotations
	$(PYTHON) -m tools.write_numbers

# For authors: redraw the figures in images/.
figures: $(VENV)/.course
	$(PYTHON) -m tools.draw_figures

# Assemble the web page as a Hugging Face Space in build/space.
space: $(PYTHON)
	$(PYTHON) -m tools.make_space

# Remove what the targets above have built; .venv, data/ and models/ stay.
clean:
	rm -rf build .coverage .mypy_cache .pytest_cache .ruff_cache

data/toy/annotations: $(VENV)/.course
	$(PYTHON) toy_coco.py --out data/toy --seed 0

$(PYTHON):
	python3 -m venv $(VENV)

$(VENV)/.course: requirements.txt | $(PYTHON)
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/.test: requirements-extra.txt $(VENV)/.course
	$(INSTALL) -r requirements-extra.txt
	touch $@
