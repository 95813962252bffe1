# Set-up, demo, tests and checks. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LM_EVAL := $(VENV)/lm-eval
DEMO_INPUTS := runs/demo-inputs

export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-lm-eval check docs clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED) ## Install everything into .venv

# PyTorch comes first and alone: whichever build pip is set up to take stays, and nothing else drags in another one.
# For the small CPU build: make install PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here; name one with PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "torch==2.13.0" uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[train,kube,documents,dev]'
	@touch $@

demo: $(INSTALLED) ## Run the whole pipeline on the embedded default: no account, no GPU, no internet
	@$(BIN)/python examples/demo/prepare.py --to $(DEMO_INPUTS)
	@$(BIN)/instructlab-pipeline run --params examples/demo/pipeline-parameters.env --run-dir runs/demo

test: $(INSTALLED) ## Run every test, against real servers on loopback
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -r fEs  # long files first: none is left alone

# lm-eval brings an older python-dateutil, so it stands in an environment of its own that sees all of .venv beside it.
$(LM_EVAL)/.installed: $(INSTALLED)
	$(BIN)/python -m venv --clear $(LM_EVAL)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > $$($(LM_EVAL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth
	$(LM_EVAL)/bin/python -m pip install --quiet --disable-pip-version-check 'lm-eval[hf]==0.4.13'
	@touch $@

test-lm-eval: $(LM_EVAL)/.installed ## Run the tests of the extra lm-eval, which the others leave out
	$(LM_EVAL)/bin/python -m pytest tests/unit/evaluation/test_lm_eval.py

check: $(INSTALLED) ## Lint, types, the rooms' borders, generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED) ## Write the generated pages again
	$(BIN)/instructlab-pipeline params list --markdown > docs/parameters.md
	$(BIN)/instructlab-pipeline params schema > tests/golden/params/schema.json
	$(BIN)/instructlab-pipeline kube compile --env dev --output tests/golden/kube/dev.yaml
	$(BIN)/instructlab-pipeline kube compile --env prod --output tests/golden/kube/prod.yaml
	$(BIN)/instructlab-pipeline kube manifests --output deploy

clean: ## Remove the environment and every run
	rm -rf $(VENV) runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
