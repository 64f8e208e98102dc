"""Inheritance at source level: a leaf config and its bases become one flat Python source.

mmengine imports a base, with all its values computed, and only then runs the leaf: a leaf's `max_length = 4096` changes
the variable, but not the places where the base has used it already. Here the leaf's settings take the base's place in
the base's source, so they take effect everywhere; then come the leaf's other statements. A second base is laid over the
first in the same way, before the leaf. Each line of the flat source remembers the file and line it came from.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xagent.config.find import configs_dir
from xagent.errors import ConfigError


@dataclass(frozen=True)
class Line:
    """One line of source, with the file and line it came from."""

    text: str
    file: str
    number: int


@dataclass(frozen=True)
class Statement:
    """One top-level statement: its tree, its own lines, and the comment lines before it."""

    node: ast.stmt
    lines: tuple[Line, ...]
    before: tuple[Line, ...] = ()

    @property
    def name(self) -> str | None:
        """The variable that a simple assignment (`name = value`) sets, else None."""
        node = self.node
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
        if isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            return node.target.id
        return None

    @property
    def names_read(self) -> set[str]:
        """The names of variables that the statement reads."""
        return {node.id for node in ast.walk(self.node) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    @property
    def is_import(self) -> bool:
        return isinstance(self.node, (ast.Import, ast.ImportFrom))

    @property
    def is_docstring(self) -> bool:
        return isinstance(self.node, ast.Expr) and isinstance(self.node.value, ast.Constant)

    @property
    def where(self) -> str:
        return f"{self.lines[0].file}:{self.lines[0].number}"


def flatten(path: Path) -> list[Line]:
    """Return the flat source of a config file: its base with its settings in their places, then its other statements.

    Of several bases each is laid over those named before it.

    Raises:
        ConfigError: a file is missing or unreadable, has a syntax error, inherits in a circle or in a way that is not
            `with read_base(): from .base import *`, or re-assigns a setting where it could not take effect everywhere.
    """
    return _flatten(path, ())


def _flatten(path: Path, seen: tuple[Path, ...]) -> list[Line]:
    if path.resolve() in seen:
        raise ConfigError("the config inherits from itself", str(path))
    statements, rest = split(read_lines(path))
    bases = [base for statement in statements for base in _bases(statement, path)]
    if not bases:
        return [*_all_lines(statements), *rest]
    first, *others = (_flatten(base, (*seen, path.resolve())) for base in bases)
    lines = first
    for over in others:
        lines = merge(lines, split(over)[0])
    return merge(lines, [statement for statement in statements if not _is_read_base(statement)])


def read_lines(path: Path) -> list[Line]:
    """Return the lines of a config file.

    Raises:
        ConfigError: the file can't be read or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the config: {error}", str(path)) from error
    return [Line(line, str(path), number) for number, line in enumerate(text.splitlines(), 1)]


def split(lines: Sequence[Line]) -> tuple[list[Statement], list[Line]]:
    """Split source into its top-level statements, and the comment lines that are left at the end.

    Raises:
        ConfigError: a syntax error, named by its original file and line.
    """
    try:
        tree = ast.parse(join(lines))
    except (SyntaxError, ValueError) as error:
        raise _syntax_fault(error, lines) from error
    statements: list[Statement] = []
    done = 0
    for node in tree.body:
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))]) - 1
        last = node.end_lineno or node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            done = last
            continue
        if first < done:
            statements.append(Statement(node, (Line(ast.unparse(node), lines[first].file, lines[first].number),)))
            continue
        statements.append(Statement(node, tuple(lines[first:last]), tuple(lines[done:first])))
        done = last
    return _unshare(statements), list(lines[done:])


def _unshare(statements: list[Statement]) -> list[Statement]:
    """Give each of several statements on one line (`a = 1; b = 2`) a line of its own."""
    result = []
    for statement, following in zip(statements, [*statements[1:], None], strict=True):
        if following is not None and following.node.lineno == statement.node.end_lineno:
            own = Line(ast.unparse(statement.node), statement.lines[0].file, statement.lines[0].number)
            statement = Statement(statement.node, (own,), statement.before)
        result.append(statement)
    return result


