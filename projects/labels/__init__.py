"""Every change of a label or an annotation, and its undo."""
