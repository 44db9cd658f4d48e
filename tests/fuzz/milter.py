"""The milter codec as a function of octets: any stream of packets, and any text that is to be written to an MTA.

What it is: ``session``, and ``spoken``, which takes what the MTA said out of a conversation.
Who calls it: the table of targets.
Must never: hide an error that the codec may not raise.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.reply import Reply
from gateway.wire import milter_codec, smtp_data
from gateway.wire import milter_events as say
from gateway.wire.milter import Milter
from tests.milter_lines import packet, packets, read

_SIZE = 2000
_AGREED = say.Negotiated(6, 0x13D, 0x1F3180, quarantine=True, leading_space=True)
WORDS = (
    packet(b"O", b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff"), packet(b"O", b"\0\0\0\x02\0\0\0\x3f\0\0\0\x7f"),
    packet(b"C", b"client.example\0004\0\x19192.0.2.1\0"), packet(b"C", b"x\0006\0\0IPv6:2001:db8::1\0"), packet(b"H", b"x\0"),
    packet(b"D", b"Mi\x001\0{auth_authen}\0officer\0"), packet(b"M", b"<a@b.in>\0SIZE=7\0"), packet(b"R", b"<c@d.in>\0"), packet(b"T"),
    packet(b"L", b"Subject\0 x\n\ty\0"), packet(b"N"), packet(b"B", b"text\r\n"), packet(b"E"), packet(b"A"), packet(b"K"), packet(b"Q"),
    packet(b"U", b"FOO\0"), b"\0\0\0\1", b"\0\0\0", b"\xff\xff\xff\xff", b"\0", b"\n", b"\r",
)  # fmt: skip


def spoken(data: bytes) -> Iterator[bytes]:
    """The octets of the MTA in the conversation *data*, each connection for itself."""
    for part in data.decode("ascii").split("# --- another connection\n"):
        said = [read(line[3:]) for line in part.splitlines() if line.startswith("C: ")]
        yield b"".join(packet(item[:1], item[1:]) for item in said)


def session(data: bytes) -> None:
    """A connection, its octets all at once and in small pieces; then *data* as the text of what we say."""
    seen = [_events(data, size) for size in (len(data) or 1, 7)]
    if seen[0] != seen[1]:
        raise AssertionError("pieces that change what is understood")
    _text(data)


def _events(data: bytes, size: int) -> list[say.Event | str]:
    codec = Milter(_SIZE)
    found: list[say.Event | str] = []
    try:
        for at in range(0, len(data), size):
            codec.feed(data[at : at + size])
            while (event := codec.next_event()) is not None:
                found.append(event)
                _answer(codec, event)
                if codec.memory > _SIZE * 200:
                    raise AssertionError("more memory than a message may take")
    except say.MilterError as error:
        found.append(str(error))
        if codec.next_event() is not None or codec.pending:
            raise AssertionError("life after the error") from None
    if any(value != value.strip("\0\r\n") for value in codec.macros.values()):
        raise AssertionError("a macro with a control character")
    for one in packets(codec.output()):
        if not one or one[:1] not in b"Ocaydshm-pq":
            raise AssertionError("a packet that is none of ours")
    return found


def _answer(codec: Milter, event: say.Event) -> None:
    match event:
        case say.Mail() if event.args[0] == b"<>":
            codec.refuse(Reply(550, "5.7.1", "No"))
        case say.Mail() | say.Rcpt():
            codec.proceed()
        case say.Message():
            content = event.content()
            smtp_data.fault(content, 1000)
            codec.progress()
            codec.end_message(say.Final.CONTINUE, [say.AddHeader("X-A", "b"), say.DeleteRecipient(b"<c@d.in>")])


def _text(data: bytes) -> None:
    text = data.decode("latin-1")
    wanted: tuple[say.Change, ...] = (
        say.AddHeader("X-A", text), say.InsertHeader(0, text, "b"), say.ChangeHeader(1, "X-A", text), say.DeleteRecipient(data),
        say.Quarantine(text),
    )  # fmt: skip
    for change in wanted:
        try:
            (one,) = packets(milter_codec.change(change, _AGREED))
        except say.MilterError:
            continue
        if b"\r" in one or b"\n" in one.replace(b"\n ", b"").replace(b"\n\t", b"") or one[5:].count(b"\0") > 2:
            raise AssertionError("a value that became more than a value")
    try:
        (one,) = packets(milter_codec.reply_code(Reply(550, "5.7.1", text)))
    except say.MilterError:
        return
    if any(line[:4] not in (b"550-", b"550 ") for line in one[1:].split(b"\r\n")) or b"\n" in one.replace(b"\r\n", b""):
        raise AssertionError("a reply with a line that is none")
