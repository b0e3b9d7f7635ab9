# The few commands that most people need; CMake does the work (CMakePresets.json).
# On a fresh Debian 12 machine every target installs what it needs (tools/setup.sh says what).

.DEFAULT_GOAL := all
.PHONY: all demo test check asan tsan matrix soak load cross fuzz cover bench oracle page api install clean help setup

BUILD  := build
T      ?= 60
N      ?= 100000
MINUTES ?= 30
SEED   ?= 1
JOBS   := $(shell nproc)
cmake   = cmake --preset $(1) >/dev/null && cmake --build --preset $(1)
ctest   = ctest --test-dir $(1) --output-on-failure -j $(JOBS)

all: setup ## build the program (build/hadal) and the libraries
	@$(call cmake,program)

setup:
	@tools/setup.sh build

demo: all ## generate text with the bundled model
	@tools/demo.sh $(BUILD)/hadal

test: ## build and run the fast tests
	@tools/setup.sh test
	@$(call cmake,release)
	$(call ctest,build)
	@tools/test-summary.sh

check: ## format, layers, banned calls, sizes, spelling
	@tools/setup.sh check
	@tools/check.sh

asan: ## the tests under AddressSanitizer and UBSan (SKIP=REGEX leaves some out)
	@tools/setup.sh test
	@$(call cmake,asan)
	$(call ctest,build-asan) --timeout 5400 $(if $(SKIP),-E '$(SKIP)')

tsan: ## thread team, threaded backend and wrappers under ThreadSanitizer
	@tools/setup.sh test
	@$(call cmake,tsan)
	$(call ctest,build-tsan) -R 'unit.(par|queue|events|engine|trace|trace_args)$$|op.ops'

matrix: ## random settings of the engine against runs alone, until N tokens agree (SEED=N)
	@tools/setup.sh test
	@$(call cmake,release)
	$(BUILD)/tests/unit_test_matrix $(N) $(SEED)

soak: ## the engine under mixed load for MINUTES: memory must stay flat, answers the same
	@tools/setup.sh test
	@$(call cmake,release)
	$(BUILD)/tests/soak_engine $(MINUTES) $(SEED)

load: ## 64 streaming clients on the server for MINUTES, some of which leave: nothing may fail, memory is flat
	@tools/setup.sh test
	@$(call cmake,program)
	@python3 tests/soak/load_serve.py $(BUILD)/hadal models/demo $$(($(MINUTES) * 60)) $(SEED)

cross: ## build the op tests for aarch64 and run them under qemu
	@tools/setup.sh cross
	@$(call cmake,aarch64)
	@tools/cross-test.sh

fuzz: ## each fuzzer for T seconds (make fuzz T=600)
	@tools/setup.sh fuzz
	@$(call cmake,fuzz)
	@tests/fuzz/run.sh $(T)

cover: ## line coverage of the tests
	@tools/setup.sh cover
	@$(call cmake,cover)
	$(call ctest,build-cover)
	@gcovr -r . --object-directory build-cover -e tests/ -s

bench: ## speed of ops, tokenizer and a synthetic model
	@tools/setup.sh test
	@$(call cmake,release)
	@tools/bench.sh

page: ## the web page in headless Chromium; screenshots in build/page, build/page-served
	@tools/setup.sh test
	@tools/setup.sh page
	@$(call cmake,release)
	@HADAL_REQUIRE=chromium $(call ctest,build) -R '^page[.]'

oracle: ## compare with the PyPI packages tokenizers and deepseek-recipe
	@tools/setup.sh oracle
	@$(call cmake,release)
	@tests/oracle/run.sh

api: ## hadal serve on the bundled model, driven by the clients' own packages
	@tools/setup.sh api
	@$(call cmake,program)
	@tests/api/run.sh $(BUILD)/hadal

install: all ## install to $(DESTDIR)$(PREFIX)
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean: ## remove the build folders
	rm -rf build build-asan build-tsan build-fuzz build-cover

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16
