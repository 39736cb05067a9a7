"""Evaluations of versions on selected images: the test images, a filter of Label Data, another project."""
