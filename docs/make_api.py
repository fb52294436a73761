"""Pages of the reference that are made from the package: its docstrings and its commands."""
# ruff: noqa: INP001

from __future__ import annotations

import collections.abc
import enum
import inspect
import io
import re
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import griffe
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cloudburst.cli.app import app, run

MAX_LINE = 88
"""Maximum number of characters of a line in a signature, so that it fits into the page."""
COMMANDS = "commands"
"""Name of the page with the help of all commands."""


class Reference:
    """Pages of the reference, by the names that ``[api]`` of ``zensical.toml`` lists for each."""

    def __init__(self, pages: Mapping[str, Mapping[str, Any]]) -> None:
        self._pages = {page: {**content, "names": _all(content)} for page, content in pages.items()}
        self._places = {
            name.rpartition(".")[2]: (page, _value(name))
            for page, content in reversed(self._pages.items())
            for name in content["names"]
        }
        self._owner = ""  # the class that is described

    def write(self, folder: Path) -> None:
        """Write all pages into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for page, content in self._pages.items():
            lines = [f"# {content['title']}", "", *self._introduction(content)]
            for name in content["names"]:
                lines += self._describe(name, content.get("without", ()))
            (folder / f"{page}.md").write_text("\n".join(lines), "utf-8")
        (folder / f"{COMMANDS}.md").write_text(commands_page(), "utf-8")

    def sources(self) -> dict[str, str]:
        """Return the page that describes the contents of each module, by its path."""
        found = dict[str, str]()
        for page, content in self._pages.items():
            for name in content["names"]:
                module = getattr(_value(name), "__module__", "")
                if module.startswith("cloudburst."):
                    found.setdefault(str(import_module(module).__file__), page)
        return found

    def _introduction(self, content: Mapping[str, Any]) -> Iterator[str]:
        module = content.get("module")
        text = inspect.getdoc(import_module(module)) if module else content.get("text")
        yield from self._text(text or "")

    def _describe(self, name: str, without: Iterable[str]) -> Iterator[str]:
        value = _value(name)
        short = name.rpartition(".")[2]
        self._owner = short if isinstance(value, type) else ""
        yield from (f"## {short}", "")
        if isinstance(value, type):
            yield from self._describe_class(value, short, without)
        elif callable(value) and not typing.get_origin(value):
            yield from self._describe_function(value, short)
        else:
            if get_origin(value):
                kind = _type_text(value).replace("`", "")
                yield from (f"```python\n{short} = {kind}\n```", "")
            yield from self._text(_text_below(name))

    def _describe_class(self, cls: type[Any], name: str, without: Iterable[str]) -> Iterator[str]:
        is_model = issubclass(cls, BaseModel | enum.Enum | Exception) or is_dataclass(cls)
        if not is_model and "__init__" in vars(cls) and f"{name}()" not in without:
            yield from (f"```python\n{_signature(cls, name)}\n```", "")
        yield from self._text(inspect.getdoc(cls) or "")
        if issubclass(cls, enum.Enum):
            texts = self._attribute_texts(cls)
            values = [(one.name, _value_text(one.value)) for one in cls]
            yield from _table(
                ("name", "value", "meaning"),
                [(f"`{one}`", value, texts.get(one, "")) for one, value in values],
            )
            return
        rows = [
            (f"`{field}`", kind, default, self._linked(text))
            for field, (kind, default, text) in self._fields(cls).items()
            if f"{name}.{field}" not in without
        ]
        if any(default for _, _, default, _ in rows):
            yield from _table(("name", "value", "default", "meaning"), rows)
        else:
            yield from _table(("name", "value", "meaning"), [(a, b, d) for a, b, _, d in rows])
        for member, method in _methods(cls):
            if f"{name}.{member}" not in without:
                yield from (f"### {name}.{member}", "")
                yield from self._describe_function(method, member)

    def _describe_function(self, value: Any, name: str) -> Iterator[str]:
        yield from (f"```python\n{_signature(value, name)}\n```", "")
        yield from self._text(inspect.getdoc(value) or "")

    def _fields(self, cls: type[Any]) -> dict[str, tuple[str, str, str]]:
        """Return kind of value, default and meaning of each attribute that has a docstring."""
        texts = self._attribute_texts(cls)
        hints = _hints(cls)
        models = cls.model_fields if issubclass(cls, BaseModel) else {}
        found = {}
        for name in {**models, **texts}:
            text = texts.get(name, "")
            kind = _type_text(hints[name]) if name in hints else ""
            default = _defaults(cls).get(name, "")
            if info := models.get(name):
                if info.description and " ".join(info.description.split()) != text:
                    kind = info.description
                if not info.is_required():
                    value = info.get_default(call_default_factory=True)
                    default = "" if value is PydanticUndefined else _value_text(value)
            found[name] = (kind, default, text)
        for base in reversed(_own_bases(cls)):
            for name, member in vars(base).items():
                if isinstance(member, property) and not name.startswith("_") and member.__doc__:
                    kind = _hints(member.fget).get("return", "")
                    found[name] = (_type_text(kind), "", inspect.getdoc(member) or "")
        return found

    def _attribute_texts(self, cls: type[Any]) -> dict[str, str]:
        """Return the docstring of each attribute of a class and of its bases in the package."""
        found: dict[str, str] = {}
        for base in reversed(_own_bases(cls)):
            members = _module(base.__module__).members[base.__name__].members
            for name, member in members.items():
                if member.is_attribute and member.docstring and not name.startswith("_"):
                    found[name] = " ".join(member.docstring.value.split())
        return found

    def _text(self, docstring: str) -> Iterator[str]:
        """Yield the parts of a docstring in Google's style as Markdown."""
        for section in griffe.Docstring(docstring).parse("google", warnings=False):
            if section.kind is griffe.DocstringSectionKind.text:
                yield from (self._linked(section.value), "")
            else:
                yield from (f"**{section.kind.value.capitalize()}**", "")
                for item in section.value:
                    name = getattr(item, "name", None) or item.annotation
                    text = " ".join(item.description.split())
                    yield f"- `{name}`: {self._linked(text)}"
                yield ""

    def _linked(self, text: str) -> str:
        """Return a text in which the names of the reference are links."""

        def link(match: re.Match[str]) -> str:
            name = match.group(1)
            owner, _, member = name.removeprefix("cloudburst.").partition(".")
            if not member and hasattr(self._places.get(self._owner, ("", None))[1], owner):
                owner, member = self._owner, owner
            if owner not in self._places:
                return f"`{name}`"
            page, value = self._places[owner]
            is_method = inspect.isfunction(getattr(value, member, None))
            anchor = f"{owner}{member if is_method else ''}".lower()
            return f"[`{name}`]({page}.md#{anchor})"

        text = re.sub(r"(?m)(?:^(?:>>>|\.\.\.) .*\n?)+", _example, text)
        text = re.sub(r"(?m)^( *)\* (\w+) +(.*)", r"\1\1* `\2`: \3", text)
        text = re.sub(r": \(?(also \w+|retryable)\)? +", r" (\1): ", text)
        text = re.sub(r"(?m)^    (\w+Error.*?):", r"- \1:", text)
        text = re.sub(r"(?m)^(Raises.*:)$", r"\1\n", text)
        return re.sub(r"(?<!`)`([\w.]+)`(?!`)", link, text)


