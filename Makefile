# make demo           a live shop moves from source to target under load, back, and again
# make test           build, every test, and the rules of the repository
# make soak           random runs of the protocol for hours: SECONDS=n, FIRST=seed
# make lint           format, clippy and the rules of the repository
# make crash          kill, stop, overtake the controller everywhere; writes target/crash.json
# make bad            broken plans, environments and moments; writes target/bad.json
# make rehearse       every trigger of a plan fires in a closed room, and really fails back
# make dns            changes of zones raced, sampled and killed many times; zone files fuzzed
# make front          a thousand switches of traffic under load, with each kind of front
# make fuzz           what clients send, changed at random, is refused or read alike
# make fleet          a hundred accounts in four waves; one goes back
# make bench NAME=x   one benchmark; writes target/bench/x.json

.DEFAULT_GOAL := help
.PHONY: help demo test checks soak fleet bad rehearse dns front fuzz bench lint crash setup build

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET_DIR)/debug
# Worlds of the tests live here; a socket's path must stay short.
SCENE ?= /var/tmp/segue-test

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup:
	@scripts/setup

# One profile serves the demo and the tests, so that the tree is compiled once.
build: setup
	cargo build --locked

demo: build
	$(BIN)/segue-demo

test:
	@$(MAKE) --no-print-directory checks && echo 'make test: passed' || { echo 'make test: FAILED'; exit 1; }

# Programs and tests are built at once: tests ask for more of some crates, and built before them the
# programs would have all of these crates compiled twice.
# The rules of the repository (`cargo xtask tidy`) are among the tests of xtask.
# The simulator takes its seeds for half a minute; alone it takes three seconds.
checks: export SEGUE_SIM_SECONDS ?= 30
checks: export SEGUE_BAD_OUT ?= $(abspath $(TARGET_DIR))/bad.json
checks: setup
	cargo build --locked --workspace --bins --tests
	@if cargo nextest --version >/dev/null 2>&1; then \
	    set -x; cargo nextest run --locked --workspace; \
	else \
	    set -x; cargo test --locked --workspace --quiet; \
	fi
	@grep -c '"name"' $(SEGUE_BAD_OUT) | sed 's/$$/ cases of bad input, each a clear error: target\/bad.json/'
	scripts/play $(BIN)/segue-demo --small --no-practice --dir $(SCENE) --out $(SCENE)-report
	scripts/play $(BIN)/segue-demo --small --withdraw --dir $(SCENE) --out $(SCENE)-report
	scripts/play $(BIN)/segue-demo --small --stuck --dir $(SCENE) --out $(SCENE)-report
	scripts/play $(BIN)/segue-fleet --units 100 --dir $(SCENE) --out $(SCENE)-report
	scripts/play $(BIN)/segue-crash --every 13 --kill --dir $(SCENE) --out $(TARGET_DIR)/crash-short.json

# The whole table: also what happens in the middle of a run under load.
bad: export SEGUE_BAD_OUT ?= $(abspath $(TARGET_DIR))/bad.json
bad: build
	cargo test --locked --package segue-testkit --test it bad:: -- --ignored --nocapture

# What the tests do a few times, done as often as it takes to believe it.
dns: export SEGUE_DNS_WHOLE = 1
dns: export SEGUE_FUZZ_SECONDS ?= 600
dns: setup
	scripts/peers moto $(TARGET_DIR)/peers
	cargo test --locked --package segue-dns -- --nocapture --test-threads 1
	SEGUE_MOTO=$(abspath $(TARGET_DIR))/peers/bin/moto_server \
	    cargo test --locked --package segue-dns moto:: -- --ignored --nocapture

# What the tests do a few times, done a thousand times with each kind of front.
front: export SEGUE_SWITCHES ?= 1000
front: export SEGUE_SWITCH_RATE ?= 3000
front: setup
	cargo test --locked --package segue-traffic --test it switches:: -- --nocapture --test-threads 1

# What the tests do for seconds, done for ten minutes.
fuzz: export SEGUE_FUZZ_SECONDS ?= 600
fuzz: setup
	cargo test --locked --package segue-front --lib mutations -- --nocapture --test-threads 2

rehearse: build
	cargo test --locked --package segue-testkit --test it rehearse::every_trigger -- --ignored --nocapture

fleet: build
	$(BIN)/segue-fleet --units 100

soak: SECONDS ?= 14400
soak: FIRST ?= 1
soak: setup
	SEGUE_SIM_SECONDS=$(SECONDS) SEGUE_SIM_FIRST=$(FIRST) SEGUE_SIM_THREADS=$$(nproc) \
	    cargo test --locked --release --package segue-engine --test it \
	    simulation::every_seed -- --nocapture

lint: setup
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask tidy
	@echo 'make lint: clean'

# First the engine's matrix over its toy world, exhaustive; then real servers under load.
MATRIX := $(abspath $(TARGET_DIR))/crash-matrix.jsonl
MUTANTS := $(abspath $(TARGET_DIR))/crash-mutants.json

crash: build
	@rm -f $(MATRIX) $(MUTANTS)
	@export SEGUE_MATRIX_OUT=$(MATRIX) SEGUE_MUTANTS_OUT=$(MUTANTS); \
	if cargo nextest --version >/dev/null 2>&1; then \
	    set -x; cargo nextest run --locked --package segue-engine --run-ignored all crash:: mutants; \
	else \
	    set -x; cargo test --locked --package segue-engine -- --include-ignored crash:: mutants; \
	fi
	$(BIN)/segue-crash --all --matrix $(MATRIX) --mutants $(MUTANTS) --out $(TARGET_DIR)/crash.json

bench: setup
	@test -n "$(NAME)" || { echo 'make bench NAME=front'; exit 2; }
	cargo build --locked --release --package segue-cli
	scripts/peers $(NAME) $(TARGET_DIR)/peers
	cargo xtask bench $(NAME)
