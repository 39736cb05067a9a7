"""`python manage.py changepassword NAME`: Django's, recorded in the audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import changepassword

from projects import audit
from projects.audit.saved_accounts import record_saved_accounts


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        with record_saved_accounts(audit.Kind.PASSWORD_CHANGED):
            return super().handle(*args, **options)
