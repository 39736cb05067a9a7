"""What is finished: areas whose every text is marked, and languages whose catalogues are complete."""

# Folders and files. Whoever marks an area adds it.
DONE = ("exeml_site", "projects", "training", "templates", "static/js")

# Locales, as folders below locale/ are named. Whoever completes a language adds it.
TRANSLATED = ("de", "es", "fr", "ja", "zh_Hans")
