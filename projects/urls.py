"""Addresses of accounts, teams, projects, images and labels."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
