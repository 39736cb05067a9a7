"""Picture files: which formats are taken, and the one picture that every part of the program sees."""
