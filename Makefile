PYTHON ?= python3
VENV := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help environment screenshots up test check soak bench bench-serving

help:  ## list what make can do here
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 22

environment:  ## make .venv as uv.lock says; the others call it
	@$(PYTHON) resources/bootstrap.py

up: environment  ## run the whole appliance without Docker; Ctrl-C ends it
	@$(VENV)/slipway up

test: environment  ## run the tests against a real Postgres, in 15 minutes at most
	@$(VENV)/python -m pytest -m "not soak" --numprocesses=logical --maxprocesses=4 --dist=loadfile

check: environment  ## ruff and mypy --strict
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy

soak: environment  ## all tests, with whole matrices and long loads
	@$(VENV)/python -m pytest

bench: environment  ## measure against peers, side by side
	@$(VENV)/python -m benchmarks

bench-serving: environment  ## the gateway beside other servers of models, by wrk: half an hour
	@$(VENV)/python -m benchmarks.serving

screenshots: environment  ## take those in docs/pages of the appliance that `make up` runs
	@$(VENV)/python -m resources.screenshots
