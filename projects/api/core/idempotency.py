"""Calls that are made once: a repeated one, with the same Idempotency-Key, gets the answer of the first."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial, wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.utils import timezone
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from projects.api.core.access import ApiRequest
from projects.api.core.problems import Problem
from projects.models import IdempotentCall

HEADER = "Idempotency-Key"
MAX_KEY = 255
KEPT = timedelta(days=1)
GIVEN_UP = timedelta(minutes=5)  # a call without an answer after that: its process died
RETRY_AFTER_S = 1


def once(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of an operation that creates: below its access decorator. Keeps what it answers for a day.

    An operation that raises, because it refused or failed, is not kept: the same key tries again.
    """
    return _once(operation, secret="")


def once_but_secret(field: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As `once`, for an answer with a secret in this field: it is not kept, and null for a repeated call."""
    return partial(_once, secret=field)


def _once(operation: Callable[..., Any], secret: str) -> Callable[..., Any]:
    @wraps(operation)
    def guarded(request: ApiRequest, *args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER, "")
        if not key:
            return operation(request, *args, **kwargs)
        call = _claim(request, key)
        if call.status is not None:
            return call.answer
        try:
            answer = operation(request, *args, **kwargs)
        except BaseException:
            call.delete()
            raise
        if isinstance(answer, HttpResponse):
            raise TypeError("an operation that is made once answers with values, not with a response")
        stored = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
        if secret:
            stored = stored | {secret: None}
        IdempotentCall.objects.filter(pk=call.pk).update(status=200, answer=to_jsonable_python(stored))
        return answer

    guarded.not_kept = secret  # type: ignore[attr-defined]
    guarded.__signature__ = inspect.signature(operation, eval_str=True)  # type: ignore[attr-defined]
    guarded.is_made_once = True  # type: ignore[attr-defined]
    return guarded


def _claim(request: ApiRequest, key: str) -> IdempotentCall:
    """The call of this key: a new one, or the one that was answered. Raises Problem."""
    if len(key) > MAX_KEY or not key.isprintable():
        detail = f"{HEADER} has at most {MAX_KEY} printable characters."
        raise Problem(400, "request-broken", "The request is broken", detail)
    fingerprint = _fingerprint(request)
    now = timezone.now()
    IdempotentCall.objects.filter(user=request.user, key=key, created_at__lt=now - KEPT).delete()
    IdempotentCall.objects.filter(
        user=request.user, key=key, status=None, created_at__lt=now - GIVEN_UP
    ).delete()
    try:
        with transaction.atomic():
            return IdempotentCall.objects.create(user=request.user, key=key, fingerprint=fingerprint)
    except IntegrityError:
        pass
    call = IdempotentCall.objects.filter(user=request.user, key=key).first()
    if call is None or (call.fingerprint == fingerprint and call.status is None):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        detail = f"The first call with this {HEADER} is still under way."
        raise Problem(409, "call-under-way", "Not possible now", detail, headers=headers)
    if call.fingerprint != fingerprint:
        detail = f"Another call was made with this {HEADER}. Use a new one."
        raise Problem(422, "idempotency-key-reused", "Some values cannot be accepted", detail)
    return call


def _fingerprint(request: ApiRequest) -> str:
    """Of the address and the body; of files their names and sizes."""
    parts: list[Any] = [request.method, request.get_full_path()]
    if request.content_type == "multipart/form-data":
        parts.append(sorted(request.POST.lists()))
        parts.append([(file.name, file.size) for _, files in request.FILES.lists() for file in files])
    else:
        parts.append(hashlib.sha256(request.body).hexdigest())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def forget_old_calls() -> None:
    IdempotentCall.objects.filter(created_at__lt=timezone.now() - KEPT).delete()
