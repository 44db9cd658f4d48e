"""Figures of what stands around the keeper: its next hops and its certificates.

What it is: ``next_hops`` reads the relay's lanes, ``Certificates`` the files that the config names.
Who calls it: ``metrics``, at each exposition.
Must never: open a connection; fail because a file cannot be read (its figure is absent then, and ``gateway check`` says why).
Source: RFC 5280 section 4.1.2.5 (not-after).
"""

from __future__ import annotations

import time
from pathlib import Path as FilePath

from cryptography import x509

from gateway.config import Config
from gateway.relay.relay import Relay

_AGAIN = 300.0  # seconds between two readings of the certificates


def next_hops(relay: Relay) -> dict[tuple[str, ...], float]:
    """The state of each next hop of the routes that has been used."""
    samples: dict[tuple[str, ...], float] = {}
    wanted = set(relay.routes.hops)
    for hop, lane in relay.lanes.items():
        if hop not in wanted:
            continue
        well = 1.0 if all(breaker.error is None for breaker in lane.breakers.values()) else 0.0
        up, waiting = ("gateway_next_hop_up", hop.name), ("gateway_next_hop_waiting", hop.name)
        samples[up] = min(well, samples.get(up, 1.0))
        samples[waiting] = samples.get(waiting, 0.0) + sum(len(job.rows) for job in lane.jobs)
        if lane.served:
            samples["gateway_next_hop_last_success_timestamp_seconds", hop.name] = lane.served
            samples["gateway_next_hop_tls_strength", hop.name] = bits_of(lane.way)
    return samples


def bits_of(way: str) -> float:
    """The key bits in what ``hop_open`` says of a connection (``TLSv1.3 TLS_AES_256_GCM_SHA384 256 verified``); 0 without TLS."""
    words = way.split()
    return float(words[2]) if len(words) > 2 and words[0].startswith("TLS") and words[2].isdecimal() else 0.0


class Certificates:
    """Not-after times of the certificates that the keeper uses; the doors report their own."""

    def __init__(self, config: Config) -> None:
        self._files: dict[str, FilePath | None] = {"sealed": config.sealed.certificate, "backup": config.backup.certificate}
        self._read = float("-inf")
        self._samples: dict[tuple[str, ...], float] = {}

    def samples(self) -> dict[tuple[str, ...], float]:
        """One sample a certificate that can be read."""
        if time.monotonic() - self._read >= _AGAIN:
            self._read = time.monotonic()
            self._samples = {}
            for name, path in self._files.items():
                ends = _not_after(path) if path is not None else 0.0
                if ends:
                    self._samples["gateway_certificate_expiry_timestamp_seconds", name] = ends
        return self._samples


def _not_after(path: FilePath) -> float:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (OSError, ValueError):
        return 0.0
