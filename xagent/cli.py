"""The command line: a table of commands, of which only the chosen one is imported, and true exit codes.

Exit codes: 0 done; 2 a fault in what the user gave, with one message; 1 a fault of xagent, with its traceback; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from importlib import import_module
from io import StringIO
from typing import NoReturn

from xagent import __version__
from xagent.commands.exits import (
    BROKEN_PIPE,
    INTERRUPTED,
    OK,
    OUR_FAULT,
    USER_FAULT,
    is_lost_partner,
    leave_meeting,
    report_crash,
    report_fault,
    report_lost,
    speaks_for_all,
)
from xagent.config.names import did_you_mean
from xagent.errors import XAgentError
from xagent.startup import starting_up

# name -> (module, help)
COMMANDS = {
    "train": ("xagent.commands.train", "train a model as a config says, on one device or many"),
    "list-cfg": ("xagent.commands.list_cfg", "list the bundled configs"),
    "copy-cfg": ("xagent.commands.copy_cfg", "copy a bundled config, to edit it"),
    "log-dataset": ("xagent.commands.log_dataset", "show a config's training samples as the model will see them"),
    "check-dataset": ("xagent.commands.check_dataset", "read a config's whole data set and account for every record"),
    "data": ("xagent.commands.data", "make training data ready before a run: packed shards that many nodes share"),
    "convert": ("xagent.commands.convert", "convert data, checkpoints and adapters"),
    "eval": ("xagent.commands.eval", "score a model: episodes with real tools, BFCL, held-out records; before and after"),
    "chat": ("xagent.commands.chat", "talk to a model in the terminal, with tools or without"),
    "serve": ("xagent.commands.serve", "serve a model with OpenAI's API: chat with tools, streams, adapters"),
    "web": ("xagent.commands.web", "ask a model, or two side by side, in a browser and watch it call tools"),
    "demo": ("xagent.commands.demo", "run the whole story on the embedded tiny model: convert, train, merge, evaluate"),
}

_ENVIRONMENT_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


class Parser(argparse.ArgumentParser):
    """argparse's parser; its message about an unknown option names the nearest one."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            wrong = message.split(": ", 1)[1].split()[0].partition("=")[0]
            known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            message += did_you_mean(wrong, known)
        super().error(message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words after `xagent`. Default: `sys.argv[1:]`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    calm_libraries()
    try:
        with starting_up():
            code = _dispatch(words)
        sys.stdout.flush()
        return code
    except XAgentError as error:
        return _user_fault(str(error))
    except KeyboardInterrupt:
        leave_meeting()
        if os.environ.get("RANK", "0") == "0":
            print("\nxagent: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return BROKEN_PIPE
    except OSError as error:
        return _user_fault(str(error)) if error.errno in _ENVIRONMENT_ERRNOS else _our_fault()
    except SystemExit as exit_:  # argparse, after --help or a wrong argument
        return exit_.code if isinstance(exit_.code, int) else OK
    except Exception as error:
        return _partner_lost(error) if is_lost_partner(error) else _our_fault()


def calm_libraries() -> None:
    """Say to libraries, before they are imported, what they would otherwise guess aloud.

    DeepSpeed takes the CPU where there is no NVIDIA device; bitsandbytes does not advise on kernels that CPUs work without;
    progress bars are for terminals.
    """
    if not os.path.exists("/dev/nvidiactl"):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        for name in ("HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS"):
            os.environ.setdefault(name, "1")


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if words else sys.stderr)
        return OK if words else USER_FAULT
    if words[0] in ("-V", "--version"):
        print(f"xagent {__version__}")
        return OK
    name = words[0].replace("_", "-")
    if name not in COMMANDS:
        raise XAgentError(f"unknown command {words[0]!r}{did_you_mean(name, COMMANDS)}. See: xagent --help")
    module = import_module(COMMANDS[name][0])
    parser = Parser(prog=f"xagent {name}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    module.add_arguments(parser)
    arguments = [_dashed(word) for word in words[1:]]
    aloud: AbstractContextManager[object] = nullcontext() if speaks_for_all(arguments) else redirect_stderr(StringIO())
    with aloud:
        args = parser.parse_args(arguments)
    args.argv = [name, *arguments]
    run: Callable[[argparse.Namespace], int | None] = module.run
    return run(args) or OK


def usage() -> str:
    """Return the text of `xagent --help`."""
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{width}}  {help_}" for name, (_, help_) in COMMANDS.items())
    return f"""usage: xagent COMMAND ...

Turn an open chat model into a tool-using agent, and prove that it became one.

commands:
{table}

options:
  -h, --help     show this text; `xagent COMMAND --help` shows a command's
  -V, --version  show the version

examples:
  xagent demo
  xagent list-cfg -p llama3
  xagent train llama3_8b_instruct_qlora_agentflan_e3 --work-dir work_dirs/agent --deepspeed zero2"""


def _dashed(word: str) -> str:
    """Spell an option's name with dashes: `--work_dir=a_b` is `--work-dir=a_b`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def _user_fault(message: str) -> int:
    report_fault(message)
    return USER_FAULT


def _our_fault() -> int:
    plea = f"xagent {__version__}: this is a fault of xagent, not yours; please report it with the lines above"
    report_crash(traceback.format_exc() + plea)
    return OUR_FAULT


def _partner_lost(error: Exception) -> int:
    rank, headline = os.environ["RANK"], str(error).strip().partition("\n")[0]
    report_lost(f"xagent: process {rank} lost another process of the training, which ended without a word ({headline})")
    return OUR_FAULT


def _drop_stdout() -> None:
    """Send what is still to be printed nowhere, so that Python's exit does not complain about the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is no real file, as in tests: nothing is left to be flushed


if __name__ == "__main__":
    sys.exit(main())
