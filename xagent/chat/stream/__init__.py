"""Reading replies while they are being written."""

from __future__ import annotations

from xagent.chat.protocol import Protocol
from xagent.chat.protocol.function_call import FunctionCallProtocol
from xagent.chat.protocol.hermes import HermesProtocol
from xagent.chat.protocol.internlm2 import InternLM2Protocol
from xagent.chat.protocol.llama3_json import Llama3JsonProtocol
from xagent.chat.protocol.react import ReactProtocol
from xagent.chat.stream.events import Arguments, CallBegins, Event, ToldCall, Words
from xagent.chat.stream.fields import FunctionCallReader, ReactReader
from xagent.chat.stream.objects import HermesReader, InternLM2Reader, Llama3JsonReader
from xagent.chat.stream.plain import PlainReader
from xagent.chat.stream.reader import ReplyReader

READERS: dict[type[Protocol], type[ReplyReader]] = {
    ReactProtocol: ReactReader,
    HermesProtocol: HermesReader,
    Llama3JsonProtocol: Llama3JsonReader,
    InternLM2Protocol: InternLM2Reader,
    FunctionCallProtocol: FunctionCallReader,
}

__all__ = ["READERS", "Arguments", "CallBegins", "Event", "PlainReader", "ReplyReader", "ToldCall", "Words", "reply_reader"]


def reply_reader(protocol: Protocol, max_calls: int | None = None) -> ReplyReader:
    """Give the reader of a protocol's replies; one that knows no better holds everything back to the end.

    Args:
        protocol: what the reply is in.
        max_calls: read only so many calls.
    """
    chosen = next((READERS[kind] for kind in type(protocol).__mro__ if kind in READERS), ReplyReader)
    return chosen(protocol, max_calls)
