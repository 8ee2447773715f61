"""The rooms of the house stand in an order: a module knows only the rooms below its own.

All imports count, those at the top of a module, those inside functions, and those for types alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignsd.base.paths import root

PACKAGE = root() / "alignsd"
MODULES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in MODULES} - {PACKAGE})

# From the ground up. Rooms of one floor do not know each other.
FLOORS = (
    ("paper", "base"),
    ("models", "kit"),
    ("running", "teach"),
    ("collect",),
    ("choose",),
    ("reward",),
    ("select",),
    ("adapt",),
    ("compare",),
    ("figures", "miniature"),
    ("play", "beyond"),
    ("planning",),
    ("sources",),
    ("cli",),
    ("__init__", "__main__"),
)
# A room that knows fewer rooms than its floor allows.
ONLY_KNOWS = {"running": ("base", "kit"), "teach": ("base", "kit")}
# The simulated world: real code reaches it through the one module that knows both worlds.
ONLY_KNOWN_BY = {"miniature": ("sources",)}
DATA = ("presets",)  # folders of the package that hold no module
MOST = 14  # modules and folders that a reader has in sight in one room
# What a module's body may do: name things, and start when it is run as a program.
NAMES_THINGS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)
CONDITIONS = ("__name__ == '__main__'", "TYPE_CHECKING")


def name_of(path: Path) -> str:
    """Return a module's name without ``alignsd.``; ``__init__`` is named like its folder."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


NAMES = {name_of(path) for path in MODULES}


def room_of(module: str) -> str:
    return module.split(".")[0]


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a module imports, anywhere in its code."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for name in imported_names(node):
            if not name.startswith("alignsd."):
                continue
            module = name.removeprefix("alignsd.")
            while module not in NAMES and "." in module:
                module = module.rpartition(".")[0]  # the last word names a function or a class
            if module in NAMES:
                yield module


def imported_names(node: ast.AST) -> list[str]:
    """Return the full names that a statement imports; an empty list for other nodes."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where a name comes from"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


IMPORTS = {name_of(path): sorted(set(imports_of(path))) for path in MODULES}


def may_import(room: str, other: str) -> bool:
    """Return whether a module of a room may import a module of another room."""
    if room == other:
        return True
    if room in ONLY_KNOWS and other not in ONLY_KNOWS[room]:
        return False
    if other in ONLY_KNOWN_BY and room not in ONLY_KNOWN_BY[other]:
        return False
    return floor_of(other) < floor_of(room)


@pytest.mark.parametrize(
    ("room", "other", "allowed"),
    [
        ("reward", "collect", True),
        ("collect", "reward", False),
        ("models", "kit", False),
        ("running", "kit", True),
        ("running", "models", False),
        ("planning", "miniature", False),
        ("sources", "miniature", True),
    ],
)
def test_the_order_is_read_as_it_is_meant(room, other, allowed):
    assert may_import(room, other) is allowed


def test_each_room_has_a_place_in_the_order():
    declared = [room for floor in FLOORS for room in floor]
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(declared) == sorted(modules | folders)
    others = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - folders
    assert others - {"__pycache__"} == set(DATA)


@pytest.mark.parametrize("module", sorted(NAMES))
def test_a_module_knows_only_the_rooms_below(module):
    room = room_of(module)
    wrong = [name for name in IMPORTS[module] if not may_import(room, room_of(name))]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle():
    left = {module: set(names) - {module} for module, names in IMPORTS.items()}
    while True:
        imported = set().union(*left.values())
        # A module of a circle imports a module that is left, and is imported by one.
        inside = {module for module, names in left.items() if module in imported and names}
        if inside == left.keys():
            break
        left = {module: left[module] & inside for module in inside}
    assert left == {}


def test_the_package_itself_imports_no_module_at_once():
    """``import alignsd`` is quick; ``alignsd.load_clip`` imports torch when it is asked for."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    names = [name for statement in tree.body for name in imported_names(statement)]
    assert [name for name in names if name.startswith("alignsd")] == []


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_a_room_has_few_things_in_sight(path):
    modules = [file.stem for file in path.glob("*.py") if file.stem != "__init__"]
    folders = [folder.name for folder in path.iterdir() if folder.is_dir()]
    assert len(modules) + len(set(folders) - {"__pycache__"}) <= MOST


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_happens_at_import(path):
    """A module's body names things. What the call in ``name = call(...)`` does, we do not see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    acts = [ast.unparse(statement) for statement in tree.body if not names_things(statement)]
    assert acts == []


def names_things(statement: ast.stmt) -> bool:
    """Return whether a statement of a module's body is a definition, a docstring or a condition."""
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test) in CONDITIONS
    return isinstance(statement, NAMES_THINGS)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_function_changes_a_name_of_its_module(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    changed = [node.names for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert changed == []
