"""The stages of a pipeline.

Where to look:

_stage          one stage: where it stands, how it ended. Built up from class to class:
_artifacts.ArtifactVerbs < _stage_data.StageData < _stage_items.StageItems < _stage.Stage
_attempts       tried again
_stage_order    the stages of one execution by name: which waits for which
_artifacts      files, models and data sets made or used (of pipelines too)
_stage_data     what goes into a stage and comes out of it
_stage_items    the items it works on
_data           a value or a file: known now, or soon
_contents       digest, size and schema of a value
_schema         what a value is made of
_tables         arrays and tables of other packages
_stage_memory   what a resumable pipeline remembers
_state_file     the file it remembers it in
"""
