"""The one exception that means "your input is wrong": the command line prints it as one line and exits with 2."""


class InputError(ValueError):
    """A file, field or value given by the user is wrong; the message names it and what would be right."""
