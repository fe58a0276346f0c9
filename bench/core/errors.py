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


class OutboxError(ReparamBenchError):
    """What a run logs cannot be kept on disk until the tracking store has it."""


class CheckpointError(ReparamBenchError):
    """The state of a training cannot be kept: the disk is full, or the folder may not be written to."""


class RestartRequiredError(ReparamBenchError):
    """This process has grown too large to go on; a fresh one can, for all that is done is kept."""


class UnexpectedError(ReparamBenchError):
    """What nobody foresaw; the message says where its traceback is."""


class TrialError(ReparamBenchError):
    """A trial ended early for a reason that is counted in the report and does not stop the study."""

    state = "failed"


class DivergedError(TrialError):
    """The loss became NaN or infinite."""

    state = "diverged"


class OutOfMemoryError(TrialError):
    """The host or the device ran out of memory.

    An evaluation that does is repeated in smaller batches, for its noise belongs to the image. Training that does ends
    so: in smaller batches it would draw other noise, and be another run than its configuration says.
    """

    state = "out_of_memory"


class LostTrialError(ReparamBenchError):
    """The trial was taken away from this process, which others took for dead: another one does it now, or did."""


class PrunedError(TrialError):
    """The pruner stopped the trial: its learning curve lies behind those of earlier trials."""

    state = "pruned"


OUT_OF_MEMORY = ("resource_exhausted", "out of memory", "out_of_memory", "_alloc_failed", "bad_alloc")
"""What the message of an error says, in whatever case, where memory ran out: XLA's, CUDA's, those of its libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the host or the device ran out of memory, in whosever words."""
    return (
        isinstance(error, MemoryError | OutOfMemoryError)
        # TensorFlow's own; imported, it would bring TensorFlow along.
        or "ResourceExhausted" in type(error).__name__
        or any(words in str(error).lower() for words in OUT_OF_MEMORY)
    )
