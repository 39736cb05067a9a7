"""The Deploy Service room: bringing versions up, answering calls, tokens."""