def _example(match: re.Match[str]) -> str:
    lines = (line[4:].partition("  # doctest")[0] for line in match.group().splitlines())
    return "\n".join(("```python", *lines, "```", ""))


@cache
def _module(name: str) -> griffe.Module:
    path = Path(str(import_module(name).__file__))
    return griffe.visit(name, filepath=path, code=path.read_text("utf-8"))


def _text_below(name: str) -> str:
    """Return the docstring below an attribute of a module, which may have imported it."""
    module, _, attribute = name.rpartition(".")
    member = _module(module).members[attribute]
    if isinstance(member, griffe.Alias):
        return _text_below(member.target_path)
    return member.docstring.value if member.docstring else ""


def _all(content: Mapping[str, Any]) -> list[str]:
    """Return the names of a page, where ``module.*`` stands for the classes of a module."""
    names = list[str]()
    for name in content["names"]:
        module = name.removesuffix(".*")
        if module == name:
            names.append(name)
        else:
            classes = vars(import_module(module)).items()
            names += [
                f"{module}.{key}"
                for key, value in classes
                if not key.startswith("_") and getattr(value, "__module__", "") == module
                if isinstance(value, type)
            ]
    return names


def _value(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _hints(value: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(value)
    except (NameError, TypeError):  # a name that is imported for type checkers only
        return getattr(value, "__annotations__", {})


def _defaults(cls: type[Any]) -> dict[str, str]:
    if not is_dataclass(cls):
        return {}
    return {
        field.name: _value_text(field.default)
        for field in fields(cls)
        if field.default is not MISSING
    }


def _own_bases(cls: type[Any]) -> list[type[Any]]:
    return [base for base in cls.__mro__ if base.__module__.startswith("cloudburst.")]


def _methods(cls: type[Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    for base in reversed(_own_bases(cls)):
        for name, member in vars(base).items():
            method = getattr(member, "__func__", member)
            is_ours = getattr(method, "__module__", "").startswith("cloudburst.")
            if not name.startswith("_") and inspect.isfunction(method) and is_ours:
                yield name, method


def _signature(value: Any, name: str) -> str:
    """Return the head of a function or class, with a line for each parameter if it is long."""
    signature = inspect.signature(value)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    texts = list[str]()
    for index, one in enumerate(parameters):
        if one.kind is one.KEYWORD_ONLY and (
            index == 0 or parameters[index - 1].kind is one.POSITIONAL_OR_KEYWORD
        ):
            texts.append("*")
        text = re.sub(r": '([^']*)'", r": \1", str(one))
        text = re.sub(r"<(\w+\.\w+): .*?>", r"\1", text)  # a value of an enumeration
        texts.append(re.sub(r"<function .*>", "…", text))
    result = signature.return_annotation
    end = "" if isinstance(value, type) or result is signature.empty else f" -> {result}"
    head = "async def " if inspect.iscoroutinefunction(value) else "def "
    head = f"{'class ' if isinstance(value, type) else head}{name}"
    line = f"{head}({', '.join(texts)}){end}"
    if len(line) <= MAX_LINE:
        return line
    return "\n".join((f"{head}(", *(f"    {text}," for text in texts), f"){end}"))


def _type_text(kind: Any) -> str:
    """Return the type of a value as words and names."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_type_text, arguments)))
    if origin is Literal:
        return ", ".join(map(_value_text, arguments))
    if origin not in (None, collections.abc.Callable) and arguments:
        inner = ", ".join(
            _type_text(one).replace("`", "") if one is not ... else "…"
            for one in (arguments if not isinstance(arguments[0], list) else arguments[1:])
        )
        return f"`{origin.__name__}[{inner}]`"
    name = "None" if kind is type(None) else getattr(kind, "__name__", kind)
    return f"`{name}`"


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return f'`"{value}"`'
    text = repr(value)
    return f"`{text}`" if len(text) < MAX_LINE and " at 0x" not in text else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    if cells:
        yield f"| {' | '.join(head)} |"
        yield "|" + "---|" * len(head)
        yield from (f"| {' | '.join(row)} |" for row in cells)
        yield ""


def commands_page() -> str:
    """Return the page with the help of each command, as the terminal shows it."""

    def help_of(*words: str) -> str:
        with redirect_stdout(io.StringIO()) as output:
            run([*words, "--help"])
        lines = (line.rstrip() for line in output.getvalue().splitlines())
        return f"```text\n{textwrap.dedent(chr(10).join(lines)).strip()}\n```\n"

    names = [name for name in app if not name.startswith("-")]
    parts = ["# Commands\n", "The help of each command, as a terminal shows it.\n", help_of()]
    parts += [f"## {name}\n\n{help_of(name)}" for name in sorted(names)]
    parts += [f"## Options for the look\n\n{help_of('--help-looks')}"]
    return "\n".join(parts)
