"""Other tools on the same rows, weights and wall clock. They run in an environment of their own.

Each is called with LISTS (a CSV of path, label and side), WEIGHTS (EfficientNet-Lite0's state by timm's
names) and MINUTES, and prints one JSON object last.
"""
