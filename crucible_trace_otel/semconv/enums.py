# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""Value sets. All of them are open: a reader meets values of later versions."""

from typing import Final


class AbnormalKind:
    """Values of `crucible.abnormal.kind`.

    What was abnormal about a step.
    """

    NAN: Final = "nan"
    """A value is not a number."""

    INFINITY: Final = "infinity"
    """A value is infinite."""

    SPIKE: Final = "spike"
    """A value is far above its recent level."""

    SLOW: Final = "slow"
    """The step took far longer than the recent ones."""

    SKIPPED: Final = "skipped"
    """The optimizer skipped the step."""


class DeploymentStrategy:
    """Values of `crucible.deployment.strategy`.

    How the new version takes over.
    """

    CANARY: Final = "canary"
    """A small share of the traffic first."""

    BLUE_GREEN: Final = "blue_green"
    """A second environment, then one switch."""

    ROLLING: Final = "rolling"
    """Replica after replica."""

    A_B: Final = "a_b"
    """Both versions, compared."""

    DIRECT: Final = "direct"
    """All at once."""


class FeedbackSource:
    """Values of `crucible.feedback.source`.

    Who gave the feedback.
    """

    HUMAN: Final = "human"
    """A person."""

    AUTOMATIC: Final = "automatic"
    """A program, such as a judge model or a test."""


class HistorySource:
    """Values of `crucible.history.source`.

    What a run was imported from after it had ended.
    """

    ROWS: Final = "rows"
    """Rows that the program holds."""

    CSV: Final = "csv"
    """A CSV file."""

    KERAS: Final = "keras"
    """The history of a Keras fit."""

    TRANSFORMERS: Final = "transformers"
    """The log history of a transformers trainer."""


class HistoryTimes:
    """Values of `crucible.history.times`.

    Whether the times inside an imported run are true.
    """

    RECORDED: Final = "recorded"
    """Each row has its own time."""

    PARTIAL: Final = "partial"
    """A row without a time has that of the row before it."""

    NONE: Final = "none"
    """No row had a time: all have the start of the run, or the time of the import."""


class LinkType:
    """Values of `crucible.link.type`.

    How the span that holds the link stands to the span it points at.
    """

    PARENT: Final = "parent"
    """The span was thought of under the linked one, on another branch."""

    DEPENDS_ON: Final = "depends_on"
    """The span needs what the linked one established."""

    CONTRADICTS: Final = "contradicts"
    """The span speaks against the linked one."""

    REFINES: Final = "refines"
    """The span makes the linked one more precise."""

    SUPPORTS: Final = "supports"
    """The span is evidence for the linked one."""

    OVERTURNS: Final = "overturns"
    """The span replaces the linked one, which no longer stands."""

    RESUMED_FROM: Final = "resumed_from"
    """The attempt goes on from the linked attempt or checkpoint."""

    RETRIED_FROM: Final = "retried_from"
    """The attempt tries the linked one again."""

    CONTINUES: Final = "continues"
    """The part goes on where the linked part's trace was full."""

    INDEXES: Final = "indexes"
    """The linked part belongs to the run that the index names the parts of."""

    PRODUCED_BY: Final = "produced_by"
    """The thing was made by the linked operation."""

    CONSUMES: Final = "consumes"
    """The operation uses what the linked one made."""

    SERVES: Final = "serves"
    """The deployment serves the model that the linked operation saved."""

    EVALUATED_BY: Final = "evaluated_by"
    """The model or operation was judged by the linked validation."""

    DEPLOYED_FROM: Final = "deployed_from"
    """The deployment comes from the linked run or pipeline."""

    REPLACES: Final = "replaces"
    """The deployment takes over from the linked one."""

    ROLLED_BACK_TO: Final = "rolled_back_to"
    """The deployment went back to the linked one."""

    CAUSED_BY: Final = "caused_by"
    """The span happened because of the linked one."""

    REWARDED_BY: Final = "rewarded_by"
    """The action was rewarded by the linked span."""

    SAMPLED_FROM: Final = "sampled_from"
    """The experience was drawn from the linked span."""

    FEEDBACK_ON: Final = "feedback_on"
    """The feedback is about the linked span."""

    BEST_TRIAL: Final = "best_trial"
    """The linked trial is the study's best."""

    RANK_OF: Final = "rank_of"
    """The worker is a rank of the linked run."""

    THOUGHT_IN: Final = "thought_in"
    """The decision was taken in the linked call of a language model."""


class RecorderState:
    """Values of `crucible.recorder.state`.

    What became of a record.
    """

    RECORDED: Final = "recorded"
    """It was handed to the recorder."""

    STORED: Final = "stored"
    """It is in the journal."""

    SENT: Final = "sent"
    """A collector acknowledged it."""

    HELD: Final = "held"
    """It waits to be sent."""

    REFUSED: Final = "refused"
    """A collector turned it down for good."""

    LOST: Final = "lost"
    """It could not be kept."""


