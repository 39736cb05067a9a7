"""Models and fields get the field's words. Tables and columns keep their names: nothing is rewritten."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0008_names'),
        ('training', '0013_totals_of_services'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[
            migrations.RemoveConstraint(
                model_name='service',
                name='a_trial_has_a_share_of_the_calls',
            ),
            migrations.AlterField(
                model_name='batch',
                name='made_at',
                field=models.DateTimeField(auto_now_add=True, db_column='made_at'),
            ),
            migrations.RenameField(
                model_name='batch',
                old_name='made_at',
                new_name='created_at',
            ),
            migrations.AlterField(
                model_name='batch',
                name='made_by',
                field=models.ForeignKey(db_column='made_by_id', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.RenameField(
                model_name='batch',
                old_name='made_by',
                new_name='created_by',
            ),
            migrations.AlterField(
                model_name='collectedcall',
                name='said_at',
                field=models.DateTimeField(blank=True, db_column='said_at', null=True),
            ),
            migrations.RenameField(
                model_name='collectedcall',
                old_name='said_at',
                new_name='feedback_at',
            ),
            migrations.AlterField(
                model_name='collectedcall',
                name='said_by',
                field=models.CharField(blank=True, db_column='said_by', max_length=150),
            ),
            migrations.RenameField(
                model_name='collectedcall',
                old_name='said_by',
                new_name='feedback_by',
            ),
            migrations.AlterField(
                model_name='service',
                name='trial_percent',
                field=models.PositiveSmallIntegerField(db_column='trial_percent', default=0, help_text='of the calls, 1–99'),
            ),
            migrations.RenameField(
                model_name='service',
                old_name='trial_percent',
                new_name='canary_percent',
            ),
            migrations.AlterField(
                model_name='service',
                name='trial_version',
                field=models.ForeignKey(blank=True, db_column='trial_version_id', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='training.trainingversion'),
            ),
            migrations.RenameField(
                model_name='service',
                old_name='trial_version',
                new_name='canary_version',
            ),
            migrations.AlterField(
                model_name='servicetoken',
                name='made_at',
                field=models.DateTimeField(auto_now_add=True, db_column='made_at'),
            ),
            migrations.RenameField(
                model_name='servicetoken',
                old_name='made_at',
                new_name='created_at',
            ),
            migrations.AlterField(
                model_name='servicetoken',
                name='made_by',
                field=models.ForeignKey(blank=True, db_column='made_by_id', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
            ),
            migrations.RenameField(
                model_name='servicetoken',
                old_name='made_by',
                new_name='created_by',
            ),
            migrations.AddConstraint(
                model_name='service',
                constraint=models.CheckConstraint(condition=models.Q(('canary_percent__lte', 99)), name='a_trial_has_a_share_of_the_calls'),
            ),
        ]),
    ]
