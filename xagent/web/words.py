"""The page's words in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xagent.playground import Language
from xagent.web.access import Refusal


@dataclass(frozen=True)
class Words:
    """Every word of the page in one language; braces are filled in."""

    title: str
    lead: str
    language: str
    ask: str
    examples: str
    other_examples: str
    step: str
    thought: str
    tool: str
    arguments: str
    observation: str
    writing: str
    awaits: str
    unfinished: str
    no_text: str
    no_answer: str
    fault: str
    timing: str
    whole_text: str
    stop: str
    retry: str
    edit: str
    edit_label: str
    ask_again: str
    cancel: str
    clear: str
    export: str
    type_observation: str
    send: str
    setup: str
    setup_note: str
    apply: str
    themes: str
    tools: str
    who_runs: str
    runs_here: str
    runs_typed: str
    system: str
    system_help: str
    protocol: str
    own_protocol: str
    prompt_language: str
    reads: str
    generation: str
    max_turn: str
    max_new_tokens: str
    temperature: str
    top_p: str
    seed: str
    base_only: str
    forgotten: str
    loading: str
    faults: Mapping[str, str]
    refusals: Mapping[Refusal, str]


ENGLISH = Words(
    title="An agent and its tools",
    lead="Ask, and see what each model thinks, which tools it calls, and what it answers.",
    language="Language",
    ask="Ask something that the tools can answer",
    examples="Try one of these",
    other_examples="Others",
    step="Step {number}",
    thought="Thought",
    tool="Tool",
    arguments="Arguments",
    observation="Observation",
    writing="Writing …",
    awaits="Waits for an observation",
    unfinished="Not finished",
    no_text="no text",
    no_answer="No answer: {reason}",
    fault="This went wrong: {reason}",
    timing="{seconds}, {tokens} tokens",
    whole_text="All {count} characters",
    stop="Stop",
    retry="Retry",
    edit="Edit",
    edit_label="Edit question {number}; what follows it is dropped",
    ask_again="Ask again",
    cancel="Cancel",
    clear="New conversation",
    export="Save as a training record",
    type_observation="What does {tool} answer?",
    send="Send observation",
    setup="Tools and prompt",
    setup_note="Applying a change begins a new conversation.",
    apply="Apply",
    themes="Themes of the playground",
    tools="Single tools",
    who_runs="Tool calls",
    runs_here="are run here",
    runs_typed="wait for me: I type the observation",
    system="System text",
    system_help="Your own words before the tools are shown. Empty: none.",
    protocol="Protocol of tool calls",
    own_protocol="as each model was trained",
    prompt_language="Language of the prompt",
    reads="What the model reads first",
    generation="Generation",
    max_turn="Replies to one question, at most",
    max_new_tokens="Tokens of a reply, at most",
    temperature="Temperature (0: always the likeliest)",
    top_p="Top-p",
    seed="Seed",
    base_only="There is no trained demo model in {folder}. Run `xagent demo`, which trains one in minutes; "
    "until then, the base is shown.",
    forgotten="The conversation of this address is not kept any more; a new one begins.",
    loading="Loading the models …",
    faults={
        "unknown tool": "unknown tool",
        "bad arguments": "bad arguments",
        "error": "error",
        "timeout": "timeout",
    },
    refusals={
        "token": "This page needs its token: open it as .../?token=..., with what the one who started it was told.",
        "open": "Other computers can reach this page, and it has no token. Start it with XAGENT_WEB_TOKEN set, "
        "or for this computer alone with --server.address localhost.",
        "host": "This page is for the computer that it runs on; open it as http://localhost:... there.",
    },
)

CHINESE = Words(
    title="智能体与工具",
    lead="提一个问题，看每个模型怎么想、调用哪些工具、怎么回答。",
    language="语言 · Language",
    ask="问一个工具能回答的问题",
    examples="试试这些问题",
    other_examples="换一批",
    step="第 {number} 步",
    thought="思考",
    tool="工具",
    arguments="参数",
    observation="观察",
    writing="正在写……",
    awaits="等待观察结果",
    unfinished="未完成",
    no_text="没有文字",
    no_answer="没有答案：{reason}",
    fault="出错了：{reason}",
    timing="{seconds}，{tokens} 个词元",
    whole_text="全部 {count} 个字符",
    stop="停止",
    retry="重试",
    edit="修改",
    edit_label="修改第 {number} 个问题；其后的内容会被删去",
    ask_again="重新提问",
    cancel="取消",
    clear="新对话",
    export="存为训练数据",
    type_observation="{tool} 返回什么？",
    send="发送观察",
    setup="工具与提示词",
    setup_note="应用改动会开始新的对话。",
    apply="应用",
    themes="内置工具的主题",
    tools="单个工具",
    who_runs="工具调用",
    runs_here="在这里运行",
    runs_typed="等我填写观察结果",
    system="系统提示词",
    system_help="放在工具说明之前的话；留空则没有。",
    protocol="工具调用协议",
    own_protocol="与各模型训练时相同",
    prompt_language="提示词的语言",
    reads="模型首先读到的内容",
    generation="生成参数",
    max_turn="每个问题最多回复几次",
    max_new_tokens="每次回复最多词元数",
    temperature="温度（0：总取最可能的）",
    top_p="Top-p",
    seed="随机种子",
    base_only="{folder} 里没有训练好的演示模型。运行 `xagent demo` 几分钟即可训练一个；在此之前只显示基座模型。",
    forgotten="此地址的对话已不再保存，已开始新的对话。",
    loading="正在加载模型……",
    faults={
        "unknown tool": "没有此工具",
        "bad arguments": "参数有误",
        "error": "出错",
        "timeout": "超时",
    },
    refusals={
        "token": "需要令牌：请用启动者得到的 .../?token=... 地址打开。",
        "open": "其他计算机可以访问此页面，却没有设置令牌。请设置 XAGENT_WEB_TOKEN，或用 "
        "--server.address localhost 只对本机开放。",
        "host": "此页面只供本机使用；请在本机上用 http://localhost:... 打开。",
    },
)

WORDS: Mapping[Language, Words] = {"en": ENGLISH, "zh": CHINESE}


def language_of(locale: str | None) -> Language:
    """Give the page's language for a browser's locale such as ``zh-CN``."""
    return "zh" if (locale or "").lower().startswith("zh") else "en"
