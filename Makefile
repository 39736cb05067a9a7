# make run    everything on this machine: http://localhost:8000 (PORT), Ctrl-C ends it
# make test   style, types, checks and all tests
# make quick  the tests without a browser that are not marked slow
# make lint   style, types and checks only
# make format rewrites Python, templates and stylesheets as `make lint` wants them
# make messages  collects the texts of the code into locale/ (needs xgettext of GNU gettext)
# make clean  removes the virtual environment and caches; what people made, under var/, stays

PYTHON ?= python3
IN := .venv/bin
CSS_FORMAT := $(IN)/css-beautify --indent-size=2 --preserve-newlines --space-around-combinator --end-with-newline

# The checks write their few files here, not among what people made.
CHECKS := EXEML_DATA=$(CURDIR)/.venv/checks EXEML_DEBUG= DATABASE_URL= REDIS_URL= STORAGE_URL=

# Compiled modules are kept: the tests start many interpreters, and pytest compiles every test itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test quick lint format messages clean
.SILENT:

run: .venv/installed
	exec $(IN)/python manage.py up

# One failing part stops no other. The largest stands last, so that its numbers are what one sees.
# Files of the browser come in their order: by their number of tests, the long journey would be the last.
test: .venv/installed-tests lint
	failed=0; \
	$(IN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m browser tests/browser || failed=1; \
	.ci/test-on-postgres || failed=1; \
	$(IN)/pytest -q -n 2 -m "not browser" || failed=1; \
	exit $$failed

quick: .venv/installed-tests
	$(IN)/pytest -q -n 2 -m "not browser and not slow"

lint: .venv/installed-tests
	$(IN)/ruff check .
	$(IN)/ruff format --check .
	$(IN)/djangofmt --check templates
	$(IN)/djangofmt --check --profile jinja templates/*/*.jinja
	for sheet in static/css/*.css; do \
		$(CSS_FORMAT) $$sheet | cmp -s - $$sheet || { echo "Would reformat: $$sheet (make format)"; exit 1; }; \
	done
	$(IN)/mypy exeml_site projects training
	$(IN)/mypy --config-file clients/python/pyproject.toml clients/python/src
	$(CHECKS) $(IN)/python manage.py check --deploy --fail-level WARNING
	$(CHECKS) $(IN)/python manage.py makemigrations --check --dry-run

format: .venv/installed-tests
	$(IN)/ruff format .
	$(IN)/djangofmt templates
	$(IN)/djangofmt --profile jinja templates/*/*.jinja
	for sheet in static/css/*.css; do $(CSS_FORMAT) --replace $$sheet >/dev/null; done

messages: .venv/installed
	command -v xgettext >/dev/null || { echo "make messages needs GNU gettext: apt-get install gettext" >&2; exit 1; }
	$(CHECKS) $(IN)/python manage.py messages

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: requirements.txt
	deploy/install.sh --python $(PYTHON)

.venv/installed-tests: requirements-test.txt requirements.txt | .venv/installed
	echo "Installing what the tests need into .venv."
	$(IN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	touch $@
