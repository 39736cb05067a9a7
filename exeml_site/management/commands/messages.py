"""`python manage.py messages`: collects the texts of the code into the catalogues below locale/."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.commands import makemessages
from django.utils.translation import to_locale

from exeml_site.languages.catalogues import compile_catalogues

# Domain → kinds of files that hold its texts.
DOMAINS = {"django": ["html", "jinja", "py"], "djangojs": ["js"]}
NOT_OURS = ["benchmarks", "docs", "migrations", "tests", "var", "staticfiles"]


class Command(makemessages.Command):
    """Django's makemessages for both domains and all languages.

    Nothing is guessed from similar texts, and obsolete texts go. Comments name files without lines, so that
    a moved line changes no catalogue.
    """

    help = "Collects the texts of the code into locale/*/LC_MESSAGES/*.po and compiles them."
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]

    def handle(self, *args: Any, **options: Any) -> None:
        languages = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
        options |= {
            "locale": [to_locale(code) for code in languages],
            "ignore_patterns": NOT_OURS,
            "no_obsolete": True,
            "add_location": "file",
        }
        for domain, extensions in DOMAINS.items():
            super().handle(*args, **options | {"domain": domain, "extensions": extensions})
        compile_catalogues()
