"""Find, load, override, validate and write a config.

The names are imported when first used, so that commands which only look for configs start without mmengine or torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent.lazy import names_on_demand

if TYPE_CHECKING:
    from xagent.config.deepspeed import find_deepspeed
    from xagent.config.find import config_names, configs_dir, find_config
    from xagent.config.load import load_config
    from xagent.config.options import parse_options
    from xagent.config.validate import validate_config
    from xagent.config.write import write_config

__all__ = [
    "config_names",
    "configs_dir",
    "find_config",
    "find_deepspeed",
    "load_config",
    "parse_options",
    "validate_config",
    "write_config",
]

__getattr__ = names_on_demand(
    __name__,
    {
        "config_names": "find",
        "configs_dir": "find",
        "find_config": "find",
        "find_deepspeed": "deepspeed",
        "load_config": "load",
        "parse_options": "options",
        "validate_config": "validate",
        "write_config": "write",
    },
)
