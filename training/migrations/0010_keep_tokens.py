from django.db import migrations


def keep_tokens(apps, schema_editor):
    """The one token of each service becomes the first of its tokens."""
    Service, ServiceToken = (apps.get_model("training", name) for name in ("Service", "ServiceToken"))
    ServiceToken.objects.bulk_create(
        ServiceToken(
            service=one,
            name="first token",
            token_hash=one.token_hash,
            hint=one.token_hint,
            made_by=one.deployed_by,
        )
        for one in Service.objects.exclude(token_hash="")
    )


class Migration(migrations.Migration):
    dependencies = [("training", "0009_services_grow")]
    operations = [migrations.RunPython(keep_tokens, migrations.RunPython.noop)]
