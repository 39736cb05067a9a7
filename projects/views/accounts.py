"""Sign in, sign out and change the password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import views as auth
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy

from exeml_site.lib.http import public, signed_in
from projects.forms.accounts import ChangePasswordForm, SignInForm
from projects.workspace import login_throttle

FORM_VERBS = ["get", "head", "post", "options"]  # Django's form views would treat a PUT like a POST


class SignIn(auth.LoginView):
    authentication_form = SignInForm
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True
    http_method_names = FORM_VERBS
    is_throttled = False

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        """422 for a wrong name or password, 429 while too many were wrong."""
        username, address = request.POST.get("username", ""), login_throttle.client_address(request)
        self.is_throttled = not login_throttle.count_attempt(username, address)
        return super().post(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "is_throttled": self.is_throttled}

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        username, address = form.cleaned_data["username"], login_throttle.client_address(self.request)
        login_throttle.clear_attempts(username, address)
        return super().form_valid(form)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        if not self.is_throttled:
            return self.render_to_response(self.get_context_data(form=form), status=422)
        headers = {"Retry-After": str(login_throttle.LOCKOUT_S)}
        return self.render_to_response(self.get_context_data(form=form), status=429, headers=headers)


class ChangePassword(auth.PasswordChangeView):
    form_class = ChangePasswordForm
    http_method_names = FORM_VERBS
    template_name = "accounts/change_password.html"
    success_url = reverse_lazy("project_list")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(self.request, "Your password has been changed. You are still signed in here.")
        return super().form_valid(form)

    def form_invalid(self, form: PasswordChangeForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


sign_in = public(SignIn.as_view())
sign_out = public(auth.LogoutView.as_view())
change_password = signed_in(ChangePassword.as_view())
