"""Many streaming clients against one: are replies lost, and how much faster is it together?

    python benchmarks/serving_load.py [--model xagent:nano/base] [--clients 64] [--seconds 60]

Starts ``xagent serve`` in a process of its own, lets one client ask for the time given and then all of them, and prints JSON,
which is kept in ``results/serving_load.json`` too. Both ask the same sequence of questions, of equal length and each with its own
seed, all different, so that nothing but the template is remembered; before that as many clients warm the server up with others.

A reply counts when its stream ended with a finish reason; others are lost. Tokens are the server's ``usage``. The time is from
the first request to the end of the last reply: the tail, in which fewer and fewer clients are answered, counts too. Clients use
the ``openai`` package in one process; on one core they take their part of it, which is told.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from machine import describe_machine, save_results

WORDS = "apple river seven window light paper green stone quiet morning".split()


@dataclass
class Tally:
    """What one run of clients saw.

    Attributes:
        replies, tokens: whole ones, and how many tokens they have.
        lost: what ended otherwise, in words.
        first: seconds to each reply's first piece.
        seconds: how long it took, from the first request to the last reply's end.
    """

    replies: int = 0
    tokens: int = 0
    lost: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def figures(self) -> dict[str, Any]:
        """Give what is reported."""
        first = sorted(self.first)
        return {
            "replies": self.replies,
            "lost": len(self.lost),
            "reasons": sorted(set(self.lost))[:5],
            "tokens": self.tokens,
            "tokens_per_reply": round(self.tokens / self.replies, 1) if self.replies else None,
            "seconds": round(self.seconds, 2),
            "tokens_per_second": round(self.tokens / self.seconds, 1) if self.seconds else 0,
            "first_piece_median_s": round(statistics.median(first), 3) if first else None,
            "first_piece_p99_s": round(first[int(len(first) * 0.99)], 3) if first else None,
        }


async def client(api: openai.AsyncOpenAI, numbers: Iterator[int], until: float, most: int, tally: Tally) -> None:
    """Ask the next of the questions, streamed, one after the other until the time is over; the last reply is waited for."""
    while time.monotonic() < until:
        number = next(numbers)
        words = " ".join(WORDS[(number * 3 + place * (1 + number // 10)) % len(WORDS)] for place in range(8))
        began, heard, reason = time.monotonic(), False, None
        try:
            stream = await api.chat.completions.create(
                model="model",
                messages=[{"role": "user", "content": f"{number:06}: {words}?"}],
                max_tokens=most,
                temperature=1.0,
                seed=number,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content and not heard:
                        heard = True
                        tally.first.append(time.monotonic() - began)
                    reason = choice.finish_reason or reason
                tally.tokens += chunk.usage.completion_tokens if chunk.usage else 0
        except (openai.OpenAIError, OSError) as error:
            tally.lost.append(f"{type(error).__name__}: {error}"[:200])
            continue
        if reason in ("stop", "length"):
            tally.replies += 1
        else:
            tally.lost.append(f"a stream ended with finish_reason {reason}")


async def run_clients(url: str, clients: int, seconds: float, most: int, first: int = 0) -> Tally:
    """Let so many clients ask at once: the questions from ``first`` on, whoever comes next."""
    tally, began, numbers = Tally(), time.monotonic(), itertools.count(first)
    async with openai.AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0, timeout=600) as api:
        await asyncio.gather(*(client(api, numbers, began + seconds, most, tally) for _ in range(clients)))
    tally.seconds = time.monotonic() - began
    return tally


def start_server(model: str, clients: int, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server; give it and its address when it answers."""
    command = [sys.executable, "-m", "xagent.cli", "serve", model, "--port", "0", "--served-model-name", "model"]
    command += ["--max-replies", str(2 * clients), "--max-batch-size", str(clients)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    while server.poll() is None:
        if found := re.search(r"serving at (\S+);", log.read_text()):
            return server, found[1]
        time.sleep(0.2)
    raise SystemExit(f"the server ended:\n{log.read_text()}")


def measure(url: str, server: int, clients: int, seconds: float, most: int) -> dict[str, Any]:
    """Let clients ask, and give what they saw and the processor's seconds that server and clients took."""
    ticks, own = _ticks(server), time.process_time()
    figures = asyncio.run(run_clients(url, clients, seconds, most)).figures()
    figures["server_cpu_s"] = round((_ticks(server) - ticks) / os.sysconf("SC_CLK_TCK"), 2)
    figures["clients_cpu_s"] = round(time.process_time() - own, 2)
    return figures


def _ticks(process: int) -> int:
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xagent:nano/base")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--warm-up", type=float, default=5, help="seconds")
    args = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_server(args.model, args.clients, Path(folder, "log"))
        try:
            asyncio.run(run_clients(url, args.clients, args.warm_up, args.max_tokens, first=500_000))
            one = measure(url, server.pid, 1, args.seconds, args.max_tokens)
            many = measure(url, server.pid, args.clients, args.seconds, args.max_tokens)
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(60)
    ratio = round(many["tokens_per_second"] / one["tokens_per_second"], 2) if one["tokens_per_second"] else None
    figures = {"one_client": one, f"{args.clients}_clients": many, "times_faster_together": ratio, "server_exit_code": code}
    save_results("serving_load", machine, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
