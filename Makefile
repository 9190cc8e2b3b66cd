# The commands of this repository. `make` alone lists them.

.DEFAULT_GOAL := help
# The demo is built without optimisation: it is there to be seen soon. What is measured is optimised.
QUICK := cargo run --locked --package streambook --
FAST := cargo run --release --locked --package streambook --

.PHONY: help demo test test-fluvio bench soak fuzz setup fmt lint

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## show money flowing on a local chain, then verify the books
	$(QUICK) demo --exit

test: setup ## install what the tests need, then run everything
	@tests/setup/test

test-fluvio: setup ## run the log's engine and the processes on a real Fluvio cluster (FLUVIO_RUN names its server)
	@tests/setup/fluvio

bench: ## measure the log and the whole pipeline
	$(FAST) bench log
	$(FAST) bench pipeline

soak: ## try random schedules against the oracle until told to stop (SECONDS=60 FIRST=0; SEED=x replays one)
	cargo run --release --locked --package streambook-simulation --bin soak -- --seconds $(or $(SECONDS),60) --seed $(or $(FIRST),0)

fuzz: ## look for inputs that break a parser, guided by coverage (TARGET=all SECONDS=60; INPUT=file replays one)
	@tests/fuzz/run $(or $(TARGET),all) $(or $(SECONDS),60) $(INPUT)

setup: ## install what the tests need and is missing
	@tests/setup/install

fmt: ## format the Rust code
	cargo fmt --all

lint: ## clippy with every warning denied
	cargo clippy --workspace --all-targets --locked -- --deny warnings
