"""Signing in and out, and one's password."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpResponse
from django.urls import reverse_lazy

from projects.access import public, signed_in


class SignIn(auth.LoginView):
    redirect_authenticated_user = True

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


sign_in = public(SignIn.as_view())
sign_out = public(auth.LogoutView.as_view())
change_password = signed_in(
    auth.PasswordChangeView.as_view(
        template_name="registration/change_password.html", success_url=reverse_lazy("project_list")
    )
)
