# make course   installs, draws the dataset, runs the four notebooks into build/course, captions
# make test     installs, runs every test
# Both reuse what is there. Without make, see the README for the same lines.

VENV = .venv
PYTHON = $(VENV)/bin/python

.PHONY: course test lint notebooks clean

course: $(VENV)/.course data/toy/annotations
	$(PYTHON) -m extras.course

test: $(VENV)/.test
	$(PYTHON) -m pytest

lint: $(VENV)/.test
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

# The notebooks in git, run anew in order and stripped of what differs from run to run.
notebooks: $(VENV)/.test data/toy/annotations
	$(PYTHON) -m extras.course --in-place

data/toy/annotations: $(VENV)/.course
	$(PYTHON) toy_coco.py --out data/toy --seed 0

$(PYTHON):
	python3 -m venv $(VENV)

$(VENV)/.course: requirements.txt | $(PYTHON)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.test: requirements-extra.txt $(VENV)/.course
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements-extra.txt
	touch $@

clean:
	rm -rf build
