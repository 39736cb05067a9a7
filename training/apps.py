from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"  # not translated: of the admin

    def ready(self) -> None:
        from projects import apps as projects
        from projects.usage import quotas
        from training import checks  # noqa: F401 (registers them)
        from training.project_hooks import delete_blockers, latest_accuracy, purge
        from training.versions.usage import model_bytes

        projects.delete_blockers.append(delete_blockers)
        projects.purge_steps.append(purge)
        quotas.stored_elsewhere.append(model_bytes)
        projects.sort_columns["accuracy"] = latest_accuracy
