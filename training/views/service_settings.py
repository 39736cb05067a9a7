"""Settings of a service: change of version, canary, shadow, answer settings and tokens. For managers."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from exeml_site.lib.http import page, redirect_to, wants_fragment
from projects.access import PageRequest, project_page
from projects.models import Project, Role
from training.forms.service_settings import ChangeVersionForm, NumberFormatForm, OriginsForm, TokenForm
from training.serving import rollout, tokens
from training.serving.deploy import DeployRefused, set_allowed_origins, set_answer_settings, set_number_format
from training.versions import answer_settings
from training.views.services import answer_settings_forms, get_service, service_url, services_page


@project_page(Role.MANAGER)
@require_POST
def change_version(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """Another version gets all calls, a share of them, or none as the shadow, as soon as it is checked."""
    service = get_service(project, service_id)
    form = ChangeVersionForm(request.POST, service=service)
    if form.is_valid():
        version, percent = form.cleaned_data["version"], form.cleaned_data["percent"]
        try:
            rollout.change_version(service, version, request.user, percent)
        except DeployRefused as refused:
            form.add_error(None, str(refused))
        else:
            return redirect_to(request, service_url(service))
    return services_page(request, project, service, change_form=form, opens_change=True, status=422)


@project_page(Role.MANAGER)
@require_POST
def roll_back(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    service = get_service(project, service_id)
    try:
        rollout.roll_back(service, request.user)
    except DeployRefused as refused:
        messages.error(request, str(refused))
    return redirect_to(request, service_url(service))


@project_page(Role.MANAGER)
@require_http_methods(["GET", "POST"])
def end_canary(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """`keep=1`: the canary or shadow gets all calls; otherwise it ends. GET asks whether to end it."""
    service = get_service(project, service_id)
    canary = service.canary_version
    if request.method == "GET":
        if canary is None:
            return redirect_to(request, service_url(service))
        question = "services/_end_canary.html"
        context = {"project": project, "service": service, "tab": "monitoring", "question": question}
        return page(request, "services/question.html", context, fragment=question)
    if request.POST.get("keep") == "1" and canary is not None:
        try:
            rollout.change_version(service, canary, request.user)
        except DeployRefused as refused:
            messages.error(request, str(refused))
    elif service.has_shadow:
        rollout.end_canary(service, request.user)
        return redirect_to(request, reverse("service_monitoring", args=[project.pk, service.pk]))
    elif not rollout.end_canary(service, request.user):
        messages.info(request, rollout.NO_CANARY)
    return redirect_to(request, service_url(service))


@project_page(Role.MANAGER)
@require_POST
def change_answer_settings(
    request: PageRequest, project: Project, service_id: UUID, number: int
) -> HttpResponse:
    """Settings of a version that answers in the service; `use=version`: those stored with the version."""
    service = get_service(project, service_id)
    forms = answer_settings_forms(service, request.POST, number)
    chosen = next((form for version, form in forms if version.number == number), None)
    version = next((version for version, _ in forms if version.number == number), None)
    if chosen is None or version is None:
        raise Http404
    if request.POST.get("use") == "version":
        set_answer_settings(service, version, answer_settings.settings_of(version), request.user)
    elif chosen.is_valid():
        set_answer_settings(service, version, chosen.settings, request.user)
    else:
        return services_page(request, project, service, answer_forms=forms, opens_answers=number, status=422)
    return redirect_to(request, service_url(service))


@project_page(Role.MANAGER)
@require_POST
def change_number_format(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The model is tested in the chosen number format before any call is answered in it."""
    service = get_service(project, service_id)
    form = NumberFormatForm(request.POST, service=service)
    if form.is_valid():
        try:
            set_number_format(service, form.cleaned_data["number_format"], request.user)
        except DeployRefused as refused:
            form.add_error("number_format", str(refused))
        else:
            return redirect_to(request, service_url(service))
    return services_page(
        request, project, service, number_format_form=form, opens_number_format=True, status=422
    )


@project_page(Role.MANAGER)
@require_POST
def allow_origins(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """Set which websites' pages may call the service."""
    service = get_service(project, service_id)
    form = OriginsForm(request.POST, service=service)
    if not form.is_valid():
        return services_page(
            request, project, service, fragment=ORIGINS_FRAGMENT, origins_form=form, status=422
        )
    set_allowed_origins(service, form.cleaned_data["origins"], request.user)
    if wants_fragment(request):
        saved = OriginsForm(service=get_service(project, service_id))
        return services_page(
            request, project, service, fragment=ORIGINS_FRAGMENT, origins_form=saved, is_saved=True
        )
    return redirect_to(request, service_url(service))


@project_page(Role.MANAGER)
@require_POST
@never_cache
def make_token(request: PageRequest, project: Project, service_id: UUID) -> HttpResponse:
    """The response is the page, without a redirect: the token is shown once, in no URL and no session."""
    service = get_service(project, service_id)
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            token = tokens.create_token(service, form.cleaned_data["name"], request.user)
        except tokens.TokenRefused as refused:
            form.add_error("name", str(refused))
        else:
            return services_page(
                request, project, service, fragment=TOKENS_FRAGMENT, token=token.plain, token_form=TokenForm()
            )
    return services_page(request, project, service, fragment=TOKENS_FRAGMENT, token_form=form, status=422)


@project_page(Role.MANAGER)
@require_POST
@never_cache
def rotate_token(request: PageRequest, project: Project, service_id: UUID, token_id: int) -> HttpResponse:
    service = get_service(project, service_id)
    token = tokens.rotate_token(service, token_id, request.user)
    plain = token.plain if token else ""
    return services_page(
        request, project, service, fragment=TOKENS_FRAGMENT, token=plain, token_form=TokenForm()
    )


@project_page(Role.MANAGER)
@require_POST
def revoke_token(request: PageRequest, project: Project, service_id: UUID, token_id: int) -> HttpResponse:
    service = get_service(project, service_id)
    tokens.revoke_token(service, token_id, request.user)
    return services_page(request, project, service, fragment=TOKENS_FRAGMENT, token_form=TokenForm())


TOKENS_FRAGMENT, ORIGINS_FRAGMENT = "services/_tokens.html", "services/_origins.html"
