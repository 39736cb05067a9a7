"""Choose a new password by mail. There only where mail is configured."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from exeml_site.lib.http import page, public
from projects import audit
from projects.forms.sign_in.password_reset import AskForMailForm, ChoosePasswordForm
from projects.models import InitialPassword
from projects.sign_in import mail
from projects.views.sign_in.access_tokens import revoke_asked
from projects.workspace import login_throttle


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reset_password(request: HttpRequest) -> HttpResponse:
    """The answer is the same for every address, known or not."""
    if not settings.MAIL:
        raise Http404
    form = AskForMailForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        context = {"form": form}
        return page(request, "sign_in/reset_password.html", context, status=422 if form.is_bound else 200)
    attempt = login_throttle.count_reset_mail(request)
    if attempt.is_refused:
        form.add_error(None, gettext("Too many mails were asked for from here. Try again in an hour."))
        response = page(request, "sign_in/reset_password.html", {"form": form}, status=429)
        response["Retry-After"] = str(attempt.wait_s)
        return response
    site, language = request.build_absolute_uri("/").rstrip("/"), get_language() or "en"
    audit.record(audit.Kind.RESET_ASKED)  # not for whom: that takes longer for a known address
    is_asked = mail.send_later("send_password_reset", form.cleaned_data["email"], site, language)
    answer = {"form": form, "sent": is_asked, "failed": not is_asked}
    return page(request, "sign_in/reset_password.html", answer, status=200 if is_asked else 503)


class ChoosePassword(auth.PasswordResetConfirmView):
    """The link of the mail: good for an hour, and once, since the password is part of what it signs."""

    form_class = ChoosePasswordForm
    template_name = "sign_in/choose_password.html"
    success_url = reverse_lazy("sign_in")
    http_method_names = ["get", "head", "post", "options"]

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        audit.record(audit.Kind.PASSWORD_RESET, by=form.user)
        InitialPassword.objects.filter(user=form.user).delete()
        messages.success(self.request, gettext("Your password has been changed. Sign in with it."))
        revoke_asked(self.request, form.user)
        return super().form_valid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return super().get_context_data(ask_again=reverse("reset_password"), **more)


choose_password = public(ChoosePassword.as_view())
