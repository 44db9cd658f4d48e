"""The table ``[limits]`` of the config: every limit and timer by name, with the sentence that explains it.

What it is: ``Limits``.
Who calls it: ``config``, through which all others get it.
Must never: have a limit without a default; be read by what cannot be refused for crossing it.
Sources: docs/design.md section 10; hostile-inputs catalogue 4.4.
"""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from gateway import cores
from gateway.option_values import Seconds, Section, Size


class Limits(Section):
    """Every limit and timer. Sizes in octets, times in seconds."""

    recipients: int = Field(100, ge=1, description="Recipients of one transaction; the next get 452.")
    command_line: Size = Field(512, description="Octets of a command line, with CRLF; extensions add their own.")
    text_line: Size = Field(1000, description="Octets of a line of text, with CRLF.")
    header_bytes: Size = Field(100_000, description="Octets of the header section.")
    header_lines: int = Field(1000, description="Lines of the header section.")
    received: int = Field(50, description="Received fields; more is a loop (554 5.4.6).")
    mime_depth: int = Field(20, description="Depth of nested parts.")
    mime_parts: int = Field(1000, description="Parts of a message.")
    mime_params: int = Field(50, description="Parameters of one header field.")
    boundary: int = Field(70, description="Octets of a boundary.")
    archive_depth: int = Field(6, description="Depth of nested archives.")
    archive_entries: int = Field(5000, description="Entries of an archive.")
    archive_bytes: Size = Field(200_000_000, description="Octets unpacked from one message.")
    archive_ratio: int = Field(100, description="Expansion of an entry, once past archive_ratio_from.")
    archive_ratio_from: Size = Field(1_000_000, description="Unpacked octets from which the ratio counts.")
    inspect_cpu: Seconds = Field(10.0, description="CPU time of one inspection.")
    inspect_memory: Size = Field(512_000_000, description="Memory of one inspection worker above its start.")
    inspectors: int = Field(
        "auto",
        ge=1, validate_default=True,
        description="Inspection workers, and programs beside them (recognition of words, RAR) at one time; auto: one a core, from 2 to 16, "
        "as many as have inspect_memory in half of the memory.",
    )  # fmt: skip
    worker_memory: Size = Field(
        1_000_000_000,
        description="Memory of a door process at which a fresh one takes its place, and it ends with its last session; 0: never.",
    )
    ocr_seconds: Seconds = Field(8.0, description="Time for the words in all pictures of a message; 0: pictures are not read.")
    ocr_languages: tuple[str, ...] = Field(
        ("eng", "hin"),
        description="Languages of words in pictures, by the names of tesseract's packs; those that are missing are left out.",
    )
    ocr_memory: Size = Field(512_000_000, description="Memory of a program beside the inspection workers.")
    pipeline: Seconds = Field(60.0, description="Time from the end of DATA to the decision; later is 451.")
    max_inflight: Size = Field(256_000_000, description="Octets of message bodies in memory in one door process; more waits, then 452.")
    connections: int = Field(500, description="Sessions of one door process.")
    connections_per_ip: int = Field(20, description="Sessions of one stranger's address.")
    connections_per_minute: int = Field(30, description="New sessions a minute of one stranger's address.")
    connections_listed: int = Field(500, description="Sessions of one address in a listed network.")
    greet_delay: Seconds = Field(1.0, description="Silence before the greeting, for strangers.")
    command_deadline: Seconds = Field(60.0, description="From the first to the last octet of a command.")
    idle: Seconds = Field(300.0, description="Between two commands.")
    idle_stressed: Seconds = Field(10.0, description="The same when nine tenths of the sessions are taken.")
    session: Seconds = Field(1800.0, description="A whole session.")
    data_idle: Seconds = Field(60.0, description="Without any octet of the message.")
    data_min_rate: int = Field(500, description="Octets a second of message text, on average.")
    tls_handshake: Seconds = Field(30.0, description="A TLS handshake.")
    errors_soft: int = Field(10, description="Errors of a session before its answers slow down.")
    errors_hard: int = Field(20, description="Errors of a session before 421.")
    junk_commands: int = Field(100, description="NOOP, RSET, VRFY … of a session before they count as errors.")
    auth_failures: int = Field(3, description="Failed logins of a session before 421.")
    auth_failures_per_login: int = Field(10, description="Wrong passwords of one login from one address an hour; then 454 unasked.")
    auth_failures_per_ip: int = Field(30, description="Different wrong logins of one address an hour before new ones get 454.")
    auth_asked_per_login: int = Field(3, description="Wrong passwords of one login in 15 minutes that next_hop gets to see.")
    proxy_header: Seconds = Field(5.0, description="A PROXY protocol header.")
    relay_connect: Seconds = Field(30.0, description="Connecting to the next hop.")
    relay_command: Seconds = Field(300.0, description="HELO, MAIL, RCPT at the next hop.")
    relay_data_init: Seconds = Field(120.0, description="DATA at the next hop.")
    relay_data_block: Seconds = Field(180.0, description="Sending a block to the next hop.")
    relay_data_end: Seconds = Field(600.0, description="The reply after the final dot.")
    relay_quit: Seconds = Field(10.0, description="QUIT at the next hop.")
    retry_first: Seconds = Field(300.0, description="First retry of a deferred delivery.")
    retry_max: Seconds = Field(4000.0, description="Longest wait between retries.")
    delay_warning: Seconds = Field(4 * 3600.0, description="Age at which the originator is told of a delay.")
    lifetime: Seconds = Field(5 * 86400.0, description="Age at which a delivery is given up.")
    unprotected_warning: Seconds = Field(3600.0, description="Age at which mail that waits for an AES-256 hop is announced.")
    unprotected_lifetime: Seconds = Field(86400.0, description="Age at which it is given up.")
    queue_messages: int = Field(100_000, description="Undelivered deliveries at which new mail gets 452.")
    free_disk: Size = Field(1_000_000_000, description="Octets that stay free on the disk, besides three messages of the largest size.")
    bounce_body: Size = Field(50_000, description="Octets of original headers in a report.")
    milter_progress: Seconds = Field(10.0, description="How often an MTA is told that its message is still being looked at.")
    imap_line: Size = Field(65_536, description="Octets of an IMAP command, literals aside; more is BAD and the end of the session.")
    imap_literal: Size = Field(1_000_000, description="Octets of a literal of an IMAP command that is no APPEND.")
    imap_commands: int = Field(1000, description="IMAP commands of a session that wait for the server's answer; more wait unread.")
    imap_login: Seconds = Field(60.0, description="Time to sign in to IMAP.")
    imap_idle: Seconds = Field(1800.0, description="IMAP session without any octet; RFC 9051 asks for 30 minutes at least.")
    drain: Seconds = Field(30.0, description="Time that sessions get to end at a stop.")

    @field_validator("inspectors", mode="before")
    @classmethod
    def _by_cores(cls, value: object, info: ValidationInfo) -> object:
        return cores.inspectors(info.data.get("inspect_memory", 512_000_000)) if value == "auto" else value
