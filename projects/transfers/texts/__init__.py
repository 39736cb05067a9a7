"""The sentences of an import, in the language of the reader."""
