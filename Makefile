PYTHON ?= python3
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help environment screenshots up test test-failed test-fast check soak bench bench-serving

help:  ## list what make can do here
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

environment:  ## make .venv from uv.lock, with what tests need; the others call it
	@$(PYTHON) resources/bootstrap.py

up:  ## run the whole appliance without Docker; Ctrl-C ends it
	@$(PYTHON) resources/bootstrap.py --to-run
	@$(VENV)/slipway up

test: environment  ## run the tests against a real Postgres, about half an hour on two cores
	@$(VENV)/python -m pytest -m "not soak" --numprocesses=logical --maxprocesses=4 --dist=loadfile

test-failed: environment  ## run the tests that failed last once more, one at a time
	@$(VENV)/python -m pytest -m "not soak" --last-failed --last-failed-no-failures=none

# what starts no process and no Postgres
FAST := tests/common/test_*.py tests/common/web tests/common/system/test_backoff.py tests/ml/test_manifest.py \
	tests/ml/builder/test_gate.py tests/ml/serving/test_schema.py tests/vcs/test_github.py \
	tests/cli/test_address.py tests/cli/up/test_console.py tests/test_architecture.py tests/test_docs.py

test-fast: environment  ## run the tests that start no processes, in a minute at most
	@$(VENV)/python -m pytest -m "not soak" $(FAST)

check: environment  ## ruff and mypy --strict
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy

soak: environment  ## all tests, with whole matrices and long loads
	@$(VENV)/python -m pytest

bench: environment  ## measure against peers, side by side
	@$(VENV)/python -m benchmarks

bench-serving: environment  ## the gateway and other model servers, side by side, by wrk: half an hour
	@$(VENV)/python -m benchmarks.serving

screenshots: environment  ## take those in docs/pages of the appliance that `make up` runs
	@$(VENV)/python -m resources.screenshots
