"""Addresses of training versions and services."""

from django.urls import URLPattern, URLResolver, path

from training.views import (
    collected,
    comparison,
    configuration,
    evaluation,
    infer,
    monitoring,
    services,
    serving,
    taking,
    versions,
)

CONFIGURE = "projects/<int:project_id>/train-model/configure/"
SERVICES = "projects/<int:project_id>/deploy-service/"
SERVICE = SERVICES + "<uuid:service_id>/"
VERSIONS = "projects/<int:project_id>/train-model/"
VERSION = VERSIONS + "<int:number>/"
EVALUATED = VERSION + "images/<int:evaluated_id>/"

urlpatterns: list[URLPattern | URLResolver] = [
    path(VERSIONS, versions.train_model, name="train_model"),
    path(VERSIONS + "versions/", versions.version_list, name="version_list"),
    path(VERSIONS + "compare/", comparison.compare_versions, name="compare_versions"),
    path(VERSION, versions.training_version, name="training_version"),
    path(VERSION + "status/", versions.training_status, name="training_status"),
    path(VERSION + "stop/", versions.stop_training, name="stop_training"),
    path(VERSION + "retry/", versions.retry_training, name="retry_training"),
    path(VERSION + "report/", taking.version_report, name="version_report"),
    path(VERSION + "archive/", taking.version_archive, name="version_archive"),
    path(VERSION + "add-time/", versions.add_time, name="add_time"),
    path(VERSION + "promote/<int:place>/", versions.promote_candidate, name="promote_candidate"),
    path(VERSION + "star/", versions.star_version, name="star_version"),
    path(VERSION + "note/", versions.describe_version, name="describe_version"),
    path(VERSION + "delete/", versions.delete_training_version, name="delete_training_version"),
    path(VERSION + "charts/<str:name>.svg", versions.training_chart, name="training_chart"),
    path(VERSION + "images/", evaluation.evaluated_images, name="evaluated_images"),
    path(EVALUATED, evaluation.evaluated_image, name="evaluated_image"),
    path(EVALUATED + "heat.webp", evaluation.evaluated_heat, name="evaluated_heat"),
    path(EVALUATED + "relabel/", evaluation.relabel_evaluated, name="relabel_evaluated"),
    path(VERSION + "confusion/", evaluation.confusion_matrix, name="confusion_matrix"),
    path(VERSION + "thresholds/", evaluation.thresholds, name="thresholds"),
    path(CONFIGURE, configuration.configure_training, name="configure_training"),
    path(CONFIGURE + "submit/", configuration.submit_training, name="submit_training"),
    path(CONFIGURE + "split/", configuration.split_consequence, name="split_consequence"),
    path(CONFIGURE + "networks/", configuration.networks_consequence, name="networks_consequence"),
    path(CONFIGURE + "cost/", configuration.cost_consequence, name="cost_consequence"),
    path(CONFIGURE + "inherited/", configuration.inherited_fields, name="inherited_fields"),
    path(SERVICES, services.deploy_service, name="deploy_service"),
    path(SERVICES + "deploy/", services.deploy_version, name="deploy_version"),
    path(SERVICE, services.service_page, name="service_page"),
    path(SERVICE + "status/", services.service_status, name="service_status"),
    path(SERVICE + "stop/", services.stop_service, name="stop_service"),
    path(SERVICE + "start/", services.start_service, name="start_service"),
    path(SERVICE + "delete/", services.delete_service, name="delete_service"),
    path(SERVICE + "change/", serving.change_version, name="change_version"),
    path(SERVICE + "roll-back/", serving.roll_back, name="roll_back"),
    path(SERVICE + "end-trial/", serving.end_trial, name="end_trial"),
    path(SERVICE + "tokens/", serving.make_token, name="make_token"),
    path(SERVICE + "tokens/<int:token_id>/rotate/", serving.rotate_token, name="rotate_token"),
    path(SERVICE + "tokens/<int:token_id>/revoke/", serving.revoke_token, name="revoke_token"),
    path(SERVICE + "predict/", services.predict_with_service, name="predict_with_service"),
    path(SERVICE + "explain/", services.explain_prediction, name="explain_prediction"),
    path(SERVICE + "monitoring/", monitoring.service_monitoring, name="service_monitoring"),
    path(SERVICE + "collected/", collected.service_collected, name="service_collected"),
    path(SERVICE + "collected/settings/", collected.collect_requests, name="collect_requests"),
    path(SERVICE + "collected/take/", collected.take_collected, name="take_collected"),
    path(SERVICE + "collected/<uuid:call_id>/", collected.collected_picture, name="collected_picture"),
    path(SERVICE + "collected/<uuid:call_id>/judge/", collected.judge_call, name="judge_call"),
    path(SERVICES + "near/", services.prediction_neighbours, name="prediction_neighbours"),
    path("metrics", monitoring.metrics, name="metrics"),
    path("v1/infers/<str:service_id>", infer.infer, name="infer"),
    path("v1/infers/<str:service_id>/feedback", infer.feedback, name="infer_feedback"),
]
