"""What a request may say: types and ranges, and what happens with parameters that this server does not have.

A parameter that would change the reply is refused unless it is at the value that means nothing; one that changes nothing in the
reply is ignored, and named in the response's header ``x-xagent-ignored``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xagent.chat.message import excerpt
from xagent.config.names import did_you_mean
from xagent.serving.errors import ApiError

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "min_p": (0,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "repetition_penalty": (1,),
    "suffix": ("",),
    "top_k": (0, -1),
    "verbosity": (),
    "audio": (),
    "web_search_options": (),
}
"""Parameters that are known and not had, with the values that mean nothing."""

IGNORED = frozenset(
    (
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    )
)
"""Parameters that change nothing in a reply."""

_INSTEAD = {"functions": "tools", "function_call": "tool_choice"}

Stop = str | list[str]
Tokens = Annotated[int, Field(ge=1)]


class StreamOptions(BaseModel):
    """OpenAI's ``stream_options``; ``include_obfuscation`` is taken and not done."""

    model_config = ConfigDict(strict=True, extra="forbid")
    include_usage: bool = False
    include_obfuscation: bool = False


class Parameters(BaseModel):
    """What both kinds of completions have in common, with OpenAI's names; None is "not said"."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: str
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    max_tokens: Tokens | None = None

    def stop_words(self) -> tuple[str, ...]:
        """Give the texts that end a reply.

        Raises:
            ApiError: one is empty, or there are too many.
        """
        words = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(words) > 16 or not all(words):
            raise ApiError(400, "'stop' must be a text or a list of at most 16 texts, none of them empty", "stop")
        return tuple(words)


class ChatParameters(Parameters):
    """A request for a chat completion."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    max_completion_tokens: Tokens | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: dict[str, Any] | None = None


class CompletionParameters(Parameters):
    """A request for a text's completion."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None


Kind = TypeVar("Kind", bound=Parameters)


def read_parameters(kind: type[Kind], body: Any) -> tuple[Kind, list[str]]:
    """Read a request's body; give it with the names of what is ignored.

    Raises:
        ApiError: it is no object, a parameter has a wrong type or value, or one that would change the reply is not had here.
    """
    if not isinstance(body, dict):
        raise ApiError(400, f"the body must be a JSON object, got {excerpt(body, 80)}")
    said = {name: value for name, value in body.items() if value is not None}
    try:
        found = kind.model_validate(said)
    except ValidationError as error:
        raise _wrong_type(error, said) from None
    if found.stream_options is not None and not found.stream:
        raise ApiError(400, "'stream_options' is of streams; send it with 'stream': true", "stream_options")
    return found, list(_check_others(kind, said))


def _wrong_type(error: ValidationError, said: Mapping[str, Any]) -> ApiError:
    faults = error.errors(include_url=False, include_context=False)
    first = faults[0]
    where = [part for part in first["loc"] if not (isinstance(part, str) and ("[" in part or part in ("str", "int", "float")))]
    param = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).lstrip(".") or None
    if first["type"] == "missing":
        return ApiError(400, f"the parameter {param!r} is required and missing", param)
    name = str(first["loc"][0])
    return ApiError(400, f"{param!r}: {first['msg']}, got {excerpt(said.get(name), 120)}", param)


def _check_others(kind: type[Parameters], said: Mapping[str, Any]) -> Iterable[str]:
    for name, value in said.items():
        if name in kind.model_fields:
            continue
        if name in IGNORED:
            yield name
        elif name not in NEUTRAL:
            known = [*kind.model_fields, *NEUTRAL, *IGNORED]
            raise ApiError(
                400, f"unknown parameter {excerpt(name, 80)}{did_you_mean(name, known)}", name[:80], "unknown_parameter"
            )
        elif not any((value == neutral and type(value) is not bool) or value is neutral for neutral in NEUTRAL[name]):
            instead = f"; use {_INSTEAD[name]!r}" if name in _INSTEAD else "; leave it out"
            raise ApiError(400, f"this server does not have {name!r}, which would change the reply{instead}", name, "unsupported")
