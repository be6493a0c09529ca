"""Whose a virtual machine and its history are, and what each tenant may use: ours to decide, never vPlus's."""
