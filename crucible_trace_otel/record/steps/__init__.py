"""Steps: recorded millions of times, kept in windows, and alone where they are abnormal.

Where to look:

_stepping   what takes steps, and how a row is recorded
_windows    many steps as one span event, with their statistics and every row
_rows       the rows of the open window
_totals     what the windows come to
_policy     how windows are made, and which steps are abnormal: what a user may choose
_abnormal   which steps are not as the others
_keeping    where rows survive the process
_held       scalars that lie on an accelerator
"""
