"""Projects: upload, label, train, deploy, export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from exeml.core.calls import Call, FilePart, Pages, Steps, Work, create, fetch, get, path_part, post, send
from exeml.core.modes import M, listing, operation
from exeml.core.progress import progress_bar
from exeml.core.resource import Record, Resource
from exeml.dataset_version import DatasetVersion
from exeml.errors import Problem
from exeml.image import Image, ids_of
from exeml.label import Label, label_id
from exeml.records import Action, Suggestion, UploadReport
from exeml.service import Service, deploy_steps
from exeml.team import Webhook, new_webhook
from exeml.transfer import Transfer
from exeml.upload import Source, UploadProgress, find_files, upload_steps
from exeml.version import Version

Images = Sequence["Image[Any] | int"] | Image[Any] | int
ANNOTATIONS_AT_ONCE = 10_000
PAGE = 500


class Project(Resource[M]):
    """A project, with the numbers of its images and labels."""

    id: int
    name: str
    description: str = ""
    is_multi_label: bool = False
    team_id: int | None = None
    created_at: datetime | None = None
    created_by: str | None = None
    image_count: int = 0
    labeled_count: int = 0
    label_count: int = 0

    @property
    def _path(self) -> str:
        return f"/projects/{self.id}"

    @operation
    def refresh(self) -> Steps[Project[M]]:
        """Read it again."""
        self._update((yield from fetch(get(self._path))))
        return self

    @operation
    def change(self, *, description: str) -> Steps[Project[M]]:
        """Change the description."""
        self._update((yield from fetch(Call("PATCH", self._path, body={"description": description}))))
        return self

    @operation
    def delete(self) -> Steps[None]:
        """Delete it; an operator can restore it."""
        yield from send(Call("DELETE", self._path))

    # --- Images ---

    @operation
    def upload(
        self,
        source: Source,
        labels: str | Sequence[str] | None = None,
        *,
        on_progress: Callable[[UploadProgress], None] | None = None,
        shows_progress: bool = True,
    ) -> Steps[UploadReport]:
        """Upload a folder with its subfolders, or files.

        `labels`: "folders" gives each image the name of its first folder below `source`; other names are
        given to every image. Images that the project has are not sent: an upload that was interrupted is
        called again. On a terminal a bar shows how far it is, unless `on_progress` is given.
        """
        files = yield Work(partial(find_files, source))
        with progress_bar("Uploading", is_shown=shows_progress and on_progress is None) as bar:

            def report(progress: UploadProgress) -> None:
                bar(progress.done_count, progress.total_count)
                if on_progress is not None:
                    on_progress(progress)

            return (yield from upload_steps(self._path, files, labels, report))

    @listing
    def images(self, /, limit: int | None = None, **filters: Any) -> Steps[Pages[Image[M]]]:
        """The images, with the filters and sorts of Label Data: `tab`, `label`, `q`, `sort`, `check` …

        Labels are named, or given by their ids.
        """
        for name in ("label", "notlabel", "suggestion"):
            if isinstance(filters.get(name), str):
                filters[name] = yield from label_id(self._path, filters[name])
        page = PAGE if limit is None else min(PAGE, max(limit, 1))
        return Pages(get(f"{self._path}/images", limit=page, **filters), partial(self._make, Image), limit)

    @operation
    def image(self, image_id: int) -> Steps[Image[M]]:
        """One image."""
        return self._make(Image, (yield from fetch(get(f"{self._path}/images/{image_id}"))))

    @operation
    def delete_images(self, images: Images) -> Steps[Action]:
        """Move images to the bin."""
        call = post(f"{self._path}/images/delete", {"image_ids": ids_of(images)}, repeats_safely=True)
        return Action.model_validate((yield from fetch(call)) or {})

    @operation
    def restore_images(self, images: Images) -> Steps[Action]:
        """Take images out of the bin."""
        call = post(f"{self._path}/images/restore", {"image_ids": ids_of(images)}, repeats_safely=True)
        return Action.model_validate((yield from fetch(call)) or {})

    # --- Labels ---

    @listing
    def labels(self) -> Pages[Label[M]]:
        """The labels with the numbers of their images."""
        return Pages(get(f"{self._path}/labels"), partial(self._make, Label))

    @operation
    def create_label(self, /, name: str, **options: Any) -> Steps[Label[M]]:
        """Create a label; `annotate` creates those that are missing by itself."""
        values = yield from fetch(create(f"{self._path}/labels", {"name": name, **options}))
        return self._make(Label, values)

    @operation
    def annotate(
        self, images: Images, add: Iterable[str] | str = (), remove: Iterable[str] | str = ()
    ) -> Steps[Action]:
        """Give and take labels: one action, which `undo` takes back."""
        body = {"image_ids": ids_of(images), "add": _names(add), "remove": _names(remove)}
        return (yield from self._annotate(body))

    @operation
    def annotate_each(
        self,
        labels: Mapping[int, Iterable[str] | str] | Iterable[tuple[Image[Any] | int, Iterable[str] | str]],
    ) -> Steps[list[Action]]:
        """Give each image labels of its own, beside those that it has; every 10,000 images are one action."""
        pairs = labels.items() if isinstance(labels, Mapping) else labels
        rows = [{"image_id": ids_of(image)[0], "labels": _names(names)} for image, names in pairs]
        events = []
        for start in range(0, len(rows), ANNOTATIONS_AT_ONCE):
            body = {"annotations": rows[start : start + ANNOTATIONS_AT_ONCE]}
            events.append((yield from self._annotate(body)))
        return events

    def _annotate(self, body: dict[str, Any]) -> Steps[Action]:
        call = create(f"{self._path}/annotations", body, timeout_s=600)
        return Action.model_validate((yield from fetch(call)))

    @operation
    def undo(self, event_id: int | None = None) -> Steps[Action]:
        """Take back an action; by default your last one."""
        values = yield from fetch(post(f"{self._path}/annotations/undo", {"event_id": event_id}))
        return Action.model_validate(values)

    @listing
    def history(self, limit: int | None = None) -> Pages[Record]:
        """What was done, the newest first."""
        return Pages(get(f"{self._path}/history"), Record.model_validate, limit)

    @listing
    def suggestions(self, /, limit: int | None = None, **filters: Any) -> Pages[Suggestion]:
        """Suggested labels, the most confident first; one that changed since is not confirmed."""
        return Pages(get(f"{self._path}/suggestions", **filters), Suggestion.model_validate, limit)

    @operation
    def confirm_suggestions(self, seen: Iterable[Suggestion]) -> Steps[Action]:
        """Give these images the labels that are suggested, in one action."""
        return (yield from self._decide("confirm", seen))

    @operation
    def refuse_suggestions(self, seen: Iterable[Suggestion]) -> Steps[Action]:
        """Refuse the suggestions; they do not come back."""
        return (yield from self._decide("refuse", seen))

    def _decide(self, decision: str, seen: Iterable[Suggestion]) -> Steps[Action]:
        body = {"seen": [suggestion.seen for suggestion in seen]}
        call = post(f"{self._path}/suggestions/{decision}", body, repeats_safely=True)
        return Action.model_validate((yield from fetch(call)))

    @listing
    def issues(self, /, **options: Any) -> Pages[Record]:
        """Possible wrong labels, duplicates, outliers and other issues."""
        return Pages(get(f"{self._path}/issues", **options), Record.model_validate)

    # --- Dataset versions and trainings ---

    @operation
    def publish(
        self, name: str | None = None, *, training_ratio: float | None = None
    ) -> Steps[DatasetVersion[M]]:
        """Publish the current labels as a dataset version; the name is V001, V002 … if none is given."""
        body = {"name": name, "training_ratio": training_ratio}
        given = {key: value for key, value in body.items() if value is not None}
        values = yield from fetch(create(f"{self._path}/dataset-versions", given, timeout_s=600))
        return self._make(DatasetVersion, values)

    @listing
    def dataset_versions(self) -> Pages[DatasetVersion[M]]:
        """The dataset versions, the newest first."""
        return Pages(get(f"{self._path}/dataset-versions"), partial(self._make, DatasetVersion))

    @operation
    def dataset_version(self, name: str) -> Steps[DatasetVersion[M]]:
        """A dataset version by its name."""
        call = get(f"{self._path}/dataset-versions/{path_part(name)}")
        return self._make(DatasetVersion, (yield from fetch(call)))

    @operation
    def train(
        self,
        *,
        max_training_hours: float | None = None,
        dataset_version: str | None = None,
        training_ratio: float | None = None,
        incremental_version: Version[Any] | int | None = None,
        inference_hardware: str | None = None,
        max_inference_ms: int | None = None,
        instance_flavor: int | None = None,
    ) -> Steps[Version[M]]:
        """Start a training, with the fields of Training Configuration; what is None gets the page's default.

        It goes on in a worker of the server: `wait()` waits for its end.
        """
        base = incremental_version
        body = {
            "max_training_hours": max_training_hours,
            "dataset_version": dataset_version,
            "training_ratio": training_ratio,
            "incremental_version": base.number if isinstance(base, Version) else base,
            "inference_hardware": inference_hardware,
            "max_inference_ms": max_inference_ms,
            "instance_flavor": instance_flavor,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return self._make(Version, (yield from fetch(create(f"{self._path}/versions", given))))

    @listing
    def versions(self, /, **filters: Any) -> Pages[Version[M]]:
        """The training versions, the newest first; `status` and `is_starred` choose among them."""
        return Pages(get(f"{self._path}/versions", **filters), partial(self._make, Version))

    @operation
    def version(self, name: int | str) -> Steps[Version[M]]:
        """A training version by its number or its name, such as V001."""
        number = str(name).strip().upper().removeprefix("V")
        if not number.isdecimal():
            raise Problem(404, "Not found", f"“{name}” is no version: use a number, or a name such as V001.")
        return self._make(Version, (yield from fetch(get(f"{self._path}/versions/{int(number)}"))))

    # --- Services ---

    @operation
    def deploy(self, /, version: Version[Any] | int, **options: Any) -> Steps[Service[M]]:
        """Put a Completed version behind an address. `auto_stop_hours`: it then stops by itself."""
        number = version if isinstance(version, int) else version.number
        return self._make(Service, (yield from deploy_steps(self._path, number, options)))

    @listing
    def services(self, /, **filters: Any) -> Pages[Service[M]]:
        """The services, the newest first."""
        return Pages(get(f"{self._path}/services", **filters), partial(self._make, Service))

    @operation
    def service(self, service_id: str) -> Steps[Service[M]]:
        """A service by its id."""
        return self._make(Service, (yield from fetch(get(f"{self._path}/services/{path_part(service_id)}"))))

    # --- Imports and exports ---

    @operation
    def import_file(self, /, path: str | Path, **options: Any) -> Steps[Transfer[M]]:
        """Import an archive, a label file or a table. It goes on in a worker: `wait()` waits for its end."""
        file = Path(path)
        files = [FilePart(file.name, file, "file")]
        call = create(f"{self._path}/imports", form=options, files=files, timeout_s=3600)
        return self._make(Transfer, (yield from fetch(call)))

    @listing
    def imports(self) -> Pages[Transfer[M]]:
        """The imports, the newest first."""
        return Pages(get(f"{self._path}/imports"), partial(self._make, Transfer))

    @operation
    def data_source(self) -> Steps[Record]:
        """The folder or S3 prefix that it imports from. Raises Problem (404) where there is none."""
        return Record.model_validate((yield from fetch(get(f"{self._path}/data-source"))))

    @operation
    def choose_data_source(self, address: str, *, has_folder_labels: bool = False) -> Steps[Transfer[M]]:
        """Choose it, below one of the locations that operators allow. Returns the import that reads it."""
        body = {"address": address, "has_folder_labels": has_folder_labels}
        values = yield from fetch(Call("PUT", f"{self._path}/data-source", body=body))
        return self._make(Transfer, values["started_import"])

    @operation
    def export(self, /, target: str | Path, **options: Any) -> Steps[Path]:
        """Write a zip of the images and their labels, which can be imported again."""
        path = Path(target)
        yield from send(Call("GET", f"{self._path}/export", params=options, target=path, timeout_s=3600))
        return path

    @operation
    def backup(self, /, target: str | Path) -> Steps[Path]:
        """Write the whole project, with its history and models, as a file that makes the same project.

        Import it into an empty project, in this installation or another one. Managers alone may.
        """
        path = Path(target)
        yield from send(Call("GET", f"{self._path}/file", target=path, timeout_s=3600))
        return path

    # --- Webhooks ---

    @listing
    def webhooks(self) -> Pages[Webhook[M]]:
        """Its own webhooks, the newest first; those of the team hear of it, too: `Client.webhooks`."""
        return Pages(get(f"{self._path}/webhooks"), partial(self._make, Webhook))

    @operation
    def create_webhook(self, url: str, events: Sequence[str] | None = None) -> Steps[Webhook[M]]:
        """Tell an address of events; without `events` of every one."""
        return self._make(Webhook, (yield from new_webhook(self._path, url, events)))


def _names(labels: Iterable[str] | str) -> list[str]:
    return [labels] if isinstance(labels, str) else list(labels)
