"""Test images of imports are kept; an import can wait for a person who looks at what was found."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0010_plain_words'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='image',
            name='side_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='transfer',
            name='transfer_state_is_known',
        ),
        migrations.AlterField(
            model_name='image',
            name='split',
            field=models.CharField(blank=True, choices=[('TRAIN', 'Training'), ('EVAL', 'Validation'), ('TEST', 'Test')], db_column='side', max_length=5),
        ),
        migrations.AlterField(
            model_name='transfer',
            name='status',
            field=models.CharField(choices=[('Uploading', 'Uploading'), ('Review', 'Review'), ('Waiting', 'Waiting'), ('Running', 'Running'), ('Completed', 'Completed'), ('Failed', 'Failed'), ('Cancelled', 'Cancelled')], db_column='state', default='Waiting', max_length=9),
        ),
        migrations.AddIndex(
            model_name='image',
            index=models.Index(fields=['project', 'split', 'deleted_at'], name='images_of_a_split'),
        ),
        migrations.AddConstraint(
            model_name='image',
            constraint=models.CheckConstraint(condition=models.Q(('split__in', ['', 'TRAIN', 'EVAL', 'TEST'])), name='side_is_known'),
        ),
        migrations.AddConstraint(
            model_name='transfer',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['Uploading', 'Review', 'Waiting', 'Running', 'Completed', 'Failed', 'Cancelled'])), name='transfer_state_is_known'),
        ),
    ]
