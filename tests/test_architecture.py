"""The shape of the tree: small files, small functions, no forbidden names, no unsafe calls, one owner of span calls."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from textwrap import dedent

import pytest

from crucible_trace_otel import record
from crucible_trace_otel.record._operation import Operation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crucible_trace_otel"
WRITTEN = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "semconv"]
ids = {"ids": lambda path: str(path.relative_to(ROOT))}


@pytest.mark.parametrize("path", WRITTEN, **ids)
def test_a_file_stays_under_400_lines(path):
    assert path.read_text().count("\n") <= 400


@pytest.mark.parametrize("path", WRITTEN, **ids)
def test_a_function_stays_under_60_lines(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, node.name


def test_no_file_has_a_name_that_says_nothing():
    names = {part for path in PACKAGE.rglob("*") for part in path.stem.strip("_").split("_")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "manager"}


@pytest.mark.parametrize("path", WRITTEN, **ids)
def test_nothing_runs_code_or_objects_found_in_data(path):
    forbidden_calls = {"eval", "exec", "compile", "__import__"}
    forbidden_modules = {"pickle", "marshal", "shelve", "dill", "xml"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in forbidden_calls, ast.unparse(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {module.split(".")[0] for module in modules} & forbidden_modules, ast.unparse(node)


@pytest.mark.parametrize("path", sorted((PACKAGE / "record").rglob("*.py")), **ids)
def test_only_operations_and_moments_touch_spans(path):
    if path.name in {"_operation.py", "_moments.py"}:
        return
    touching = {
        "start_span",
        "start_as_current_span",
        "set_attribute",
        "set_attributes",
        "add_event",
        "add_link",
        "record_exception",
        "set_status",
    }
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not called & touching


def test_span_events_are_added_in_exactly_one_line():
    lines = [line for path in WRITTEN for line in path.read_text().splitlines() if ".add_event(" in line]
    assert len(lines) == 1


@pytest.mark.parametrize("path", WRITTEN, **ids)
def test_no_attribute_name_is_spelled_out(path):
    """Names come from the generated constants, so that the registry stays the contract."""
    from crucible_trace_otel.semconv.catalogue import ATTRIBUTES

    for node in ast.walk(ast.parse(path.read_text())):
        assert not (isinstance(node, ast.Constant) and node.value in ATTRIBUTES), node.value


ROOMS = [PACKAGE / room for room in ("journal", "plan", "record", "runner", "sdk", "ship", "trace")]


@pytest.mark.parametrize("room", [*ROOMS, *(path.parent for path in (PACKAGE / "record").glob("*/__init__.py"))], **ids)
def test_everything_in_a_large_room_is_on_its_map(room):
    drawn = set(re.findall(r"\w+", ast.get_docstring(ast.parse((room / "__init__.py").read_text()))))
    inside = [*room.glob("*.py"), *(path.parent for path in room.glob("*/__init__.py"))]
    assert {path.stem for path in inside if path.stem != "__init__"} - drawn == set()


def family():
    """Every class of the operation family, with the attributes that it makes and the methods that it defines itself."""
    for found in walk_packages(record.__path__, f"{record.__name__}."):
        for kind in vars(import_module(found.name)).values():
            if isinstance(kind, type) and issubclass(kind, Operation) and kind.__module__ == found.name:
                (tree,) = ast.parse(dedent(inspect.getsource(kind))).body
                methods = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
                makers = [methods[name] for name in ("__init__", "_prepare") if name in methods]
                written = (node for maker in makers for node in ast.walk(maker) if isinstance(node, ast.Attribute))
                made = {
                    one.attr for one in written if isinstance(one.ctx, ast.Store) and ast.unparse(one.value) == "self"
                }
                yield kind, made, set(methods)


def test_no_two_classes_of_an_operation_make_the_same_attribute_by_chance():
    """They share one instance: the name of an attribute is taken for all of them."""
    on_purpose = {"_details", "_inherits", "_span_name"}
    every = {kind: (made, methods) for kind, made, methods in family()}
    assert len(every) > 30
    for kind, (made, methods) in every.items():
        for base in kind.__mro__[1:]:
            others, inherited = every.get(base, ((), ()))
            assert not made & set(others) - on_purpose, (kind, base)
            assert not made & set(inherited) | methods & set(others), (kind, base)
