"""The number format of versions, services and batches, and what was measured of each."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('training', '0023_shadow_versions'),
    ]

    operations = [
        migrations.AddField(
            model_name='batch',
            name='number_format',
            field=models.CharField(blank=True, choices=[('float32', 'float32'), ('int8', 'INT8'), ('bfloat16', 'bfloat16')], help_text='of the service when the batch was created', max_length=8),
        ),
        migrations.AddField(
            model_name='service',
            name='number_format',
            field=models.CharField(blank=True, choices=[('float32', 'float32'), ('int8', 'INT8'), ('bfloat16', 'bfloat16')], help_text='empty: the default of the version that answers', max_length=8),
        ),
        migrations.AddField(
            model_name='trainingversion',
            name='number_format',
            field=models.CharField(choices=[('float32', 'float32'), ('int8', 'INT8'), ('bfloat16', 'bfloat16')], default='float32', max_length=8),
        ),
        migrations.AddField(
            model_name='trainingversion',
            name='number_formats',
            field=models.JSONField(blank=True, default=list, editable=False),
        ),
    ]
