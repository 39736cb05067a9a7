from contextlib import suppress

from django.apps import AppConfig


class ExemlSiteConfig(AppConfig):
    name = "exeml_site"
    verbose_name = "exeml"

    def ready(self) -> None:
        from exeml_site import checks  # noqa: F401 (registers the checks)
        from exeml_site.languages.catalogues import compile_catalogues

        with suppress(
            OSError
        ):  # a folder that cannot be written: texts without a compiled catalogue stay English
            compile_catalogues()
