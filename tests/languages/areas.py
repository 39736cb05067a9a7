"""What is finished: areas whose every text is marked, and languages whose catalogues are complete."""

# Folders and files. Whoever marks an area adds it.
DONE = (
    "templates/accounts",
    "templates/base.html",
    "templates/error.html",
    "templates/components",
    "exeml_site/templatetags",
    "projects/forms/accounts.py",
    "projects/views/accounts.py",
    "static/js/base.js",
    "static/js/messages.js",
    "static/js/display.js",
)

# Locales, as folders below locale/ are named. Whoever completes a language adds it.
TRANSLATED = ("de", "es", "fr", "ja", "zh_Hans")
