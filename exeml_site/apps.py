from django.apps import AppConfig


class ExemlSiteConfig(AppConfig):
    name = "exeml_site"
    verbose_name = "exeml"
