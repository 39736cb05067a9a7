"""Forms to add a member and to change a role."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext, gettext_lazy

from exeml_site.lib.fields import BoundedTextField
from projects.forms.projects import NAME_ATTRS
from projects.models import Role, Team


class RoleForm(forms.Form):
    role = forms.TypedChoiceField(
        label=gettext_lazy("Role"),
        choices=Role.choices,
        coerce=lambda value: Role(int(value)),
        empty_value=None,
        initial=Role.LABELER,
    )


class AddMemberForm(RoleForm):
    person = BoundedTextField(label=gettext_lazy("Username or e-mail"), max_length=254)
    field_order = ["person", "role"]

    def __init__(self, *args: Any, team: Team, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.team = team
        self.fields["person"].widget.attrs.update(NAME_ATTRS)

    def clean_person(self) -> User:
        """The account with this username, else the only account with this e-mail. Of a person in any case."""
        typed = self.cleaned_data["person"]
        people = User.objects.filter(service_account=None)
        users = list(people.filter(username=typed)) or list(
            people.filter(Q(username__iexact=typed) | Q(email__iexact=typed))[:2]
        )
        if not users:
            raise ValidationError(gettext("No account has this name. Ask an operator to create it."))
        if len(users) > 1:
            raise ValidationError(gettext("Several accounts match. Type the exact username."))
        return self._admissible(users[0])

    def _admissible(self, user: User) -> User:
        if not user.is_active:
            raise ValidationError(gettext("This account is switched off. Ask an operator."))
        if self.team.memberships.filter(user=user).exists():
            sentence = gettext("%(user)s is already a member of %(team)s.")
            raise ValidationError(sentence % {"user": user, "team": self.team})
        return user
