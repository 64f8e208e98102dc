"""One question on its way: Lagent's loop (or a single reply) in a thread, which tells what happens as it happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from xagent.agent.events import Answered, Ended, Event, Step, StepDone, TextPiece
from xagent.agent.tools.box import ToolBox
from xagent.agent.tools.tool import NOTHING_RAN, Observation
from xagent.agent.transcript import Entry, Setting, lagent_messages, observation_mark, to_conversation
from xagent.chat.protocol import ParsedReply
from xagent.errors import XAgentError
from xagent.inference.engine import Engine, GenerationRequest, Reply, ReplyStream
from xagent.inference.prompting import PromptBuilder

if TYPE_CHECKING:
    from lagent.schema import ActionReturn

STOPPED = "stopped by the user"
AWAITED = "the model waits for an observation"


@dataclass(frozen=True)
class Sampling:
    """How replies are generated, as :class:`xagent.inference.engine.GenerationRequest` says it."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    adapter: str | None = None

    def request(self, prompt_ids: Sequence[int]) -> GenerationRequest:
        """Give the request for a reply.

        Raises:
            ConfigError: a setting is out of range.
        """
        return GenerationRequest(tuple(prompt_ids), **asdict(self))


@dataclass(frozen=True)
class Speaking:
    """A model as a session speaks to it.

    Attributes:
        prompts: in the session's protocol.
    """

    engine: Engine
    prompts: PromptBuilder
    sampling: Sampling


class _Stopped(BaseException):
    """The user stopped the work. No Exception: Lagent makes observations of those."""


class _LoopModel:
    """What Lagent's loop asks."""

    def __init__(self, prompts: PromptBuilder, reply: Callable[[Sequence[Mapping[str, Any]]], str]) -> None:
        self.prompts, self._reply = prompts, reply

    def chat(self, messages: Sequence[Mapping[str, Any]], **settings: Any) -> str:
        """Give the model's reply."""
        return self._reply(messages)


class _StoppableBox(ToolBox):
    """A tool box whose calls are given up when the user stops the work; keeps what the last call gave."""

    def __init__(self, box: ToolBox, stopped: threading.Event) -> None:
        super().__init__(box)
        self._inner, self._stopped = box, stopped
        self.last = Observation("")

    def run(self, name: str, arguments: Any) -> Observation:
        """Call a tool; one that is given up goes on unseen until its own timeout ends it."""
        start, found, done = time.perf_counter(), list[Observation](), threading.Event()

        def call() -> None:
            found.append(self._inner.run(name, arguments))
            done.set()

        threading.Thread(target=call, name=f"call of {name}", daemon=True).start()
        while not done.wait(0.05) and not self._stopped.is_set():
            pass
        self.last = found[0] if found else Observation(STOPPED, "error", time.perf_counter() - start)
        return self.last


