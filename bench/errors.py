"""The errors that a user can cause or must know about, each with a message that says the way out."""


class ReparamBenchError(Exception):
    """Base of every error that the command line shows as one readable line."""


class DataError(ReparamBenchError):
    """A data set is missing, unreadable, or not of the form that the harness takes."""


class SettingsError(ReparamBenchError):
    """A setting is out of range, or does not fit the data or the other settings."""


class TrackingError(ReparamBenchError):
    """The tracking server or the study's storage cannot be reached, or does not hold what is asked for."""


class StudyStoppedError(ReparamBenchError):
    """The study cannot go on; what it finished is kept."""
class SpoolError(ReparamBenchError):
    """What a run logs cannot be kept on disk until the tracking store has it."""


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


class LostTrialError(ReparamBenchError):
    """The trial was taken away from this process, which others took for dead: another one does it now, or did."""


class PrunedError(TrialError):
    """The pruner stopped the trial: its learning curve lies behind those of earlier trials."""

    state = "pruned"
