"""A protocol is named once, in the training config; adapter, merged model and agent use it without being told again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xagent.agent.lagent_llm import load_agent_llm
from xagent.agent.react import SpokenProtocol, build_react_agent
from xagent.cli import main
from xagent.inference.prompting import AgentSettings, load_agent_settings
from xagent.model.checkpoint import find_checkpoints


@pytest.mark.parametrize("named, protocol", [("qwen", "hermes"), ("function_call", "function_call")])
def test_from_the_config_to_the_agent(named: str, protocol: str, configs, tiny: Path, train_cli, tmp_path: Path) -> None:
    run, adapter, merged = tmp_path / "run", tmp_path / "adapter", tmp_path / "merged"
    config = configs(f"protocol_{named}")
    assert train_cli(config, run, max_epochs=1, train_dataset__protocol=named) == 0
    assert main(["convert", "pth_to_hf", str(run / "config.py"), str(find_checkpoints(run)[0]), str(adapter)]) == 0
    assert main(["convert", "merge", str(tiny), str(adapter), str(merged), "--device", "cpu"]) == 0
    for folder in (adapter, merged):
        known = json.loads((folder / "xagent.json").read_text(encoding="utf-8"))
        assert (known["template"], known["protocol"]) == ("llama3_chat", named) and known["xagent_version"]
        assert load_agent_settings(folder) == AgentSettings("llama3_chat", named)
        assert f"| tool protocol | {named} |" in (folder / "README.md").read_text(encoding="utf-8")
    for path, beside in ((merged, None), (tiny, adapter)):
        llm = load_agent_llm(path, beside, device="cpu", max_new_tokens=2, defaults=AgentSettings("qwen_chat", "react"))
        assert (llm.prompts.template.name, llm.prompts.protocol.name) == ("llama3_chat", protocol)
        agent = build_react_agent(llm, [])
        assert isinstance(agent._protocol, SpokenProtocol) and agent._protocol.reader is llm.prompts.protocol
