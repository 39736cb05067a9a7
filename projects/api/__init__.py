"""The REST API of projects: resources in the words of the pages, through the same forms and actions."""
