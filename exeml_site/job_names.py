"""Names of the jobs and the functions behind them. Other code names jobs, never these functions."""

JOBS = {
    "train_version": "training.jobs.train_version.train",
    "rescore_version": "training.jobs.rescore.rescore",
    "embed_images": "training.assist.embed_images.embed",
    "find_similar": "training.assist.embed_images.nearest_labeled_images",
    "suggest_labels": "training.assist.suggest_labels.update_suggestions",
    "find_issues": "training.assist.find_issues.update_issues",
    "predict_unlabeled": "training.assist.predict_unlabeled.predict_waiting",
    "forecast_gains": "training.assist.forecast_gains.forecast",
    "deploy_service": "training.serving.deploy.bring_up",
    "change_service_version": "training.serving.rollout.change_over",
    "run_batch": "training.serving.batches.job.run",
    "run_evaluation": "training.jobs.selection.run",
    "hand_over_training": "training.versions.recovery.hand_over",
    "export_onnx": "training.serving.download.onnx_export.make",
    "purge_project": "projects.workspace.purge.purge",
    "run_import": "projects.transfers.import_job.run",
    "send_password_reset": "projects.sign_in.mail.reset_password",
    "send_invitation": "projects.sign_in.mail.send_invitation",
    "send_notices": "projects.notices.mails.send",
    # periodic (cron.py)
    "sweep_trainings": "training.versions.recovery.sweep",
    "resume_forecasts": "training.versions.recovery.enqueue_lost_forecasts",
    "stop_expired_services": "training.serving.deploy.stop_expired",
    "resume_version_changes": "training.serving.rollout.catch_up",
    "resume_batches": "training.serving.batches.job.catch_up",
    "resume_evaluations": "training.evaluation.selections.lifecycle.catch_up",
    "delete_old_collected_calls": "training.serving.calls.feedback.forget_old",
    "delete_old_shadow_answers": "training.serving.calls.shadow.forget_old",
    "delete_old_call_counts": "training.serving.calls.counters.forget_old",
    "resume_embedding": "training.assist.embed_images.enqueue_missing_embeddings",
    "resume_imports": "projects.transfers.imports.catch_up",
    "back_up_when_due": "projects.backup.schedule.back_up_when_due",
    "empty_bins": "projects.images.bin.empty_bins",
    "delete_old_audit_events": "projects.audit.retention.forget_old",
    "measure_trainings": "training.versions.usage.measure",
    "measure_models": "training.versions.usage.measure_models",
    "measure_services": "training.serving.calls.usage.measure_hours",
    "measure_calls": "training.serving.calls.usage.measure_calls",
    "measure_images": "projects.usage.storage.measure",
    "purge_projects": "projects.workspace.purge.purge_deleted_projects",
    "delete_stored_leftovers": "training.versions.recovery.delete_stored_leftovers",
    "clear_sessions": "projects.workspace.sessions.clear_expired",
    "sweep_temporary_files": "exeml_site.lib.files.temporary_files.sweep",
    "forget_failed_attempts": "projects.workspace.login_throttle.forget_old",
    "forget_invitations": "projects.sign_in.invitations.forget_old",
    "forget_idempotent_calls": "projects.api.core.idempotency.forget_old_calls",
}
# Functions that add the notices of what has happened since.
NOTICE_COLLECTORS = ("projects.notices.collectors.collect", "training.versions.notices.collect")
# What each machine does for its own files, every two minutes (exeml_site.lib.files.machine_files).
MACHINE_CLEANERS = (
    "exeml_site.lib.files.temporary_files.sweep",
    "exeml_site.lib.files.machine_files.drop_gone",
    "exeml_site.lib.files.machine_files.shrink_cache",
    "training.versions.recovery.delete_orphaned_work_folders",
)
# First folder of stored files → the function that gives those of some names that belong to no row any more.
GONE_FILES = {
    "images": "projects.images.bin.gone_images",
    "datasets": "projects.workspace.purge.gone_project_files",
    "training": "training.versions.recovery.gone_version_files",
    "transfers": "projects.transfers.upload_parts.gone_parts",
    "batches": "training.versions.recovery.gone_batch_files",
}
# Event → jobs. The app in which the event happens does not depend on the app that does the work.
JOBS_AFTER = {"images_added": ["embed_images"], "labels_changed": ["suggest_labels"]}
# Former functions → job names: jobs queued before an upgrade have the old function names.
FORMER_JOBS = {
    "training.jobs.train": "train_version",
    "training.rescoring.rescore": "rescore_version",
    "training.embedding.embed": "embed_images",
    "training.embedding.nearest_to": "find_similar",
    "training.suggesting.refresh": "suggest_labels",
    "training.inspecting.inspect": "find_issues",
    "training.foreseeing.foresee": "predict_unlabeled",
    "training.learning.foretell": "forecast_gains",
    "training.services.deploying.bring_up": "deploy_service",
    "training.services.switching.change_over": "change_service_version",
    "training.services.batching.run": "run_batch",
    "training.services.exporting.make": "export_onnx",
    "projects.transfers.running.run": "run_import",
    "training.recovery.sweep": "sweep_trainings",
    "training.services.deploying.stop_expired": "stop_expired_services",
    "training.services.switching.catch_up": "resume_version_changes",
    "training.services.batching.catch_up": "resume_batches",
    "training.services.collecting.forget_old": "delete_old_collected_calls",
    "training.services.counting.forget_old": "delete_old_call_counts",
    "training.embedding.catch_up": "resume_embedding",
    "projects.transfers.deeds.catch_up": "resume_imports",
    "projects.purging.empty_bins": "empty_bins",
}
