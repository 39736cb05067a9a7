"""`python manage.py createsuperuser`: Django's, recorded in the audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from projects import audit
from projects.audit.saved_accounts import record_saved_accounts


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        with record_saved_accounts(audit.Kind.ACCOUNT_CREATED, is_superuser=True):
            return super().handle(*args, **options)
