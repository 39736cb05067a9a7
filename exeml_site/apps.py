from django.apps import AppConfig


class ExemlSiteConfig(AppConfig):
    name = "exeml_site"
    verbose_name = "exeml"

    def ready(self) -> None:
        from exeml_site import checks  # noqa: F401 (registers the checks)
