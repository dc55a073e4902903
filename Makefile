# Every target makes .venv first if it has to; Python 3.10 to 3.12 and make are all it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
DATA ?= data/esc50

COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) -f docker/compose.yaml
SUBMIT ?= python sweeps/table4.py

.PHONY: sweep sweep-esc50 findings test test-slow test-browser test-docker chaos lint format docs bench up down submit clean

sweep: .venv/installed  ## the main job: Table IV on the embedded synthetic dataset
	$(BIN)/python sweeps/table4.py

# With fewer steps of stage B order is at chance there: docs/measurements.md, "How many steps real sound takes".
sweep-esc50: .venv/installed  ## the same on real sound
	$(BIN)/python sweeps/table4.py --name esc50 --data $(DATA) --train-folds 1,2 --eval-folds 3 --test-folds 4 \
	  --takes 6 --eval-takes 1 --batch-sizes 64 --base-steps 800 --steps-a 300 --steps-b 1200

findings: .venv/installed  ## the study of docs/findings.md, from an empty storage: an estimated 7 hours on two cores; FLAGS="--part row-o"
	$(BIN)/python sweeps/findings.py --data $(DATA) $(FLAGS)

# Two processes. A file of unit tests stays on one, for what its tests share; the integration tests are two groups
# (tests/integration/conftest.py), since one alone leaves a third of two cores idle.
test: .venv/installed
	$(BIN)/python -m pytest -m "not slow and not integration and not docker" --numprocesses 2 --dist loadfile
	$(BIN)/python -m pytest tests/integration -m "not slow and not chaos and not browser" --numprocesses 2 --dist loadscope

chaos: .venv/installed  ## kill -9 of each part at each moment, then 100 times at random: an hour and a half and more
	$(BIN)/python -m pytest -m chaos -s

test-slow: .venv/installed  ## what needs minutes or gigabytes: full-size models, Slurm, 192 points
	$(BIN)/python -m pytest -m slow

test-browser: .venv/installed  ## MLflow's page in headless Chromium (Debian's chromium and chromium-driver)
	$(BIN)/python -m pytest -m browser

test-docker: .venv/installed  ## the compose cluster, built, started and killed for real (13 minutes; needs an engine)
	@docker info >/dev/null 2>&1 || { echo "no Docker engine answers (docker info): nothing was tested"; exit 1; }
	$(BIN)/python -m pytest -m docker tests/docker

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Strictly: a dead link, or a tutorial whose code fails, fails it.
docs: .venv/docs  ## the site, with every tutorial executed, in build/site
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m mkdocs build --strict --site-dir build/site

# Not among them: gpu_packing needs a GPU, high_pass real sound, early_stopping a recorded search.
BENCHMARKS = chunked_memory extraction interval_coverage lane_life order_by_steps precision scale step_cost sweep_overhead

bench: .venv/installed  ## the benchmarks that need nothing but a CPU, one after another: hours
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || exit 1; done

up:  ## a Ray cluster with MLflow on this machine, in containers: README, "A cluster in containers"
	docker/up.sh

down:  ## stop it; results and secrets stay in its volumes
	$(COMPOSE) --profile submit down

submit:  ## the main job, as the code is now, on that cluster
	$(COMPOSE) run --rm --no-deps -T submit \
	  --runtime-env-json '{"env_vars": {"TCLAP_GIT_COMMIT": "'$$(git rev-parse HEAD 2>/dev/null)'"}}' -- $(SUBMIT)

# What the image installs: the packages of pyproject.toml, in the versions of constraints.txt, with their hashes.
docker/requirements.lock: pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra image --universal --python-version 3.11 --constraint constraints.txt \
	  --generate-hashes --only-binary :all: --no-annotate --no-emit-index-url --quiet \
	  --custom-compile-command "make $@" --output-file $@

# torch comes first and by itself: the constraints file pins it, and what is built against it follows.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 10) <= v < (3, 13) and f"tclap needs Python 3.10 to 3.12, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache
