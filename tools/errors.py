"""How a sub-command ends early: one line for the user and an exit status."""

USAGE = 2
HOLSTEIN_FAILED = 125  # the guest's kernel, QEMU, the build, or something that is not installed


class CommandError(Exception):
    def __init__(self, message: str, status: int = HOLSTEIN_FAILED) -> None:
        super().__init__(message)
        self.status = status
