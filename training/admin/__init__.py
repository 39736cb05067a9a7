"""Admin pages of trainings and services, and the operators' page at the head of the admin."""

from django.contrib import admin

from training.admin import app_list, evaluations, operators, services, versions

__all__ = ["evaluations", "services", "versions"]

app_list.name_lists()
admin.site.get_app_list = app_list.get_app_list  # type: ignore[method-assign]
admin.site.index = operators.index  # type: ignore[method-assign]
admin.site.index_title = "Operators"
