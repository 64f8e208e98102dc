"""Prepared data sets are kept on disk under a key of everything that went into them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xagent.cache import cache_folder
from xagent.data.arrow_files import ArrowFiles
from xagent.data.parts import part_files
from xagent.data.report import DatasetReport
from xagent.data.tokenizer_template import TokenizerTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def cache_dir() -> Path:
    """Give the folder of prepared data sets in xagent's cache."""
    return cache_folder() / "datasets"


def cached(key: str, prepare: Callable[[Path], None]) -> tuple[ArrowFiles, DatasetReport]:
    """Give the data set of that key; where it is not there yet, ``prepare`` writes it into the folder that it is given.

    One process prepares under a file lock, the others wait for it. What a run that did not come to its end left is in the folder
    when ``prepare`` is called.
    """
    from filelock import FileLock

    folder = cache_dir() / key
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "report.json").is_file():
            unfinished = folder.with_suffix(".tmp")
            unfinished.mkdir(exist_ok=True)
            prepare(unfinished)
            shutil.rmtree(folder, ignore_errors=True)
            unfinished.rename(folder)
    return ArrowFiles(part_files(folder)), DatasetReport.load(folder / "report.json")


def digest(*parts: object) -> str:
    """Give a short text that differs where the parts' ``repr`` differ."""
    return hashlib.sha256(repr(parts).encode(errors="backslashreplace")).hexdigest()[:24]


def tokenizer_identity(tokenizer: PreTrainedTokenizerBase) -> str:
    """Give a text that changes when a tokenizer tokenises otherwise."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return digest(vocabulary, tokenizer.special_tokens_map, tokenizer.chat_template, tokenizer("").input_ids)


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Give a tokenizer's name, size and identity as JSON can hold them."""
    name = str(getattr(tokenizer, "name_or_path", "")) or type(tokenizer).__name__
    return {"name": name, "vocabulary": len(tokenizer), "identity": tokenizer_identity(tokenizer)}


def describe_template(template: Any) -> dict[str, str]:
    """Give a template's name and identity as JSON can hold them."""
    name = "tokenizer" if isinstance(template, TokenizerTemplate) else str(template.name)
    return {"name": name, "identity": template_identity(template)}


def template_identity(template: Any) -> str:
    """Give a text that changes when a template frames otherwise."""
    return digest(template.tokenizer.chat_template if isinstance(template, TokenizerTemplate) else template)


@lru_cache(maxsize=1)
def code_identity() -> str:
    """Give a text that changes when the code that turns records into tokens changes."""
    digests = []
    for package in ("xagent.chat", "xagent.data"):
        spec = find_spec(package)
        assert spec is not None and spec.submodule_search_locations is not None
        files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.py"))
        digests += [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return digest(digests)


def function_identity(function: Any) -> str:
    """Give a text that changes when a map function, its module, or what it closes over changes."""
    if isinstance(function, functools.partial):
        return digest(function_identity(function.func), _values(function.args), _values(function.keywords))
    if inspect.ismethod(function):
        return digest(function_identity(function.__func__), _values(function.__self__))
    if not inspect.isfunction(function):
        return digest(_source(type(function)), _values(function))
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    inner = [function_identity(value) if callable(value) else _values(value) for value in closed]
    return digest(function.__qualname__, _source(function), inner, _values((function.__defaults__, function.__kwdefaults__)))


def _source(thing: Any) -> str:
    """Give the text of the file in which something is defined, else its byte code."""
    try:
        file = inspect.getsourcefile(thing)
        return Path(file).read_text(encoding="utf-8") if file else repr(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return repr((code.co_code, code.co_consts, code.co_names)) if code else repr(thing)


def _values(value: Any) -> str:
    from datasets.fingerprint import Hasher

    return str(Hasher.hash(value))
