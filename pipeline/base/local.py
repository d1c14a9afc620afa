"""The address of servers that only this machine can reach."""

HOST = "127.0.0.1"


def names_this_machine(host: str) -> bool:
    """Return whether the Host header of a request names this machine, with or without a port.

    A page from elsewhere can reach a local server under a name of its own (DNS rebinding). Its
    requests then carry that name.
    """
    return host.partition(":")[0] in (HOST, "localhost")
