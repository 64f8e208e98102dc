"""What callables of a config accept, told from their signatures alone."""

from __future__ import annotations

from typing import Any

import pytest

from xagent.config.signatures import argument_names, signature_of


def call(first, second: int = 1, *more, named: str, lost: Nowhere = None, **rest):  # noqa: F821
    """Take some of everything."""


class Top:
    def __init__(self, top: int, *, low: bool = False) -> None: ...


class Middle(Top):
    def __init__(self, middle: float = 0.0, **rest: Any) -> None: ...


class Bottom(Middle):
    def __init__(self, bottom: str, **rest: Any) -> None: ...


class Silent(Middle):
    """Says nothing of its own."""


class Endless:
    def __init__(self, known: int = 0, **rest: Any) -> None: ...


class BitsAndBytesConfig(Endless):
    """Has the name of a class that uses no other keys."""


class Broken:
    def __init__(self, hidden: int) -> None: ...

    __init__.__signature__ = "none"  # type: ignore[attr-defined]


class OnBroken(Broken):
    def __init__(self, own: int, **rest: Any) -> None: ...


class MyTokenizer:
    @classmethod
    def from_pretrained(cls, *words: Any, **more: Any) -> None: ...


class MyConfig(MyTokenizer): ...


class MyModel(MyTokenizer): ...


def test_a_functions_arguments() -> None:
    found = signature_of(call)
    assert found is not None
    assert (found.names, found.required) == ({"first", "second", "named", "lost"}, ("first", "named"))
    assert (found.first, found.open, dict(found.hints)) == ("first", True, {"second": int, "named": str})
    nothing = signature_of(lambda: 0)
    assert nothing is not None and (nothing.names, nothing.required, nothing.first, nothing.open) == (set(), (), None, False)


@pytest.mark.parametrize(
    ("kind", "names", "required", "is_open"),
    [
        (Top, {"top", "low"}, ("top",), False),
        (Middle, {"middle", "top", "low"}, (), False),
        (Bottom, {"bottom", "middle", "top", "low"}, ("bottom",), False),
        (Silent, {"middle", "top", "low"}, (), False),
        (Endless, {"known"}, (), True),
        (BitsAndBytesConfig, {"known"}, (), False),
        (OnBroken, {"own"}, ("own",), True),
    ],
)
def test_what_a_class_passes_on_to_the_classes_above_it(
    kind: type, names: set[str], required: tuple[str, ...], is_open: bool
) -> None:
    found = signature_of(kind)
    assert found is not None and argument_names(kind) == names
    assert (found.names, found.required, found.open) == (names, required, is_open)


@pytest.mark.parametrize("kind", [Broken, int, 5])
def test_what_python_can_t_tell(kind: Any) -> None:
    assert signature_of(kind) is None and argument_names(kind) == frozenset()


@pytest.mark.parametrize(
    ("kind", "known", "unknown"),
    [
        (MyTokenizer, {"padding_side", "revision"}, {"attn_implementation", "return_unused_kwargs"}),
        (MyConfig, {"return_unused_kwargs", "revision"}, {"attn_implementation", "padding_side"}),
        (MyModel, {"attn_implementation", "revision"}, {"padding_side", "return_unused_kwargs"}),
    ],
)
def test_from_pretrained_takes_the_words_of_its_kind(kind: Any, known: set[str], unknown: set[str]) -> None:
    found = signature_of(kind.from_pretrained)
    assert found is not None and found.open and found.required == (found.first,) == ("pretrained_model_name_or_path",)
    assert known <= found.names and not unknown & found.names
    assert found.hints["pretrained_model_name_or_path"] is str and found.hints["local_files_only"] is bool


def test_annotations_and_defaults_of_arguments_that_reach_the_classes_above() -> None:
    found = signature_of(Bottom)
    assert found is not None
    assert dict(found.hints) == {"bottom": str, "middle": float, "top": int, "low": bool}
    assert dict(found.defaults) == {"middle": 0.0, "low": False}


def test_a_dataclasss_annotations_are_found_where_its_base_defines_them() -> None:
    from peft import LoraConfig, TaskType

    found = signature_of(LoraConfig)
    assert found is not None
    assert TaskType in found.hints["task_type"].__args__