def _syntax_fault(error: Exception, lines: Sequence[Line]) -> ConfigError:
    number = getattr(error, "lineno", None)
    if not number or number > len(lines):
        return ConfigError(f"{type(error).__name__}: {error}", lines[0].file if lines else None)
    line = lines[number - 1]
    return ConfigError(
        f"{type(error).__name__}: {getattr(error, 'msg', error)}\n    {line.text.strip()}", f"{line.file}:{line.number}"
    )


def join(lines: Iterable[Line]) -> str:
    """Return the text of the lines."""
    return "".join(f"{line.text}\n" for line in lines)


def _all_lines(statements: Iterable[Statement]) -> Iterator[Line]:
    for statement in statements:
        yield from statement.before
        yield from statement.lines


def _is_read_base(statement: Statement) -> bool:
    node = statement.node
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names] == ["read_base"]
    return isinstance(node, ast.With)


def _bases(statement: Statement, path: Path) -> list[Path]:
    """Return the files that a `with read_base():` block names."""
    node = statement.node
    if not isinstance(node, ast.With):
        return []
    if ast.unparse(node.items[0].context_expr) != "read_base()":
        raise ConfigError("only `with read_base():` is allowed in a config", statement.where)
    return [_base_file(inner, path, statement.where) for inner in node.body]


def _base_file(node: ast.stmt, path: Path, where: str) -> Path:
    if not isinstance(node, ast.ImportFrom) or [alias.name for alias in node.names] != ["*"] or node.module is None:
        raise ConfigError(f"a base is named by `from .._base_.name import *`, got: {ast.unparse(node)}", where)
    if node.level:
        folder = path.resolve().parents[node.level - 1]
        parts = node.module.split(".")
    elif node.module.startswith("xagent.configs."):
        folder = configs_dir()
        parts = node.module.split(".")[2:]
    else:
        raise ConfigError(f"base {node.module!r}: name it relatively (`from .base import *`) or as xagent.configs.*", where)
    base = folder.joinpath(*parts).with_suffix(".py")
    if not base.is_file():
        raise ConfigError(f"the base config {base} is not there", where)
    return base


# --- merging a leaf into its base -----------------------------------------------------------------------------------


class _Places:
    """The base's statements, with what the leaf puts in, before and after each."""

    def __init__(self, base: list[Statement], leaf: list[Statement]) -> None:
        self.base = base
        self.leaf_docstring = next((statement for statement in leaf[:1] if statement.is_docstring), None)
        self.replaced: dict[int, Statement] = {}
        self.after: dict[int, list[Statement]] = {}
        self.head: list[Statement] = []
        known = {ast.unparse(statement.node) for statement in base if statement.is_import}
        self.imports = [statement for statement in leaf if statement.is_import and ast.unparse(statement.node) not in known]

    def last_index(self, names: Iterable[str]) -> int:
        """Return the index of the last base statement that sets one of the names, or -1."""
        wanted = set(names)
        indices = [index for index, statement in enumerate(self.base) if statement.name in wanted]
        added = [index for index, extra in self.after.items() if any(statement.name in wanted for statement in extra)]
        return max([*indices, *added], default=-1)

    def put(self, setting: Statement) -> None:
        """Place one setting of the leaf where the base sets it, or, if it is computed from later ones, after those."""
        assert setting.name is not None
        own = self.last_index([setting.name])
        needed = self.last_index(setting.names_read)
        if own < 0 and needed < 0:
            self.head.append(setting)
        elif own > needed and any(statement.name == setting.name for statement in self.base):
            self._replace(setting)
        else:
            self._refuse_stale_use(setting, own, needed)
            self.after.setdefault(max(own, needed), []).append(setting)

    def _replace(self, setting: Statement) -> None:
        for index, statement in enumerate(self.base):
            if statement.name == setting.name:
                self.replaced[index] = _keep_comment(statement, setting)
        for index, extra in self.after.items():
            self.after[index] = [statement for statement in extra if statement.name != setting.name]

    def _refuse_stale_use(self, setting: Statement, own: int, needed: int) -> None:
        for between in self.base[own + 1 : needed + 1] if own >= 0 else []:
            if setting.name in between.names_read:
                raise ConfigError(
                    f"{setting.name!r} is computed from settings that the base sets later, but the base uses it before, "
                    f"at {between.where}; write the value out",
                    setting.where,
                )

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the base with the leaf's settings in their places."""
        started = False
        if self.leaf_docstring is not None:
            yield from self.leaf_docstring.lines
        elif self.base and self.base[0].is_docstring:
            yield from _all_lines(self.base[:1])
        for statement in self.imports:
            yield from statement.lines
        for index, statement in enumerate(self.base):
            if index == 0 and statement.is_docstring:
                continue
            yield from statement.before
            if not started and not statement.is_import:
                started = True
                yield from _all_lines(self.head)
            yield from self.replaced.get(index, statement).lines
            for extra in self.after.get(index, []):
                yield from extra.lines


