"""Errors that are the user's to mend: printed as two sentences, never as a traceback."""

BAD_INPUT = 2
"""Exit status for input that cannot be worked with."""


class UserError(Exception):
    """What was wrong and what to do next.

    Args:
        problem: what was wrong, one or more sentences.
        remedy: what to do next.
        exit_status: status that the command line ends with (2: bad input).
    """

    def __init__(self, problem: str, remedy: str = "", exit_status: int = BAD_INPUT) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy
        self.exit_status = exit_status
