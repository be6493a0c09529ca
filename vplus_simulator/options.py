"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .faults import Fault, FaultPlan
from .seed.plan import SeedPlan
from .settings import Settings
from .tls import CertificateKind


@dataclass(kw_only=True)
class ServerOptions:
    """Start values; the switches in `settings` can change while the server runs, the rest cannot."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port."""
    tls_dir: Path | None = None
    """Where ca.pem and server.pem are, or are made; None: a directory that goes with the server."""
    tls_names: tuple[str, ...] = ()
    """Names of the certificate beside localhost and 127.0.0.1."""
    username: str = "portal"
    password: str = "portal"  # noqa: S105 - the simulator guards nothing; a real one comes from --password-file
    seed: SeedPlan = field(default_factory=lambda: SeedPlan(name="small"))
    random_seed: int = 1
    settings: Settings = field(default_factory=Settings)
    state_file: Path | None = None
    save_seconds: float = 3.0
    """How often (wall clock) a changed world is written to the state file."""
    stepped: bool = False
    """Time stands still until the control API steps it."""
    start_at: int | None = None
    """Where stepped time begins, ms; None: `clock.START_OF_STEPPED_TIME`."""
    speed: float = 1.0
    clock_offset_seconds: float = 0.0
    """A server whose clock is wrong by this much."""
    latency_seconds: float = 0.0
    """Added to every call, wall clock."""
    certificate: CertificateKind = "ca"
    """vplus: self-signed, for the common name localhost.localdomain only, as vPlus makes its own."""
    faults: tuple[Fault, ...] = ()
    """Armed from the start, and again after a reset."""
    fault_plan: FaultPlan | None = None
