"""Notices by mail: what happened to somebody's trainings, images and projects. Each person chooses."""
