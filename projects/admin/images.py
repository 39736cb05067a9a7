"""Admin of images, annotations and label events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from projects.admin.base import DeletedFilter, ReadOnlyAdmin
from projects.images.decode import ImageRefused
from projects.images.thumbnail import thumbnail_of
from projects.labels import actions as label_actions
from projects.labels.parts import count_images
from projects.models import Annotation, Image, LabelEvent, MetadataColumn, MetadataValue, Project


@admin.register(Image)
class ImageAdmin(ReadOnlyAdmin):
    list_display = [
        "thumbnail",
        "name",
        "project",
        "format",
        "pixels",
        "is_labeled",
        "split",
        "uploaded_by",
        "uploaded_at",
        "deleted_at",
    ]
    list_display_links = ["name"]
    list_filter = [DeletedFilter, "is_labeled", "split", "format"]
    search_fields = ["name", "=sha256", "project__name"]
    date_hierarchy = "uploaded_at"
    list_select_related = ["project", "uploaded_by"]
    readonly_fields = ["thumbnail"]
    list_per_page = 50
    actions = ["restore"]

    def get_urls(self) -> list[URLPattern]:
        picture = path(
            "<int:image_id>/thumbnail/",
            self.admin_site.admin_view(self.thumbnail_file),
            name="projects_image_thumbnail",
        )
        return [picture, *super().get_urls()]

    def thumbnail_file(self, request: HttpRequest, image_id: int) -> HttpResponse:
        """The thumbnail for operators, who need not be members of the team."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        image = get_object_or_404(Image, pk=image_id)
        try:
            content = thumbnail_of(image)
        except (ImageRefused, OSError) as problem:
            raise Http404 from problem
        return HttpResponse(
            content, content_type="image/webp", headers={"Cache-Control": "private, max-age=86400"}
        )

    @admin.display(description="")
    def thumbnail(self, image: Image) -> str:
        address = reverse("admin:projects_image_thumbnail", args=[image.pk])
        return format_html('<img class="thumbnail" src="{}" alt="" loading="lazy">', address)

    @admin.display(ordering="width")
    def pixels(self, image: Image) -> str:
        return f"{image.width} × {image.height}"

    @admin.action(description="Restore from the bin", permissions=["operate"])
    def restore(self, request: Any, images: QuerySet[Image]) -> None:
        binned = images.exclude(deleted_at=None).order_by()
        projects = Project.objects.filter(pk__in=binned.values("project"))
        restored = 0
        for project in projects:
            ids = list(binned.filter(project=project).values_list("pk", flat=True))
            event = label_actions.restore_images(project, ids, by=request.user)
            restored += count_images(event)
        self.message_user(request, f"Restored: {restored} images.", messages.SUCCESS)


@admin.register(MetadataColumn)
class MetadataColumnAdmin(ReadOnlyAdmin):
    list_display = ["name", "project", "is_never_split", "alike", "alike_by_chance"]
    list_filter = ["is_never_split"]
    search_fields = ["name", "project__name"]
    list_select_related = ["project"]


@admin.register(MetadataValue)
class MetadataValueAdmin(ReadOnlyAdmin):
    list_display = ["image", "column", "value"]
    search_fields = ["image__name", "column__name", "value"]
    list_select_related = ["image", "column"]


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ["image", "label", "by", "source", "at", "confidence"]
    list_filter = ["source"]
    search_fields = ["image__name", "label__name", "by__username"]
    date_hierarchy = "at"
    list_select_related = ["image", "label", "by"]


@admin.register(LabelEvent)
class LabelEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "kind", "project", "by", "undoes_id"]
    list_display_links = ["at"]
    list_filter = ["kind"]
    search_fields = ["project__name", "by__username"]
    date_hierarchy = "at"
    list_select_related = ["project", "by"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[LabelEvent]:
        """Defer the changes: an event on 10,000 images is large, and the list does not show it."""
        return super().get_queryset(request).defer("changes", "details")
