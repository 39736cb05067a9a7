"""The translated texts of scripts: Django's JavaScript catalogue as a file that browsers keep."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import translation
from django.utils.cache import patch_cache_control
from django.utils.http import urlencode
from django.views.i18n import JavaScriptCatalog

from exeml_site.languages.catalogues import catalogue_version
from exeml_site.lib.http import public

YEAR_S = 365 * 24 * 3600


class ScriptTexts(JavaScriptCatalog):
    """Defines gettext, ngettext, pgettext and interpolate for scripts, in the language of the query."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        language = request.GET.get("language", "")
        if language not in dict(settings.LANGUAGES):
            raise Http404
        with translation.override(language):
            response = super().get(request, *args, **kwargs)
        is_current = request.GET.get("version") == catalogue_version()
        patch_cache_control(response, public=True, max_age=YEAR_S if is_current else 0)
        return response


script_texts = public(ScriptTexts.as_view())


def script_texts_url() -> str:
    """The address of the texts in the active language. It changes with the catalogues."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    query = {"language": language, "version": catalogue_version()}
    return f"{reverse('script_texts')}?{urlencode(query)}"
