"""Ends with 0 if the web server of this container answers `/readyz` with 200, as its health check."""

import os
import sys
import urllib.request

address = f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/readyz"
try:
    with urllib.request.urlopen(address, timeout=8):
        pass
except OSError as problem:
    sys.exit(str(problem))
