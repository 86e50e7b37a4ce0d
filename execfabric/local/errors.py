"""What can keep an installation from starting; each prints as one plain sentence."""


class StartFailed(Exception):
    """The installation cannot start; the message names what is missing or wrong."""


class PortTaken(StartFailed):
    """Somebody else listens on the port."""


class PartFailed(StartFailed):
    """A part or a command ended too early; only the log says why."""


class AlreadyUp(Exception):
    """Another supervisor holds this data directory."""


class Stopped(Exception):
    """A stop was asked for while the start was still under way."""
