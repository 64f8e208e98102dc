"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Counts of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("xagent_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self.prompt_tokens = Counter("xagent_prompt_tokens", "Tokens of prompts read", registry=self.registry)
        self.new_tokens = Counter("xagent_new_tokens", "Tokens generated", registry=self.registry)
        self.cancelled = Counter("xagent_cancelled", "Replies that a client did not wait for", registry=self.registry)
        self.running = Gauge("xagent_replies_running", "Replies in the making", registry=self.registry)
        self.first_token = Histogram(
            "xagent_first_piece_seconds", "From a request to the first piece of text", buckets=_SECONDS, registry=self.registry
        )
        self.seconds = Histogram("xagent_reply_seconds", "From a request to the end", buckets=_SECONDS, registry=self.registry)

    def text(self) -> bytes:
        """Give Prometheus' text format."""
        return generate_latest(self.registry)
