# Two commands: `make up` starts Meridian, `make test` runs every test. Both install what is missing, saying what and why.

.PHONY: help up build install test lab lint fmt images docker FORCE

# A newer Node than the system's, where one had to be installed.
export PATH := $(CURDIR)/target/tools/bin:$(HOME)/.cargo/bin:$(PATH)

CARGO ?= cargo

help:
	@echo 'make up      install what is missing, build, start Meridian, print its address (ARGS=… for its options)'
	@echo 'make test    run every test'
	@echo 'make lab     break parts under live streams and write docs/failures.md from what was seen (ARGS=… for its options)'
	@echo 'make lint    formatting, lints and licences, warnings denied'
	@echo 'make build   everything that make up builds, without starting it'
	@echo
	@echo 'MERIDIAN_DATA            the data directory'
	@echo 'MERIDIAN_ADMIN_PASSWORD  the first password of the user admin'

# The last line becomes the server: make waits for exactly that process, and a SIGTERM to make goes to it. Ctrl-C reaches it
# from the terminal. Everything before runs in processes that end by themselves.
up: install
	@deploy/install/docker.sh start
	@$(MAKE) --no-print-directory -j2 build
	@exec env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL ./target/release/meridian up $(ARGS)

install:
	@deploy/install/need.sh rust compiler postgresql docker node nftables

# The images need other things than the executable does, mostly the network, so the two are made side by side.
build: target/release/meridian images

target/release/meridian: console/dist/index.html FORCE
	@$(CARGO) build --release --locked --package meridian

console/dist/index.html: console/package.json console/package-lock.json $(wildcard console/*.js console/*.html console/*.json) \
		$(shell find console/app console/public -type f 2>/dev/null)
	@deploy/install/console.sh
	@npm --prefix console run --silent build
	@touch $@

# The base image is made here only where Debian's cannot be pulled, which as a rule is a machine without a registry.
images: docker
	@docker image inspect debian:bookworm-slim >/dev/null 2>&1 || deploy/install/need.sh debootstrap
	@images/build.sh

docker:
	@deploy/install/docker.sh start

test:
	@exec testing/harness/run-tests.sh

# Played as a whole, also where a scenario does not hold: its row says so, and make fails with it.
lab: target/release/meridian
	@deploy/install/need.sh postgresql docker iproute2 faketime
	@deploy/install/docker.sh start
	@rm -f target/lab.json
	@status=0; ./target/release/meridian lab run all --json target/lab.json $(ARGS) || status=$$?; \
		./target/release/meridian lab document target/lab.json >target/failures.md && \
		mv target/failures.md docs/failures.md && exit $$status

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	shellcheck $$(git ls-files '*.sh') .ci/run
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked --offline check licenses bans sources; \
	else \
		echo 'cargo-deny is not installed here: licences are not checked (cargo install cargo-deny --locked)'; \
	fi

fmt:
	$(CARGO) fmt --all

FORCE:
