"""Usage of teams in each month, and their limits."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0018_audit'),
    ]

    operations = [
        migrations.CreateModel(
            name='TeamQuota',
            fields=[
                ('team', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='quota', serialize=False, to='projects.team')),
                ('max_storage_gb', models.FloatField(blank=True, help_text='images, those in the bin included, and trained models', null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='storage (GB)')),
                ('max_training_hours', models.FloatField(blank=True, help_text='a training counts its limit until it ends', null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='training hours a month')),
                ('max_cost', models.DecimalField(blank=True, decimal_places=2, help_text='in the currency of the flavors’ prices', max_digits=10, null=True, validators=[django.core.validators.MinValueValidator(0)], verbose_name='cost of trainings a month')),
                ('max_concurrent_trainings', models.PositiveIntegerField(blank=True, help_text='those that wait included', null=True, verbose_name='trainings at a time')),
            ],
            options={
                'verbose_name': 'team with limits',
                'verbose_name_plural': 'teams with limits',
            },
        ),
        migrations.CreateModel(
            name='Usage',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('month', models.DateField()),
                ('kind', models.CharField(choices=[('training', 'Training'), ('service', 'Service'), ('calls', 'Calls'), ('images', 'Images'), ('storage', 'Storage')], max_length=8)),
                ('source', models.CharField(editable=False, max_length=80)),
                ('team_name', models.CharField(max_length=64)),
                ('project_id', models.BigIntegerField(verbose_name="project's key")),
                ('project_name', models.CharField(max_length=32, verbose_name='project')),
                ('user_name', models.CharField(blank=True, max_length=150, verbose_name='person')),
                ('flavor_name', models.CharField(blank=True, max_length=64, verbose_name='flavor')),
                ('price_per_hour', models.DecimalField(decimal_places=2, default=0, max_digits=8)),
                ('quantity', models.FloatField(default=0)),
                ('measured_at', models.DateTimeField()),
                ('team', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='usage', to='projects.team')),
            ],
            options={
                'verbose_name': 'usage',
                'verbose_name_plural': 'usage',
                'ordering': ['-month', 'team_name', 'project_name', 'kind'],
                'indexes': [models.Index(fields=['team', 'month'], name='usage_of_a_team')],
                'constraints': [models.UniqueConstraint(fields=('month', 'kind', 'source'), name='one_usage_of_a_month')],
            },
        ),
    ]
