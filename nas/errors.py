"""Errors that are the user's to mend: printed as two sentences, never as a traceback."""


class UserError(Exception):
    """What was wrong and what to do next.

    Args:
        problem: what was wrong, one or more sentences.
        remedy: what to do next.
        exit_status: status that the command line ends with (2: bad input).
    """

    def __init__(self, problem: str, remedy: str = "", exit_status: int = 2) -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy
        self.exit_status = exit_status
