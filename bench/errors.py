"""The errors that a user can cause or must know about, each with a message that says the way out."""


class ReparamBenchError(Exception):
    """Base of every error that the command line shows as one readable line."""


class DataError(ReparamBenchError):
    """A data set is missing, unreadable, or not of the form that the harness takes."""


class SettingsError(ReparamBenchError):
    """A setting is out of range, or does not fit the data or the other settings."""


class TrackingError(ReparamBenchError):
    """The tracking server or the study's storage cannot be reached, or does not hold what is asked for."""


class CheckpointError(ReparamBenchError):
    """The state of a training cannot be kept: the disk is full, or the folder may not be written to."""


class UnexpectedError(ReparamBenchError):
    """What nobody foresaw; the message says where its traceback is."""


class TrialError(ReparamBenchError):
    """A trial ended early for a reason that is counted in the report and does not stop the study."""

    state = "failed"


class DivergedError(TrialError):
    """The loss became NaN or infinite."""

    state = "diverged"


class OutOfMemoryError(TrialError):
    """The host or the device ran out of memory."""

    state = "out_of_memory"


class PrunedError(TrialError):
    """The pruner stopped the trial: its learning curve lies behind those of earlier trials."""

    state = "pruned"
