# SPDX-License-Identifier: Apache-2.0
# A thin door: everything is in scripts/ and meson. `make help` lists the targets.
COUNT ?= 100000
.PHONY: help setup build run test bench soak ui lint fuzz install

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

setup: ## install the Debian packages that are missing
	@scripts/setup

build: ## build into build/
	@scripts/build

run: ## build, start a node, run a sample task on it
	@scripts/run

test: ## everything that must hold: units, integration, fuzzing, lint
	@scripts/test

bench: ## the measured numbers
	@scripts/bench

soak: ## COUNT tasks (default 100000) through one node: nothing may be left behind
	@scripts/soak --count $(COUNT)

ui: ## make ui/dist out of ui/src (takes npm)
	@scripts/ui

lint: ## format, static analysis, the project's own rules
	@scripts/lint

fuzz: ## fuzz each target for FUZZ_SECONDS (default 60)
	@scripts/fuzz

install: build ## install to the prefix (DESTDIR is respected)
	@meson install -C build
