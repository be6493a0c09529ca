"""What stops the local stack, as one sentence for the person at the terminal."""


class StackProblem(Exception):
    """One sentence that says what is wrong and, where it is known, what to do about it."""
