# The commands of this repository. `make` alone lists them.

.DEFAULT_GOAL := help
STREAMBOOK := cargo run --release --locked --quiet --package streambook --

.PHONY: help demo test bench setup fmt lint

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## show money flowing on a local chain, then verify the books
	$(STREAMBOOK) demo --exit

test: setup ## install what the tests need, then run everything
	@tests/setup/test

bench: ## measure the log and the whole pipeline
	$(STREAMBOOK) bench log
	$(STREAMBOOK) bench pipeline

setup: ## install what the tests need and is missing
	@tests/setup/install

fmt: ## format the Rust code
	cargo fmt --all

lint: ## clippy with every warning denied
	cargo clippy --workspace --all-targets --locked -- --deny warnings
