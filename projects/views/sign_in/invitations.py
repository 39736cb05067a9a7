"""Invite somebody into a team, and join one by a link."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from exeml_site.lib.http import page, public, redirect_to
from projects.access import PageRequest, team_page
from projects.context import TEAM_KEY
from projects.forms.sign_in.invitations import InviteForm, RegisterForm
from projects.models import Invitation, Role, Team
from projects.sign_in import invitations
from projects.sign_in.mail import send_later

BACKEND = "django.contrib.auth.backends.ModelBackend"


@team_page(Role.MANAGER)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: PageRequest, team: Team) -> HttpResponse:
    """The link is shown once, unless it goes by mail."""
    has_mail = bool(settings.MAIL)
    form = InviteForm(request.POST if request.method == "POST" else None, has_mail=has_mail)
    link, status = "", 422 if form.is_bound else 200
    if form.is_valid():
        email, role = form.cleaned_data.get("email", ""), form.cleaned_data["role"]
        _, token = invitations.invite(team, role, form.cleaned_data["days"], request.user, email)
        link, status = request.build_absolute_uri(reverse("join", args=[token])), 200
        if email:
            _send(request, team, email, link)
            return redirect_to(request, reverse("invite", args=[team.pk]))
        form = InviteForm(has_mail=has_mail)
    waiting = team.invitations.filter(accepted_at=None, expires_at__gt=timezone.now())
    context = {"team": team, "form": form, "link": link, "waiting": waiting}
    return page(request, "sign_in/invite.html", context, status=status)


@team_page(Role.MANAGER)
@require_POST
def withdraw_invitation(request: PageRequest, team: Team, invitation_id: int) -> HttpResponse:
    if not invitations.withdraw(get_object_or_404(team.invitations, pk=invitation_id)):
        raise Http404
    messages.success(request, gettext("Invitation withdrawn."))
    return redirect_to(request, reverse("invite", args=[team.pk]))


@public
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Whoever is signed in joins; others make an account, or sign in and come back."""
    invitation = invitations.find(token)
    if invitation is None:
        return page(request, "sign_in/join.html", {"gone": invitations.GONE}, status=404)
    request.session[invitations.SESSION_KEY] = token
    user = request.user if request.user.is_authenticated else None
    form = RegisterForm(request.POST if request.method == "POST" and not user else None)
    try:
        if request.method == "POST" and user:
            invitations.accept(token, user)
            return _joined(request, invitation)
        if form.is_valid():
            name, password = form.cleaned_data["username"], form.cleaned_data["password1"]
            login(request, invitations.register(token, name, password), BACKEND)
            return _joined(request, invitation)
    except invitations.InvitationRefused as refused:
        return page(request, "sign_in/join.html", {"gone": str(refused)}, status=404)
    context = {"invitation": invitation, "form": form, "oidc": settings.OIDC}
    return page(request, "sign_in/join.html", context, status=422 if form.is_bound else 200)


def _joined(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session.pop(invitations.SESSION_KEY, None)
    request.session[TEAM_KEY] = invitation.team_id
    messages.success(request, gettext("You are now a member of %(team)s.") % {"team": invitation.team})
    return redirect_to(request, reverse("project_list"))


def _send(request: PageRequest, team: Team, email: str, link: str) -> None:
    """The link is in nobody's hand but the mail's, which proves the address."""
    language, by = get_language() or "en", request.user.get_full_name() or request.user.get_username()
    if send_later("send_invitation", email, link, team.name, by, language):
        messages.success(request, gettext("Invitation sent to %(email)s.") % {"email": email})
    else:
        messages.error(request, gettext("The mail could not be sent. Withdraw the invitation and try again."))
