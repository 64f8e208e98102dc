"""What the demo is started with: the one reading for ``xagent web`` and for the script that Streamlit runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from xagent.agent.tools import add_tools_argument

_NAMED = ("compare", "adapter", "system", "template", "protocol", "language", "dtype", "device")


_COMPARE_HELP = "a model that answers the same questions, spoken to in the same words unless its xagent.json names others"


@dataclass(frozen=True)
class DemoOptions:
    """What is shown, and how it is loaded.

    Attributes:
        model: a directory, an ``xagent:`` name or a hub id; None is the demo's own models.
        compare: another model, which answers the same questions.
        adapter: a PEFT adapter's directory to put on ``model``.
        tools: the values of ``--tools``.
        template, protocol: of both models; None is what the model's ``xagent.json`` says.
        dtype, device, load_in_4bit: how the models are loaded.
        language: of the page at first; None is the browser's.
        system: the system text at first.
    """

    model: str | None = None
    compare: str | None = None
    adapter: str | None = None
    tools: tuple[str, ...] = ()
    template: str | None = None
    protocol: str | None = None
    dtype: str | None = None
    device: str = "auto"
    load_in_4bit: bool = False
    language: str | None = None
    system: str = ""


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which models and tools are shown; :func:`read_options` reads them."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a folder, an xagent: name or a hub id (default: what `xagent demo` trained)"
    )
    parser.add_argument("--compare", metavar="BASE", help=_COMPARE_HELP)
    parser.add_argument("--adapter", metavar="DIR", help="a PEFT adapter to put on MODEL")
    add_tools_argument(parser)
    parser.add_argument("--system", default="", metavar="TEXT", help="the system text that visitors begin with")
    parser.add_argument("--template", metavar="NAME", help="the chat template (default: xagent.json's, else the tokenizer's)")
    parser.add_argument("--protocol", metavar="NAME", help="the tool protocol (default: xagent.json's, else react)")
    parser.add_argument("--language", choices=("en", "zh"), help="of the page at first (default: the browser's)")
    parser.add_argument("--dtype", choices=("bf16", "fp16", "fp32"), help="of the weights (default: the checkpoint's)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="where to compute (default: %(default)s)")
    parser.add_argument("--load-in-4bit", action="store_true", help="load the models in 4 bits (NF4), as QLoRA trains them")


def options_of(args: argparse.Namespace) -> DemoOptions:
    """Give the options among a command's arguments."""
    names = DemoOptions.__dataclass_fields__
    return DemoOptions(**{name: value for name, value in vars(args).items() if name in names} | {"tools": tuple(args.tools)})


def words_of(options: DemoOptions) -> list[str]:
    """Give the words that :func:`read_options` reads as these options."""
    words = [f"--tools={text}" for text in options.tools]
    words += [f"--{name.replace('_', '-')}={value}" for name, value in vars(options).items() if name in _NAMED and value]
    words += ["--load-in-4bit"] if options.load_in_4bit else []
    return [*words, "--", options.model] if options.model is not None else words


def read_options(words: Sequence[str]) -> DemoOptions:
    """Read the words after the script's name.

    Raises:
        SystemExit: they can't be read; argparse has said why.
    """
    parser = argparse.ArgumentParser(
        prog="streamlit run tools/agent_web_demo.py",
        usage="%(prog)s [MODEL] [-- [--compare BASE] [--adapter DIR] [--tools TOOL] ...]",
        allow_abbrev=False,
    )
    add_demo_arguments(parser)
    return options_of(parser.parse_args(list(words)))
