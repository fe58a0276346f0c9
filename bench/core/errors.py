"""The errors that a user can cause or must know about; each message says how to fix it."""


class ReparamBenchError(Exception):
    """Base of every error that the command line shows as one readable line."""


class DataError(ReparamBenchError):
    """A data set is missing, unreadable, or in a form that the harness does not accept."""


class AlteredDataError(DataError):
    """What a run is computed from was altered while a process used it: the run does not count."""


class SettingsError(ReparamBenchError):
    """A setting is out of range, or does not fit the data or the other settings."""


class TrackingError(ReparamBenchError):
    """The tracking server or the study's storage cannot be reached, or does not hold the study or run."""


class DisagreementError(TrackingError):
    """The tracking store and the study's storage disagree about a study, as somebody changed one of them by hand."""


class StudyStoppedError(ReparamBenchError):
    """The study cannot continue; its finished runs are kept."""


class OutboxError(ReparamBenchError):
    """The outbox on disk, which holds what a run logs until it is uploaded, cannot be written."""


class CheckpointError(ReparamBenchError):
    """A checkpoint cannot be written: the disk is full, or the folder is read-only."""


class RestartRequiredError(ReparamBenchError):
    """This process has grown too large; a fresh one continues, as all finished runs are kept."""


class UnexpectedError(ReparamBenchError):
    """An unexpected error; the message says where its traceback is."""


class TrialError(ReparamBenchError):
    """A trial ended early; the report counts the reason, and the study continues."""

    state = "failed"


class DivergedError(TrialError):
    """The loss became NaN or infinite."""

    state = "diverged"


class OutOfMemoryError(TrialError):
    """The host or the device ran out of memory.

    An evaluation is then repeated in smaller batches: its noise depends on the image, not on the batch. Training fails
    instead: smaller batches would draw other noise, and the run would no longer be what its configuration says.
    """

    state = "out_of_memory"


class LostTrialError(ReparamBenchError):
    """The trial was reassigned, as this process missed its heartbeats: another process runs it now, or did."""


class PrunedError(TrialError):
    """The pruner stopped the trial: its learning curve is worse than those of earlier trials."""

    state = "pruned"


class StoppedAtRungError(PrunedError):
    """The trial was trained as far as was asked; its checkpoint is kept, and another attempt may continue it."""


OUT_OF_MEMORY = ("resource_exhausted", "out of memory", "out_of_memory", "_alloc_failed", "bad_alloc")
"""Parts of the messages of XLA, CUDA and its libraries where memory ran out, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library says that the host or the device ran out of memory."""
    return (
        isinstance(error, MemoryError | OutOfMemoryError)
        # TensorFlow's class, by its name: importing it would import TensorFlow.
        or "ResourceExhausted" in type(error).__name__
        or any(words in str(error).lower() for words in OUT_OF_MEMORY)
    )
