"""Every error this package raises on purpose.

Their messages are one line: what was expected, what was found, where, and what to do next. The command line
prints that line and exits with status 2.

::

    DeepSpeech2Error
    ├── InputError (also a ValueError): something the caller gave is wrong
    │   ├── OptionError             an option, preset or argument
    │   ├── AudioError              audio that cannot be read or used
    │   │   └── SilentAudioError    audio whose samples are all zero
    │   ├── CheckpointError         a file of weights that cannot be read or is not what it says
    │   ├── ManifestError           a list of utterances
    │   ├── VocabularyError         labels of a model
    │   ├── PosteriorsError         an array given to a CTC decoder
    │   └── LanguageModelError      a language model file
    └── CountingError: a program whose operations cannot be counted
        ├── UncountedOperatorError  `strict` was asked for and an operator has no formula
        ├── DataDependentError      the program needs a value that shapes alone do not give
        └── ClosedFormError         the count is not a quasi-polynomial in the requested dimensions
"""


class DeepSpeech2Error(Exception):
    """Base of every error this package raises on purpose."""


class InputError(DeepSpeech2Error, ValueError):
    """Something the caller gave is wrong; the message says what, where, and what to do."""


class OptionError(InputError):
    """An option, a preset name or an argument is not usable."""


class AudioError(InputError):
    """Audio that cannot be read, or that is empty, silent or too short."""


class SilentAudioError(AudioError):
    """Audio that can be read, and whose samples are all zero."""


class CheckpointError(InputError):
    """A file of weights that cannot be read or does not hold what it announces."""


class ManifestError(InputError):
    """A manifest that cannot be read, or a line of it that cannot be used."""


class VocabularyError(InputError):
    """Labels that are empty, repeated or do not fit the model."""


class PosteriorsError(InputError):
    """An array that is not a matrix of CTC log-probabilities."""


class LanguageModelError(InputError):
    """A language model that is missing, corrupt or of the wrong kind."""


class CountingError(DeepSpeech2Error):
    """A program whose operations cannot be counted."""


class UncountedOperatorError(CountingError):
    """`strict` counting met an operator without a formula."""


class DataDependentError(CountingError):
    """The program asked for the value of a tensor, and counting knows shapes only."""


class ClosedFormError(CountingError):
    """No closed formula exists in the requested dimensions."""
