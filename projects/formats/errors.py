"""The error of every reader of label files, and the sentences that several readers say."""

from __future__ import annotations


class LabelFileError(ValueError):
    """A label file cannot be read; the text is a sentence for the person."""
