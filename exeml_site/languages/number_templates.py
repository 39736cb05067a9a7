"""Django's templates, in which a number without a filter reads the same in every language."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template import Context
from django.template.backends.django import DjangoTemplates, Template, reraise
from django.template.context import make_context
from django.template.exceptions import TemplateDoesNotExist
from django.utils.safestring import SafeString


class NumberTemplates(DjangoTemplates):
    """`{{ 0.5 }}` is "0.5" in every language, as attributes, SVG, CSS and JSON need it.

    Numbers for people pass a filter, which follows the language: intcomma, floatformat, localize, or one of
    `format_tags`. Django itself would write "0,5" in German, wherever the variable stands.
    """

    def from_string(self, template_code: str) -> NumberTemplate:
        return NumberTemplate(self.engine.from_string(template_code), self)

    def get_template(self, template_name: str) -> NumberTemplate:
        try:
            return NumberTemplate(self.engine.get_template(template_name), self)
        except TemplateDoesNotExist as problem:
            reraise(problem, self)
            raise


class NumberTemplate(Template):
    def render(
        self, context: Context | dict[str, Any] | None = None, request: HttpRequest | None = None
    ) -> SafeString:
        made = make_context(context, request, autoescape=self.backend.engine.autoescape)  # type: ignore[arg-type]
        made.use_l10n = False
        try:
            return self.template.render(made)
        except TemplateDoesNotExist as problem:
            reraise(problem, self.backend)
            raise
