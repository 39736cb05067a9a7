from tests.projects.webhooks.conftest import local as local
