"""Evaluations of versions on selected images: the test images, a filter of Label Data, another project."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0014_split_changes'),
        ('training', '0019_cross_validation'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='VersionEvaluation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('heartbeat_at', models.DateTimeField(blank=True, null=True)),
                ('traceback', models.TextField(blank=True)),
                ('kind', models.CharField(choices=[('test', 'Test images of the dataset version'), ('selection', 'Selected images')], default='selection', max_length=9)),
                ('name', models.CharField(max_length=255)),
                ('query', models.CharField(blank=True, max_length=2048)),
                ('images_file', models.CharField(blank=True, editable=False, max_length=255)),
                ('status', models.CharField(choices=[('Waiting', 'Waiting'), ('Running', 'Running'), ('Completed', 'Completed'), ('Cancelled', 'Cancelled'), ('Failed', 'Failed')], default='Waiting', max_length=9)),
                ('total', models.PositiveIntegerField(default=0)),
                ('done', models.PositiveIntegerField(default=0)),
                ('result', models.JSONField(blank=True, default=dict)),
                ('is_cancel_wanted', models.BooleanField(default=False)),
                ('problem', models.TextField(blank=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('shown_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('shown_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('source', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='projects.project')),
                ('training_version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='evaluations', to='training.trainingversion')),
            ],
            options={
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='SelectedImage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('truth', models.JSONField()),
                ('predicted', models.JSONField()),
                ('true_names', models.TextField(default='')),
                ('predicted_names', models.TextField(default='')),
                ('scores', models.JSONField()),
                ('confidence', models.FloatField()),
                ('is_correct', models.BooleanField()),
                ('is_known', models.BooleanField(null=True)),
                ('familiarity', models.FloatField(null=True)),
                ('was_trained_on', models.BooleanField(default=False)),
                ('image', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='projects.image')),
                ('evaluation', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='images', to='training.versionevaluation')),
            ],
            options={
                'ordering': ['pk'],
            },
        ),
        migrations.AddIndex(
            model_name='versionevaluation',
            index=models.Index(fields=['status', 'heartbeat_at'], name='sweep_of_evaluations'),
        ),
        migrations.AddConstraint(
            model_name='versionevaluation',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['Waiting', 'Running', 'Completed', 'Cancelled', 'Failed'])), name='evaluation_status_is_known'),
        ),
        migrations.AddConstraint(
            model_name='versionevaluation',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'test')), fields=('training_version',), name='one_test_result_of_a_version'),
        ),
        migrations.AddIndex(
            model_name='selectedimage',
            index=models.Index(fields=['evaluation', 'is_correct', '-confidence', 'id'], name='selection_mistakes_first'),
        ),
        migrations.AddConstraint(
            model_name='selectedimage',
            constraint=models.UniqueConstraint(fields=('evaluation', 'image'), name='an_image_selected_once'),
        ),
    ]
