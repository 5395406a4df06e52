# Each target installs what it lacks: on a machine with make, apt and rustup, `make demo` is the first command.
# The targets call xtask: see cargo xtask --help.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO_TARGET_DIR ?= target

# rustup, and what cargo installs, need not be on root's PATH.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# The one place that names the compiler.
RUST := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
COMPONENTS := rust-src rustfmt clippy
# The target of the CNI plugin, which is static: its caller may run it below another root.
STATIC := $(shell uname -m)-unknown-linux-musl

.PHONY: help toolchain demo test soak check bench build install

help:
	@echo 'make demo      the main use, in a lab of namespaces (in a virtual machine if this kernel lacks something)'
	@echo 'make test      formatting, lints, and all tests: on this machine, and in virtual machines on each kernel'
	@echo '               of the matrix'
	@echo 'make soak      all tests on each kernel, the long ones in full length (some hours)'
	@echo 'make check     formatting, lints, documentation, dependencies'
	@echo 'make bench     the cost of a frame, compared with the kernel bridge'
	@echo 'make build     the release binaries, netagent and netagent-cni, below $(CARGO_TARGET_DIR)'
	@echo 'make install   the release binaries, to $(DESTDIR)$(PREFIX)/sbin'
	@echo 'make toolchain Rust $(RUST) and a C linker, where they are missing; all of the above begin with it'

# A toolchain that lacks a component is completed by the same command as one that is missing.
toolchain:
	@command -v cc >/dev/null || { \
		echo 'setup: apt-get install gcc libc6-dev (Rust links with them)'; \
		apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install gcc libc6-dev >/dev/null; }
	@command -v rustup >/dev/null || { echo 'setup: rustup is missing: install it first' >&2; exit 1; }
	@have=$$(rustup component list --toolchain $(RUST) --installed 2>/dev/null); \
	for component in $(COMPONENTS); do \
		case $$have in *$$component*) ;; *) missing=1 ;; esac; \
	done; \
	[ -z "$$missing" ] || { \
		echo 'setup: rustup toolchain install $(RUST) with $(COMPONENTS)'; \
		rustup --quiet toolchain install $(RUST) --profile minimal --no-self-update \
			$(addprefix --component ,$(COMPONENTS)); }

demo test soak check bench: toolchain
	@[ -e $(CARGO_TARGET_DIR)/debug/xtask ] || echo 'build: xtask'
	@cargo xtask $(if $(filter soak,$@),test --soak,$@)

build: toolchain
	@cargo xtask setup
	cargo build --release --locked --package netagent
	cargo build --release --locked --package netagent-cni --bin netagent-cni --target $(STATIC)

install: build
	install -D -m 0755 $(CARGO_TARGET_DIR)/release/netagent $(DESTDIR)$(PREFIX)/sbin/netagent
	install -D -m 0755 $(CARGO_TARGET_DIR)/$(STATIC)/release/netagent-cni $(DESTDIR)$(PREFIX)/sbin/netagent-cni
	install -D -m 0755 contrib/libvirt/netagent $(DESTDIR)$(PREFIX)/share/netagent/libvirt-hook
