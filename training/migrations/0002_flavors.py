"""The two flavors that an installation starts with; operators change them in the admin."""

from django.db import migrations


def make_flavors(apps, schema_editor):
    flavor = apps.get_model("training", "InstanceFlavor")
    flavor.objects.create(
        name="Compute-intensive instance (GPU)", device="gpu", queue="gpu", is_default=True, position=0
    )
    flavor.objects.create(name="Compute-intensive instance (CPU)", device="cpu", queue="cpu", position=1)


class Migration(migrations.Migration):
    dependencies = [("training", "0001_initial")]
    operations = [migrations.RunPython(make_flavors, migrations.RunPython.noop)]
