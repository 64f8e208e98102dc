"""A conversation with an agent: asked question after question, watched as it works, stopped, taken back, kept as a record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from xagent.agent.asking import Asking, Sampling, Speaking
from xagent.agent.events import Answered, Ended, EndKind, Event, Step, StepDone, TextPiece
from xagent.agent.languages import protocol_in
from xagent.agent.tools.box import ToolBox
from xagent.agent.transcript import Entry, Setting, observation_mark, with_observation
from xagent.chat.message import Message
from xagent.chat.protocol import Protocol
from xagent.chat.template import ChatTemplate
from xagent.errors import ConfigError
from xagent.inference.engine import Engine
from xagent.inference.prompting import PromptBuilder

__all__ = ["AgentSession", "Answered", "EndKind", "Ended", "Event", "Step", "StepDone", "TextPiece"]


class AgentSession:
    """A conversation with a model that may call tools. One question at a time; ``stop`` may come from any thread.

    With tools each question is worked on in Lagent's ReAct loop, in the tool protocol that the model was trained in; with an
    empty box it is a plain chat: one reply to each question.

    Args:
        engine: runs the model; sessions may share it.
        box: the tools; sessions may share it.
        language: ``en`` or ``zh``, of the loop's system text.
        system: the conversation's own system text; with tools it stands before theirs.
        protocol: None is the engine's, which the model was trained in.
        max_turn: how many replies the model may write to one question.
        max_new_tokens, temperature, top_p, seed, stop: of each reply, see :class:`xagent.inference.engine.GenerationRequest`.
        adapter: which of the engine's adapters answers.

    Attributes:
        sampling: how replies are generated. It, ``max_turn`` and ``adapter`` may be changed between questions.

    Raises:
        ConfigError: language or protocol is unknown, or a number or stop word is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        box: ToolBox,
        *,
        language: str = "en",
        system: str | None = None,
        protocol: str | Protocol | None = None,
        max_turn: int = 6,
        max_new_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: tuple[str, ...] = (),
        adapter: str | None = None,
    ) -> None:
        if max_turn < 1:
            raise ConfigError(f"max_turn must be >= 1, got {max_turn}")
        self.engine, self.box, self.language, self.max_turn = engine, box, language, max_turn
        self.sampling = Sampling(max_new_tokens, temperature, top_p, seed, tuple(stop), adapter)
        self.sampling.request([0])  # refuses what is out of range now, not with the first question
        self._prompts = _prompts_in(engine.prompts, protocol)
        self._setting = Setting(protocol_in(language, self._prompts.protocol), box.specs, system or "")
        self._entries: list[Entry] = []
        self._unanswered: str | None = None
        self._asking: Asking | None = None
        self._lock = threading.Lock()

    @property
    def history(self) -> tuple[Message, ...]:
        """What was said so far, without the system text: calls and thoughts apart. It grows when a question's work has ended."""
        return tuple(entry.message for entry in self._entries)

    @property
    def system(self) -> str:
        """The conversation's own system text, possibly empty."""
        return self._setting.system

    @property
    def protocol(self) -> Protocol:
        """In whose words tools, calls and results stand."""
        return self._setting.protocol

    @property
    def is_busy(self) -> bool:
        """Whether a question is being worked on."""
        return self._asking is not None

    @property
    def awaits_observation(self) -> bool:
        """Whether the last reply stopped at a mark such as ``Observation:``, with no tools to give one: see :meth:`observe`."""
        last = self._entries[-1] if self._entries and not self.box.specs else None
        return last is not None and last.message.role == "assistant" and observation_mark(last.words) is not None

    def ask(self, question: str) -> Iterator[Event]:
        """Give what happens while the model works on a question, as it happens; the last event is ``Answered`` or ``Ended``.

        Who stops iterating stops the work. What was said until a stop stays in the history, a reply that was cut short marked as
        no example to learn from; where nothing was said yet, and after a fault of the engine, the question is taken back.

        Raises:
            ConfigError: the question is empty, another is being worked on, or the prompt fills the model's context.
            XAgentError: the engine could not go on.
        """
        if not question.strip():
            raise ConfigError("the question is empty")
        return self._work([*self._entries, Entry.said("user", question)], question)

    def observe(self, text: str) -> Iterator[Event]:
        """Give the observation that the model waits for; it goes on in the same turn. Events as in :meth:`ask`.

        Raises:
            ConfigError: the model doesn't wait for one, or as in :meth:`ask`.
        """
        if not self.awaits_observation:
            raise ConfigError("the model waits for no observation: its last reply has not stopped at a mark such as Observation:")
        *before, last = self._entries
        opened = Entry.said("assistant", with_observation(last.words, text))
        return self._work([*before, opened], None)

    def retry(self) -> Iterator[Event]:
        """Drop what came of the last question and ask it again. Events as in :meth:`ask`.

        Raises:
            ConfigError: nothing was asked yet, or as in :meth:`ask`.
        """
        self._check_idle()
        if self._unanswered is not None:
            return self.ask(self._unanswered)
        asked = [index for index, entry in enumerate(self._entries) if entry.message.role == "user"]
        if not asked:
            raise ConfigError("nothing was asked yet")
        question = self._entries[asked[-1]].words
        return self._work([*self._entries[: asked[-1]], Entry.said("user", question)], question)

    def stop(self) -> None:
        """End the reply that is being written, or the wait for a tool, soon. From any thread; does nothing when nothing runs."""
        asking = self._asking
        if asking is not None:
            asking.stop()

    def clear(self) -> None:
        """Forget what was said.

        Raises:
            ConfigError: a question is being worked on.
        """
        self._check_idle()
        self._entries, self._unanswered = [], None

    def set_system(self, text: str | None) -> None:
        """Set the system text and clear the history, which was said under another.

        Raises:
            ConfigError: a question is being worked on.
        """
        self.clear()
        self._setting = replace(self._setting, system=text or "")

    def edit(self, index: int, text: str) -> None:
        """Change a message's text and drop what follows it. After the edit of a question, :meth:`retry` asks it.

        Args:
            index: of the message in ``history``.
            text: a question, an answer, an observation; of a reply with calls, the text beside them.

        Raises:
            ConfigError: there is no such message, or a question is being worked on.
            DataError: the protocol can't say the text beside calls.
        """
        self._check_idle()
        if not 0 <= index < len(self._entries):
            raise ConfigError(f"there is no message {index}: the history has {len(self._entries)}")
        message = replace(self._entries[index].message, content=text)
        spoken = message.role == "assistant" and bool(self._setting.tools) and message.loss is not False
        words = self.protocol.render_reply(message) if spoken else text
        self._entries, self._unanswered = [*self._entries[:index], Entry(message, words)], None

    def to_record(self) -> dict[str, Any]:
        """Give the conversation as a training record in OpenAI's messages form, with tools and calls.

        Rendered for training in the session's protocol it is the text that the model saw and wrote, but for Lagent's order to
        stop before a question's last reply. Replies that were stopped or cut, or can't be read, have ``loss`` false.
        """
        return self._setting.record(self._entries)

    def load(self, record: Mapping[str, Any]) -> None:
        """Go on with a conversation from a record in OpenAI's messages form: its system text and messages replace the session's.

        Raises:
            DataError: it is no such record.
            ConfigError: it offers tools that this session does not have, or a question is being worked on.
        """
        system, entries = self._setting.read(record)
        self.set_system(system)
        self._entries = entries

    def _check_idle(self) -> None:
        if self._asking is not None:
            raise ConfigError("a question is being worked on; stop it first")

    def _work(self, entries: list[Entry], question: str | None) -> Iterator[Event]:
        """Have the last of the entries worked on: a question, or (None) a reply to go on with."""
        asking = Asking(Speaking(self.engine, self._prompts, self.sampling), self._setting, entries)
        with self._lock:
            self._check_idle()
            self._asking = asking
        try:
            with closing(asking.events(self._kind_of_work(asking, question))) as events:
                for event in events:
                    if isinstance(event, (Answered, Ended)):
                        self._keep(asking, question)
                    yield event
        except GeneratorExit:  # nobody wants to know more: as if the user had stopped
            self._keep(asking, question)
            raise
        except BaseException:
            self._unanswered = question
            raise
        finally:
            self._asking = None

    def _kind_of_work(self, asking: Asking, question: str | None) -> Callable[[], Event]:
        if question is None:
            return asking.go_on
        if not self._setting.tools:
            return asking.answer
        return partial(asking.loop, self.box, self.language, self.max_turn)

    def _keep(self, asking: Asking, question: str | None) -> None:
        """Make what was said the history; a question to which nothing was said is taken back."""
        entries = asking.entries
        nothing_said = question is not None and entries[-1].message.role == "user"
        self._unanswered = question if nothing_said else None
        self._entries = entries[:-1] if nothing_said else entries
        self._asking = None


def _prompts_in(prompts: PromptBuilder, protocol: str | Protocol | None) -> PromptBuilder:
    """Give the engine's prompts, in another protocol where one is asked for."""
    if protocol is None:
        return prompts
    template = prompts.template if isinstance(prompts.template, ChatTemplate) else "tokenizer"
    return PromptBuilder(prompts.tokenizer, template, protocol)
