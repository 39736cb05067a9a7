"""Addresses of training versions and services."""

from django.urls import URLPattern, URLResolver, path

from training.views import infer, services

SERVICES = "projects/<int:project_id>/deploy-service/"
SERVICE = SERVICES + "<uuid:service_id>/"

urlpatterns: list[URLPattern | URLResolver] = [
    path(SERVICES, services.deploy_service, name="deploy_service"),
    path(SERVICES + "deploy/", services.deploy_version, name="deploy_version"),
    path(SERVICE, services.service_page, name="service_page"),
    path(SERVICE + "status/", services.service_status, name="service_status"),
    path(SERVICE + "stop/", services.stop_service, name="stop_service"),
    path(SERVICE + "start/", services.start_service, name="start_service"),
    path(SERVICE + "delete/", services.delete_service, name="delete_service"),
    path(SERVICE + "token/", services.renew_token, name="renew_token"),
    path(SERVICE + "predict/", services.predict_with_service, name="predict_with_service"),
    path("v1/infers/<uuid:service_id>", infer.infer, name="infer"),
]
