"""Sign in, sign out and change the password."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import views as auth
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import HttpResponse
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

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        login_throttle.clear_failures(
            form.cleaned_data["username"], login_throttle.client_address(self.request)
        )
        return super().form_valid(form)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """422, or 429 while sign-in is blocked."""
        is_braked = form.has_error(NON_FIELD_ERRORS, "braked")
        if not is_braked:
            login_throttle.count_failure(
                form.data.get("username", ""), login_throttle.client_address(self.request)
            )
        response = self.render_to_response(self.get_context_data(form=form), status=429 if is_braked else 422)
        if is_braked:
            response["Retry-After"] = str(login_throttle.LOCKOUT_S)
        return response


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
