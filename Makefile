# Each target sets up what it needs in .venv; a fresh machine needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# PyPI's torch for Linux brings gigabytes of CUDA packages along; PyTorch's own index has
# a build without, used where it can be reached.
CPU_INDEX := https://download.pytorch.org/whl/cpu
REACHABLE = import urllib.request as r; r.urlopen("$(CPU_INDEX)/torch/", timeout=5)
EXTRA_INDEX = $(shell $(PYTHON) -c '$(REACHABLE); print("--extra-index-url $(CPU_INDEX)")' 2>/dev/null)
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check -c constraints-cpu.txt $(EXTRA_INDEX)
STAMP := $(VENV)/.installed
# A worker for each core; one that is done takes over tests of the other.
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-all test-processors lint docs docs-quick explorer-assets bench soak \
	robustness clean

demo: $(STAMP)-cpu
	$(BIN)/python examples/demo.py

test: $(STAMP)-test
	$(PYTEST)

test-all: $(STAMP)-test
	$(PYTEST) -m ""
	$(BIN)/python tests/processors.py

test-processors: $(STAMP)-test
	$(BIN)/python tests/processors.py

lint: $(STAMP)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# -a: else the search has the words of what has changed alone.
docs: $(STAMP)-docs
	$(BIN)/python -m sphinx -a -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_pages.py docs/_build/html
	$(BIN)/python docs/check_in_browser.py docs/_build/html

# The pages alone, with no script of the gallery run.
docs-quick: $(STAMP)-docs
	$(BIN)/python -m sphinx -a -W --keep-going -D plot_gallery=0 -b html docs docs/_build/quick
	$(BIN)/python docs/check_pages.py docs/_build/quick
	$(BIN)/python docs/check_in_browser.py docs/_build/quick

# What the page of latentsk.explore draws points with, which is committed: needs npm.
explorer-assets:
	cd explorer_assets && npm ci --no-audit --no-fund && npm run --silent build

bench: $(STAMP)-bench
	$(BIN)/python benchmarks/pca.py
	$(BIN)/python benchmarks/exact_search.py
	$(BIN)/python benchmarks/index_cliffs.py --threads 1
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/approximate_search.py
	$(BIN)/python benchmarks/approximate_search.py --families
	$(BIN)/python benchmarks/recall_promise.py --threads 1
	$(BIN)/python benchmarks/approximate_search.py --overhead
	$(BIN)/python benchmarks/tuning_cost.py
	$(BIN)/python benchmarks/search_prices.py
	$(BIN)/python benchmarks/approximate_search.py --memory
	$(BIN)/python benchmarks/duplicates.py
	$(BIN)/python benchmarks/auto_components.py
	$(BIN)/python benchmarks/adbench.py --quick
	$(BIN)/python benchmarks/adbench_variants.py --seeds 0
	$(BIN)/python benchmarks/oddbench.py
	$(BIN)/python benchmarks/flagged_share.py --draws 5
	$(BIN)/python benchmarks/drift.py --seeds 3
	$(BIN)/python benchmarks/sensor_faults.py --seeds 2
	$(BIN)/python benchmarks/overlapping_windows.py --seeds 1
	$(BIN)/python benchmarks/detector_cost.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/training.py --threads 1
	$(BIN)/python benchmarks/time_to_loss.py
	$(BIN)/python benchmarks/mnist_reconstruction.py
	$(BIN)/python benchmarks/vae_training.py
	$(BIN)/python benchmarks/autograd_training.py
	$(BIN)/python benchmarks/image_defects.py
	$(BIN)/python benchmarks/image_defects.py --variants
	$(BIN)/python benchmarks/mnist_likelihood.py
	$(BIN)/python benchmarks/prior_speed.py
	$(BIN)/python benchmarks/mnist_family.py
	$(BIN)/python benchmarks/vector_quantization.py --threads 1
	$(BIN)/python benchmarks/vq_training.py --threads 1 --rounds 3
	$(BIN)/python benchmarks/codes.py
	$(BIN)/python benchmarks/open_set.py --threads 1
	$(BIN)/python benchmarks/open_set_seeds.py --threads 1
	$(BIN)/python benchmarks/gpu_training.py
	$(BIN)/python benchmarks/determinism.py
	$(BIN)/python benchmarks/explorer.py

soak: $(STAMP)-cpu
	$(BIN)/python benchmarks/soak.py --minutes 60

robustness: $(STAMP)-cpu
	$(BIN)/python benchmarks/fuzz_files.py
	$(BIN)/python benchmarks/kill_saves.py

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP)-cpu: $(BIN)/python pyproject.toml constraints-cpu.txt
	$(INSTALL) -e '.[cpu,plot]'
	touch $@

$(STAMP)-test: $(STAMP)-cpu
	$(INSTALL) -e '.[cpu,plot,test]'
	touch $@

$(STAMP)-dev: $(STAMP)-test
	$(INSTALL) -e '.[cpu,plot,test,dev]'
	touch $@

$(STAMP)-docs: $(STAMP)-cpu
	$(INSTALL) -e '.[cpu,plot,docs]'
	touch $@

$(STAMP)-bench: $(STAMP)-cpu
	$(INSTALL) -e '.[cpu,plot,bench]'
	touch $@
