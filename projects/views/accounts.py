"""Sign in, sign out, change the password, choose notices; show and hide the guide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext
from django.views import generic
from django.views.decorators.http import require_http_methods, require_POST
from django.views.i18n import set_language

from exeml_site.lib.http import page, public, redirect_to, signed_in, wants_fragment
from projects import audit
from projects.access import PageRequest
from projects.forms.accounts import ChangePasswordForm, NoticesForm, SignInForm
from projects.models import HiddenGuide
from projects.notices.notices import choose_kinds, is_mail_set_up, wanted_kinds
from projects.sign_in import second_factor
from projects.views.sign_in.access_tokens import revoke_asked
from projects.workspace import initial_password, language, login_throttle
from projects.workspace.login_throttle import Attempt

if TYPE_CHECKING:
    FormView = generic.FormView[Any]
else:
    FormView = generic.FormView

FORM_VERBS = ["get", "head", "post", "options"]  # Django's form views would treat a PUT like a POST


class LimitedAttempts(FormView):
    """A form with a password, whose attempts are limited: 422 for a wrong one, 429 after too many."""

    attempt = Attempt()

    def count_attempt(self) -> Attempt:
        raise NotImplementedError

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        self.attempt = self.count_attempt()
        return super().post(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "attempt": self.attempt}

    def form_valid(self, form: Any) -> HttpResponse:
        self.attempt.forgive()
        return super().form_valid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        self.attempt.record_block(audit.Kind.SIGN_IN_BLOCKED)
        status = 429 if self.attempt.is_refused else 422
        response = self.render_to_response(self.get_context_data(form=form), status=status)
        if self.attempt.is_refused:
            response["Retry-After"] = str(self.attempt.wait_s)
        return response


class SignIn(LimitedAttempts, auth.LoginView):
    authentication_form = SignInForm
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True
    http_method_names = FORM_VERBS

    def count_attempt(self) -> Attempt:
        return login_throttle.count_sign_in(self.request, self.request.POST.get("username", ""))

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(oidc=settings.OIDC, has_mail=bool(settings.MAIL), **more)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Whoever has a second factor is not signed in yet: the right password alone forgives nothing."""
        user = form.get_user()
        response = second_factor.sign_in(self.request, user, self.get_success_url(), "password")
        if self.request.user.is_authenticated:
            self.attempt.forgive()
            login_throttle.remember_browser(self.request, response, user.get_username())
        return response


class ChangePassword(LimitedAttempts, auth.PasswordChangeView):
    form_class = ChangePasswordForm
    http_method_names = FORM_VERBS
    template_name = "accounts/change_password.html"
    success_url = reverse_lazy("project_list")

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(must_change=initial_password.must_change(self.request), **more)

    def count_attempt(self) -> Attempt:
        return login_throttle.count_sign_in(self.request, self.request.user.get_username())

    @transaction.atomic
    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        initial_password.changed(self.request)
        audit.record(audit.Kind.PASSWORD_CHANGED)
        sentence = gettext("Your password has been changed. You are still signed in here.")
        messages.success(self.request, sentence)
        revoke_asked(self.request, form.user)
        return super().form_valid(form)


class SignOut(auth.LogoutView):
    """Browsers that speak https also drop the pictures that they kept."""

    def post(self, request: HttpRequest, *args: str, **kwargs: Any) -> HttpResponse:
        response = super().post(request, *args, **kwargs)
        response["Clear-Site-Data"] = '"cache"'
        return response


@signed_in
@require_POST
def show_guide(request: PageRequest) -> HttpResponse:
    """Show the guide of the first steps again, or hide it; an element of htmx is then empty."""
    if request.POST.get("show") == "yes":
        HiddenGuide.objects.filter(user=request.user).delete()
    else:
        HiddenGuide.objects.get_or_create(user=request.user)
    if wants_fragment(request):
        return HttpResponse()
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect_to(request, back if is_ours else reverse("project_list"))


@public
@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Keeps the language with the account, and in a cookie for pages before the next sign-in."""
    code = request.POST.get("language", "")
    if code not in dict(settings.LANGUAGES):
        raise BadRequest("Unknown language")  # not translated: for the log alone
    language.choose(request, code)
    return set_language(request)


sign_in = public(SignIn.as_view())
sign_out = public(SignOut.as_view())
change_password = signed_in(ChangePassword.as_view())


@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def notices(request: PageRequest) -> HttpResponse:
    """Of what the person gets mails, and the notices of this browser."""
    form = NoticesForm(
        request.POST if request.method == "POST" else None, initial={"kinds": wanted_kinds(request.user)}
    )
    if form.is_valid():
        choose_kinds(request.user, form.cleaned_data["kinds"])
        messages.success(request, gettext("Saved."))
        return redirect_to(request, reverse("notices"))
    context = {"form": form, "is_mail_set_up": is_mail_set_up(), "email": request.user.email}
    return page(request, "accounts/notices.html", context, status=422 if form.is_bound else 200)
