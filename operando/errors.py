"""Every exception operando raises on purpose.

OperandoError
├── RequestError            the call, the recipe or the command line asks for something impossible
│   └── RecipeError         a recipe that cannot be carried out: names the file and the key
├── ReadError               a file cannot be read: names the path, the reader and the place
│   └── UnknownFormatError  no reader claims the file, several do, or the named one does not exist
├── ContractError           a dataset breaks the data contract of `operando.model`
├── ClockError              a time stamp cannot be placed on UTC without guessing
└── AlignmentError          frames and electrochemistry share no time, or runs of one cell overlap

A bad *measurement* never raises: it becomes NaN with a flag and a reason, and is counted.
"""


class OperandoError(Exception):
    """Base class: catch this to catch everything operando raises on purpose."""


class RequestError(OperandoError, ValueError):
    """The call, the recipe or the command line asks for something impossible."""


class RecipeError(RequestError):
    """A recipe that cannot be carried out: names the file and the key."""


class ReadError(OperandoError, OSError):
    """A file cannot be read: names the path, the reader and the place."""


class UnknownFormatError(ReadError):
    """No reader claims the file, several do, or the named one does not exist."""


class ContractError(OperandoError, ValueError):
    """A dataset breaks the data contract of `operando.model`."""


class ClockError(OperandoError, ValueError):
    """A time stamp cannot be placed on UTC without guessing."""


class AlignmentError(OperandoError, ValueError):
    """Frames and electrochemistry share no time, or runs of one cell overlap."""
