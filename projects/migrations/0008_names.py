"""Models and fields get the field's words. Tables and columns keep their names: nothing is rewritten."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('projects', '0007_miniatures'),
    ]

    operations = [
        migrations.AlterModelTable(name='touch', table='projects_touch'),
        migrations.RenameModel(old_name='Touch', new_name='LabelEventImage'),
        migrations.AlterModelTable(name='miniature', table='projects_miniature'),
        migrations.RenameModel(old_name='Miniature', new_name='DuplicateKey'),
        migrations.AlterModelTable(name='refusal', table='projects_refusal'),
        migrations.RenameModel(old_name='Refusal', new_name='RejectedSuggestion'),
        migrations.AlterModelTable(name='transferrefusal', table='projects_transferrefusal'),
        migrations.RenameModel(old_name='TransferRefusal', new_name='RejectedFile'),
        migrations.SeparateDatabaseAndState(state_operations=[
            migrations.AlterField('labeleventimage', 'event', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='event_images', to='projects.labelevent')),
            migrations.AlterField('labeleventimage', 'image', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='event_images', to='projects.image')),
            migrations.AlterField('duplicatekey', 'image', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='duplicate_key', serialize=False, to='projects.image')),
            migrations.AlterField('rejectedsuggestion', 'image', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rejected_suggestions', to='projects.image')),
            migrations.AlterField('rejectedfile', 'transfer', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rejected_files', to='projects.transfer')),
            migrations.RemoveConstraint(
                model_name='image',
                name='side_is_known',
            ),
            migrations.RemoveIndex(
                model_name='image',
                name='grid_by_usefulness',
            ),
            migrations.RemoveIndex(
                model_name='image',
                name='grid_of_suspects',
            ),
            migrations.RemoveIndex(
                model_name='image',
                name='images_of_a_suspicion',
            ),
            migrations.AlterField(
                model_name='annotation',
                name='how',
                field=models.CharField(choices=[('human', 'By hand'), ('sample', 'Came with the sample'), ('import', 'Imported'), ('auto', 'Suggested, confirmed by hand')], db_column='how', default='human', max_length=8),
            ),
            migrations.RenameField(
                model_name='annotation',
                old_name='how',
                new_name='source',
            ),
            migrations.AlterField(
                model_name='datasetversion',
                name='portrait',
                field=models.JSONField(db_column='portrait', default=dict, editable=False),
            ),
            migrations.RenameField(
                model_name='datasetversion',
                old_name='portrait',
                new_name='statistics',
            ),
            migrations.AlterField(
                model_name='image',
                name='usefulness',
                field=models.FloatField(blank=True, db_column='usefulness', null=True),
            ),
            migrations.RenameField(
                model_name='image',
                old_name='usefulness',
                new_name='acquisition_score',
            ),
            migrations.AlterField(
                model_name='image',
                name='oddness',
                field=models.FloatField(blank=True, db_column='oddness', null=True),
            ),
            migrations.RenameField(
                model_name='image',
                old_name='oddness',
                new_name='outlier_score',
            ),
            migrations.AlterField(
                model_name='image',
                name='side',
                field=models.CharField(blank=True, choices=[('TRAIN', 'Training'), ('EVAL', 'Validation')], db_column='side', max_length=5),
            ),
            migrations.RenameField(
                model_name='image',
                old_name='side',
                new_name='split',
            ),
            migrations.AlterField(
                model_name='image',
                name='suspicion_confidence',
                field=models.FloatField(blank=True, db_column='suspicion_confidence', null=True),
            ),
            migrations.RenameField(
                model_name='image',
                old_name='suspicion_confidence',
                new_name='suspected_confidence',
            ),
            migrations.AlterField(
                model_name='image',
                name='suspicion',
                field=models.ForeignKey(blank=True, db_column='suspicion_id', db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='projects.label'),
            ),
            migrations.RenameField(
                model_name='image',
                old_name='suspicion',
                new_name='suspected_label',
            ),
            migrations.AlterField(
                model_name='project',
                name='copies_searched',
                field=models.CharField(blank=True, db_column='copies_searched', editable=False, max_length=42),
            ),
            migrations.RenameField(
                model_name='project',
                old_name='copies_searched',
                new_name='duplicates_searched',
            ),
            migrations.AddIndex(
                model_name='image',
                index=models.Index(condition=models.Q(('acquisition_score__isnull', False), ('deleted_at', None)), fields=['project', 'is_labeled', '-acquisition_score', '-id'], name='grid_by_usefulness'),
            ),
            migrations.AddIndex(
                model_name='image',
                index=models.Index(condition=models.Q(('deleted_at', None), ('suspected_label__isnull', False)), fields=['project', '-suspected_confidence', '-id'], name='grid_of_suspects'),
            ),
            migrations.AddIndex(
                model_name='image',
                index=models.Index(condition=models.Q(('suspected_label__isnull', False)), fields=['suspected_label'], name='images_of_a_suspicion'),
            ),
            migrations.AddConstraint(
                model_name='image',
                constraint=models.CheckConstraint(condition=models.Q(('split__in', ['', 'TRAIN', 'EVAL'])), name='side_is_known'),
            ),
        ]),
    ]