class RepairReason:
    """Values of `crucible.repaired.reasons`.

    What was changed about each value, parallel to `crucible.repaired.keys`.
    """

    INTEGER: Final = "integer"
    """An integer does not fit 64 bits and became text."""

    SURROGATE: Final = "surrogate"
    """Text held a lone surrogate, which UTF-8 cannot carry."""

    CYCLE: Final = "cycle"
    """A container held itself."""

    DEPTH: Final = "depth"
    """A container was nested too deeply."""

    UNPRINTABLE: Final = "unprintable"
    """Turning the value into text raised an exception."""

    SUMMARISED: Final = "summarised"
    """A large array or table became a summary of itself."""

    ON_DEVICE: Final = "on_device"
    """The value lives on an accelerator and was not fetched."""

    BYTES: Final = "bytes"
    """Bytes became text."""

    TYPE: Final = "type"
    """A name or key was no text and became text, or a number was none."""

    UNEXPECTED: Final = "unexpected"
    """The value is none that the key is for, such as a share above 1. It stands as it was given, or is left out where
    it has another type.
    """

    TIME: Final = "time"
    """A time was missing, out of range or no count of nanoseconds, or an end lay before its start."""

    DIGEST: Final = "digest"
    """A SHA-256 was not 64 hexadecimal digits."""

    IDENTIFIER: Final = "identifier"
    """A trace or span id was zero, too wide or no number."""

    MEASUREMENT: Final = "measurement"
    """A count, duration or amount was negative, not finite or no number, and was left out."""

    CONTRADICTION: Final = "contradiction"
    """Two sources said different things: that of the first is recorded."""


class Result:
    """Values of `crucible.operation.result`.

    How an operation ended.
    """

    SUCCESS: Final = "success"
    """It did what it was for."""

    FAILURE: Final = "failure"
    """It ran to its end and the outcome is negative, such as a constraint that does not hold."""

    ERROR: Final = "error"
    """An exception ended it."""

    TIMEOUT: Final = "timeout"
    """A limit of time ended it."""

    CANCELLATION: Final = "cancellation"
    """Somebody stopped it."""

    SKIP: Final = "skip"
    """It was not run, on purpose."""


class RunState:
    """Values of `crucible.run.state`.

    Where an attempt of a run is in its life.
    """

    RUNNING: Final = "running"
    """It has started and not ended."""

    COMPLETED: Final = "completed"
    """It ended by itself without an error."""

    FAILED: Final = "failed"
    """An error ended it."""

    INTERRUPTED: Final = "interrupted"
    """Its process ended before it could say so; somebody else closed it."""

    CANCELLED: Final = "cancelled"
    """Somebody stopped it."""


class SeriesFormat:
    """Values of `crucible.window.series.formats`.

    How each column is packed, parallel to `crucible.window.series.columns`.
    """

    I8: Final = "i8"
    """Signed integers of 8 bytes, little-endian."""

    F8: Final = "f8"
    """Doubles of 8 bytes, little-endian."""

    JSON: Final = "json"
    """A length in 4 bytes, little-endian, and a JSON array in UTF-8."""

    I8Z: Final = "i8z"
    """A length in 4 bytes, little-endian, and the differences of `i8` from one to the next, by zlib."""

    F8Z: Final = "f8z"
    """A length in 4 bytes, little-endian, and `f8` by zlib."""


class TrialState:
    """Values of `crucible.tuning.trial.state`.

    How a trial ended.
    """

    COMPLETED: Final = "completed"
    """It ran to its end."""

    PRUNED: Final = "pruned"
    """It was stopped because it did not look promising."""

    FAILED: Final = "failed"
    """An error ended it."""


class TuningDirection:
    """Values of `crucible.tuning.direction`.

    Whether the objective is to be small or large.
    """

    MINIMIZE: Final = "minimize"
    """The smaller the better."""

    MAXIMIZE: Final = "maximize"
    """The larger the better."""


class UnlinkedReason:
    """Values of `crucible.feedback.unlinked`.

    Why the feedback is linked to nothing.
    """

    FORM: Final = "form"
    """What was given is no token."""

    CHANGED: Final = "changed"
    """The token was changed, or signed with another key."""

    VERSION: Final = "version"
    """A later version of this package made the token."""

    UNSIGNED: Final = "unsigned"
    """The token is not signed, and a key is set here."""

    KEYLESS: Final = "keyless"
    """The token is signed, and no key is set here."""

    NOT_RECORDED: Final = "not_recorded"
    """What it is about was not recorded."""


class WindowReason:
    """Values of `crucible.window.reason`.

    Why the window was closed.
    """

    COUNT: Final = "count"
    """It was full."""

    TIME: Final = "time"
    """It was open long enough."""

    ABNORMAL: Final = "abnormal"
    """A step was abnormal and is shown at once."""

    LAYOUT: Final = "layout"
    """The recorded columns changed."""

    END: Final = "end"
    """The operation ended."""