class Asking:
    """Work on one question: one of the three kinds of work, done by :meth:`events` once.

    ``entries`` holds what was said, also after a stop.

    Args:
        speaking: the model.
        setting: tools and protocol.
        entries: the conversation so far: a question last, or for :meth:`go_on` the reply to go on with.
    """

    def __init__(self, speaking: Speaking, setting: Setting, entries: Sequence[Entry]) -> None:
        self.entries = list(entries)
        self._speaking, self._setting = speaking, setting
        self._out: SimpleQueue[Event | BaseException | None] = SimpleQueue()
        self._stopped = threading.Event()
        self._stream: ReplyStream | None = None
        self._replies: list[Reply] = []
        self._begun = time.perf_counter()

    def stop(self) -> None:
        """End the reply or the wait for a tool soon; from any thread."""
        self._stopped.set()
        if self._stream is not None:
            self._stream.cancel()

    def events(self, work: Callable[[], Event]) -> Generator[Event, None, None]:
        """Do the work in a thread and give what happens. Who stops iterating stops the work.

        Raises:
            XAgentError: the engine could not go on.
        """
        thread = threading.Thread(target=self._run, args=(work,), name="session", daemon=True)
        thread.start()
        try:
            while (event := self._out.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self.stop()
            thread.join()

    def _run(self, work: Callable[[], Event]) -> None:
        try:
            self._out.put(work())
        except _Stopped:
            self._out.put(Ended(STOPPED, "stopped"))
        except BaseException as error:  # raised again where the events are read
            self._out.put(error)
        finally:
            self._out.put(None)

    def answer(self) -> Event:
        """Have a single reply, without tools."""
        return self._single("", self._speaking.prompts.prompt_ids(self._setting.conversation(self.entries)))

    def go_on(self) -> Event:
        """Have the model go on in the reply that stands last."""
        opened = self.entries[-1].words
        ids = self._speaking.prompts.prompt_ids(self._setting.conversation(self.entries), continue_last=True)
        self.entries.pop()
        return self._single(opened, ids)

    def loop(self, box: ToolBox, language: str, max_turn: int) -> Event:
        """Run Lagent's loop with these tools."""
        from xagent.agent.lagent_tools import tool_actions  # a chat without tools needs no Lagent
        from xagent.agent.react import NO_ANSWER, build_react_agent

        stoppable = _StoppableBox(box, self._stopped)
        agent = build_react_agent(
            _LoopModel(self._speaking.prompts, self._loop_reply),
            tool_actions(stoppable),
            language,
            max_turn,
            system=self._setting.system,
            on_step=lambda result, shown: self._note_step(result, shown, stoppable.last),
        )
        outcome = agent.chat(lagent_messages(self.entries))
        if outcome.errmsg is None:
            return self._answered(outcome.response)
        return Ended(outcome.errmsg, "turns" if outcome.errmsg.startswith(NO_ANSWER) else "repeats")

    def _single(self, opened: str, ids: list[int]) -> Event:
        reply = self._reply(ids, opened)
        words = opened + reply.text
        if reply.stopped_by is not None and observation_mark(words + reply.stopped_by):
            words += reply.stopped_by  # the observation will stand behind it
            self._out.put(TextPiece(0, reply.stopped_by))
        self._keep(words, reply)
        return Ended(AWAITED, "observation") if observation_mark(words) else self._answered(reply.text)

    def _loop_reply(self, messages: Sequence[Mapping[str, Any]]) -> str:
        prompts = self._speaking.prompts
        reply = self._reply(prompts.prompt_ids(to_conversation(messages, prompts.protocol)))
        self._keep(reply.text, reply)
        return reply.text

    def _keep(self, words: str, reply: Reply) -> None:
        """Keep a reply; one that was cut would teach the model to stop in the midst of things."""
        entry = self._setting.reply(words)
        cut = reply.finish_reason == "length"
        self.entries.append(replace(entry, message=replace(entry.message, loss=False)) if cut else entry)

    def _reply(self, ids: Sequence[int], opened: str = "") -> Reply:
        """Have a reply and tell its text as it comes; of one that is stopped keep what was said."""
        if self._stopped.is_set():
            raise _Stopped
        stream = self._speaking.engine.submit(self._speaking.sampling.request(ids))
        self._stream = stream
        if self._stopped.is_set():  # between the question above and the line above
            stream.cancel()
        for delta in stream:
            if delta.text:
                self._out.put(TextPiece(len(self._replies), delta.text))
        reply = stream.reply()
        if reply.finish_reason != "cancelled":
            self._replies.append(reply)
            return reply
        if not self._stopped.is_set():
            raise XAgentError("the engine ended the reply before the model did; was it closed?")
        if opened + reply.text.strip():
            self.entries.append(self._setting.reply(opened + reply.text, complete=False))
        raise _Stopped

    def _note_step(self, result: ActionReturn, shown: str, last: Observation) -> None:
        """Keep an observation, and tell of the step."""
        parsed = self._setting.protocol.parse(self._replies[-1].text)
        call = parsed.calls[0] if parsed.status == "calls" else None
        self.entries.append(Entry.observed(shown, call.name if call else None))
        known = call is not None and result.type == call.name
        fault = last.fault if known else self._fault(parsed) if call is None else "unknown tool"
        seconds = last.seconds if known and last.fault not in NOTHING_RAN else None
        thought = "\n".join(filter(None, (parsed.reasoning, parsed.content)))
        self._out.put(
            StepDone(Step(thought, call.name if call else None, call.arguments if call else None, shown, fault, seconds))
        )

    def _fault(self, parsed: ParsedReply) -> str:
        """Say why a reply held no call that could be run."""
        if parsed.status != "incomplete":
            return "neither a call nor an answer"
        if self._replies[-1].finish_reason == "length":
            return f"the reply was cut inside a call, at {self._replies[-1].new_tokens} tokens: nothing was run"
        return f"{parsed.error}: nothing was run"

    def _answered(self, text: str) -> Answered:
        seconds, tokens = time.perf_counter() - self._begun, sum(reply.new_tokens for reply in self._replies)
        return Answered(text, seconds, tokens, self._replies[-1].finish_reason)
