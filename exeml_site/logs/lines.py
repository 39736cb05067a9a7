"""Formatters of log lines: text, or one JSON object a line."""

from __future__ import annotations

import json
import logging
import socket
import sys
from datetime import UTC, datetime
from typing import Any

from gunicorn.glogging import Logger
from rq.job import get_current_job

from exeml_site.logs.requests import current_request, request_id_of, user_id_of


def context_of_line() -> dict[str, Any]:
    """Which request, person and job this thread works for, without what is unknown."""
    request, job = current_request(), get_current_job()
    known = {
        "request_id": request_id_of(request),
        "user_id": user_id_of(request),
        "job_id": job.id if job else None,
    }
    return {name: value for name, value in known.items() if value}


class JsonFormatter(logging.Formatter):
    """A line as a JSON object: time, level, logger, message, its request or job, and a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "host": socket.gethostname(),
            "process": record.process,
            **context_of_line(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people, with the id of its request or job at its end."""

    def format(self, record: logging.LogRecord) -> str:
        context = context_of_line()
        marks = [str(context[name]) for name in ("request_id", "job_id") if name in context]
        head, line_break, traceback = super().format(record).partition("\n")
        return " ".join([head, *(f"[{mark}]" for mark in marks)]) + line_break + traceback


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines in JSON, too."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(JsonFormatter())


def print_json(fields: dict[str, Any]) -> None:
    """Write one JSON line to stdout in one piece, so that lines of several threads do not mix."""
    sys.stdout.write(json.dumps(fields, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()