def merge(base_lines: Sequence[Line], leaf: list[Statement]) -> list[Line]:
    """Return the base's source with the leaf's settings in their places and the leaf's other statements at the end."""
    base, rest = split(base_lines)
    places = _Places(base, leaf)
    others: list[Statement] = []
    for statement in leaf:
        if statement.is_import or statement is places.leaf_docstring:
            continue
        if statement.name is not None and not others:
            places.put(statement)
        else:
            _refuse_late_setting(statement, base, others)
            others.append(statement)
    return [*places.lines(), *rest, *_all_lines(others)]


def _refuse_late_setting(statement: Statement, base: list[Statement], others: list[Statement]) -> None:
    users = [user for user in base if statement.name is not None and statement.name in user.names_read]
    if users and any(user.name == statement.name for user in base):
        raise ConfigError(
            f"{statement.name!r} is set after other statements, where the base's use of it at {users[0].where} would not "
            f"see it; move it above {others[0].where}",
            statement.where,
        )


def _keep_comment(old: Statement, new: Statement) -> Statement:
    """Keep the comment at the end of the base's line, where the new line has none."""
    if len(old.lines) > 1 or len(new.lines) > 1 or _comment(new):
        return new
    line = new.lines[0]
    return Statement(new.node, (Line(line.text.rstrip() + _comment(old), line.file, line.number),))


def _comment(statement: Statement) -> str:
    text = statement.lines[-1].text
    if statement.node.end_col_offset is None or len(statement.lines) != 1:
        return ""
    return text.encode()[statement.node.end_col_offset :].decode().rstrip()


# --- settings given on the command line ------------------------------------------------------------------------------


def set_setting(lines: Sequence[Line], name: str, value: Any) -> list[Line] | None:
    """Return the source with every top-level `name = ...` set to `value`, or None when there is no such assignment."""
    statements, rest = split(lines)
    if not any(statement.name == name for statement in statements):
        return None
    result: list[Statement] = []
    for statement in statements:
        if statement.name == name:
            line = Line(f"{name} = {value!r}", "--cfg-options", 1)
            node = ast.parse(line.text).body[0]
            kept = _keep_comment(statement, Statement(node, (line,)))
            statement = Statement(node, kept.lines, statement.before)
        result.append(statement)
    return [*_all_lines(result), *rest]


def top_level_names(lines: Sequence[Line]) -> list[str]:
    """Return the variables that the source sets by simple assignments, in order."""
    return list(dict.fromkeys(statement.name for statement in split(lines)[0] if statement.name is not None))


def names_read(lines: Sequence[Line]) -> set[str]:
    """Return the variables that some statement of the source reads."""
    return {name for statement in split(lines)[0] for name in statement.names_read}
