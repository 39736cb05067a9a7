"""Languages: their list, compiled catalogues, the texts of scripts, numbers in templates."""

# Each but English has its catalogues below locale/.
LANGUAGES = [
    ("en", "English"),
    ("de", "Deutsch"),
    ("es", "Español"),
    ("fr", "Français"),
    ("ja", "日本語"),
    ("zh-hans", "简体中文"),
]
