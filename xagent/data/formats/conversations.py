"""The known layouts of records that hold a list of turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xagent.chat.message import Conversation
from xagent.data.formats.chat import ChatLayout, read_chat

OPENAI = ChatLayout("openai", ("messages",), tools=("tools", "functions"))
ANTHROPIC = ChatLayout("anthropic", ("messages",))
AGENT_FLAN = ChatLayout("agent_flan", ("messages", "conversation"))
SHAREGPT = ChatLayout("sharegpt", ("conversations",), "from", "value")
MS_AGENT = ChatLayout("ms_agent", ("conversations",), "from", "value")


def openai_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read ``{"messages": [{role, content, tool_calls?, tool_call_id?, name?, loss?, weight?}], "tools"?: [...]}``.

    ``content`` is text or a list of parts (text, reasoning, calls, results). ``arguments`` may be JSON text or an object,
    ``tools`` a list or its JSON text; a missing or null ``loss`` means "not said". The legacy ``function_call`` of a
    message, role ``function`` and column ``functions`` are read too.

    Raises:
        DataError: no messages, an unknown role, or a call that can't be read; the message is named.
    """
    return read_chat(row, OPENAI)


def anthropic_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read requests of Anthropic's Messages API: ``{"system"?, "messages": [{role, content}], "tools"?}``.

    ``content`` is text or blocks: ``text``, ``thinking``, ``tool_use`` ``{id, name, input}``, and in user turns
    ``tool_result`` ``{tool_use_id, content}``, each of which becomes a tool message. Tools have an ``input_schema``.

    Raises:
        DataError: as :func:`openai_map_fn`.
    """
    return read_chat(row, ANTHROPIC)


def agent_flan_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read Agent-FLAN: ``conversation`` in the raw files, ``messages`` after conversion; {role, content, loss?}.

    The texts carry their own tool protocol (``Thought:/Action:/Action Input:`` and others) and are trained as they are;
    ``loss`` false is not learned, true, missing or null is.

    Raises:
        DataError: as :func:`openai_map_fn`.
    """
    return read_chat(row, AGENT_FLAN)


def sharegpt_tool_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read ``{"conversations": [{"from", "value"}], "tools"?: json text or list, "system"?: text}``.

    A ``function_call`` turn holds one call ``{name, arguments}`` or a list of parallel ones; consecutive ``function_call``
    turns stay separate turns. ToolBench's rows (``system``, ``user``, ``assistant``, ``function``) have this layout too.

    Raises:
        DataError: no conversations, an unknown role, or a call or tool list that can't be read; the message is named.
    """
    return read_chat(row, SHAREGPT)


def ms_agent_map_fn(row: Mapping[str, Any]) -> Conversation:
    """Read MS-Agent: ``{"id", "conversations": [{"from": system/user/assistant, "value"}]}``.

    The system text lists the APIs, calls and observations stand inside the assistant's text. All of it stays as it is
    written; what follows ``Observation:`` there is the world's and is never trained (``xagent/chat/turns.py``).

    Raises:
        DataError: no conversations, an unknown role or a turn without text; the message is named.
    """
    return read_chat(row, MS_AGENT)
