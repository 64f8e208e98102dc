"""Several adapters on one base, one of them active at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xagent.errors import CheckpointError, ConfigError


def with_adapter(model: Any, path: str, name: str = "default") -> Any:
    """Put an adapter on a model, or one more on a PeftModel.

    Raises:
        CheckpointError: it is no adapter of this model.
    """
    from peft import PeftModel

    try:
        if not isinstance(model, PeftModel):
            return PeftModel.from_pretrained(model, path, adapter_name=name)
        model.load_adapter(path, name)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is no adapter of this model: {first_line(error)}") from error
    return model


def first_line(error: Exception) -> str:
    """Give an error's first line, which says what is wrong where the others list it."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


class Adapters:
    """Switches a model between its adapters.

    Args:
        model: a causal language model, or a PeftModel. What it is when this is made is what None names: the adapter that is
            active then, else the bare model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._loaded_as: str | None = getattr(model, "active_adapter", None) if hasattr(model, "peft_config") else None
        self._active: str | None = None
        self.names: tuple[str, ...] = ()

    def load(self, paths: Mapping[str, str | Path]) -> None:
        """Put adapters on the model, under these names.

        Raises:
            CheckpointError: one is no adapter of this model.
            ConfigError: a name is used by PEFT itself.
        """
        for name, path in paths.items():
            if name in ("", "default"):
                raise ConfigError(f"an adapter can't be named {name!r}; choose another name")
            self.model = with_adapter(self.model, str(path), name)
        self.names = (*self.names, *paths)
        if paths:
            self.model.eval()
            self._switch(None)

    def use(self, name: str | None) -> None:
        """Make an adapter the active one; None is the model as it was loaded."""
        if name != self._active:
            self._switch(name)

    def _switch(self, name: str | None) -> None:
        chosen = name if name is not None else self._loaded_as
        if chosen is None:
            self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(chosen, inference_mode=True)
        self._active = name
