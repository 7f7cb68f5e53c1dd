# The two commands of README: make demo, make test. Everything is built in .venv, .venv-2.11 and container/.venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONSTRAINTS ?= tests/constraints/airflow-3.3.txt
CONSTRAINTS_2_11 ?= tests/constraints/airflow-2.11.txt

.PHONY: demo test check format lock clean

demo: .venv/ready container/.venv/ready
	.venv/bin/airflow-ml demo

# The newest Airflow runs everything; Composer's default, 2.11, all that meets Airflow. The trainer's tests run in
# its own environment: it never sees Airflow, nor Airflow TensorFlow.
test: .venv/ready .venv-2.11/ready container/.venv/ready
	.venv/bin/python -m pytest tests --ignore tests/container
	.venv-2.11/bin/python -m pytest tests/unit tests/airflow tests/chaos
	container/.venv/bin/python -m pytest tests/container

check: .venv/ready
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

format: .venv/ready
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.venv/ready: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip install --quiet --python .venv/bin/python --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

.venv-2.11/ready: pyproject.toml $(CONSTRAINTS_2_11) .venv/ready
	$(PYTHON) -m venv .venv-2.11
	.venv/bin/uv pip install --quiet --python .venv-2.11/bin/python --constraint $(CONSTRAINTS_2_11) --editable '.[dev]'
	touch $@

container/.venv/ready: container/requirements.txt container/requirements-test.txt .venv/ready
	$(PYTHON) -m venv container/.venv
	.venv/bin/uv pip install --quiet --python container/.venv/bin/python --requirement container/requirements-test.txt
	touch $@

# What the trainer runs on, with hashes; keeps the versions that are locked unless a .in file asks for others.
lock: .venv/ready
	for part in requirements requirements-gpu requirements-test; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command 'make lock' container/$$part.in --output-file container/$$part.txt || exit 1; \
	done

clean:
	rm -rf .venv .venv-2.11 container/.venv .demo .emulator
