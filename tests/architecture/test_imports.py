"""Who may import whom, what an import may do, and how much of it there may be."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers" / "checkout_recovery"
PACKAGE = "checkout_recovery"

RINGS = (
    # From the inside out: a module imports from its own ring and from those before it.
    ("checkout", "errors", "json_codec", "settings", "signing"),
    ("subscriptions.circuit", "subscriptions.store", "subscriptions.subscription", "subscriptions.version"),
    ("aws", "contracts", "notifications", "observability", "providers", "queues", "secrets", "tables"),
    ("dead_letter_queues", "retake"),
    (
        *("abandonment", "delivery", "erasure", "http_api", "ingest", "purchases"),
        *("repair", "subscriptions", "sweep"),
    ),
    ("wiring",),
)
FOREIGN_TO_THE_DOMAIN = {"pydantic", "phonenumbers"}
FUNCTIONS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((LAYER / PACKAGE).rglob("*.py")):
        parts = path.relative_to(LAYER).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it and for whatever purpose."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known = dict(modules())
            names |= {
                f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in known else node.module
                for alias in node.names
            }
    return names


def ring_of(module: str) -> int:
    """The innermost ring whose entry names the module most closely."""
    name = module.removeprefix(PACKAGE + ".")
    matches = [
        (len(entry), ring)
        for ring, entries in enumerate(RINGS)
        for entry in entries
        if name == entry or name.startswith(entry + ".")
    ]
    assert matches, f"{module} has no place in RINGS"
    return max(matches)[1]


def test_imports_point_inwards() -> None:
    outwards = [
        f"{module} -> {imported}"
        for module, path in modules()
        if module != PACKAGE
        for imported in imports_of(path)
        if imported.startswith(PACKAGE + ".") and ring_of(imported) > ring_of(module)
    ]
    assert outwards == []


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {
        module: {name for name in imports_of(path) if name.startswith(PACKAGE + ".") and name != module}
        for module, path in modules()
        if path.name != "__init__.py"
    }
    assert list(TopologicalSorter(graph).static_order())


def test_the_domain_knows_nothing_of_aws_http_or_logging() -> None:
    allowed = FOREIGN_TO_THE_DOMAIN | sys.stdlib_module_names | {PACKAGE}
    foreign = [
        f"{module} -> {imported}"
        for module, path in modules()
        if module.startswith(f"{PACKAGE}.checkout.")
        for imported in imports_of(path)
        if imported.partition(".")[0] not in allowed
    ]
    assert foreign == []


def test_only_wiring_makes_aws_clients() -> None:
    makers = {module for module, path in modules() if "boto3" in imports_of(path)}
    assert makers == {f"{PACKAGE}.wiring"}


IMPORT_A_FUNCTION = """
import json, os, runpy, socket, sys
import random, secrets, tempfile
def refuse(*_, **__): raise AssertionError("I/O or chance at import")
class Watched(dict):
    def _look(self, name):
        if name in OURS: raise AssertionError(f"{name} is read at import")
    def __getitem__(self, name): self._look(name); return super().__getitem__(name)
    def get(self, name, default=None): self._look(name); return super().get(name, default)
OURS = {"STACK_NAME", "CHECKOUT_TABLE", "REGISTRY_TABLE", "DELIVERY_TABLE", "RETRY_QUEUE_URL"}
import boto3, botocore.session
boto3.client = boto3.resource = boto3.Session = botocore.session.Session.create_client = refuse
socket.socket.connect = socket.getaddrinfo = refuse
os.urandom = random._urandom = random.random = refuse
os.environ = Watched(os.environ)
before = set(sys.modules)
runpy.run_path(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@functools.cache
def imported_by(function: str) -> frozenset[str]:
    result = subprocess.run(  # noqa: S603 - our own files
        [sys.executable, "-c", IMPORT_A_FUNCTION, str(ROOT / "functions" / function / "app.py")],
        env={"PYTHONPATH": str(LAYER), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return frozenset(json.loads(result.stdout))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_importing_a_function_touches_no_network_no_aws_no_settings_and_no_chance(function: str) -> None:
    assert PACKAGE in imported_by(function)


MODULES_BEYOND_BOTO3 = {
    "authorize": 40,
    "fanout": 175,
    "ingest": 225,
    "manage": 265,
    "retry": 175,
    "sweep": 20,
}
"""The import budget of each function: modules, because unlike milliseconds they are the same everywhere."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_stays_within_its_import_budget(function: str) -> None:
    assert len(imported_by(function)) <= MODULES_BEYOND_BOTO3[function]


@pytest.mark.parametrize(
    ("function", "module"),
    [
        ("authorize", "pydantic"),
        ("authorize", "aws_lambda_powertools.event_handler"),
        ("fanout", "aws_lambda_powertools.event_handler"),
        ("fanout", "phonenumbers"),
        ("ingest", "aws_lambda_powertools.event_handler"),
        ("ingest", "pycurl"),
        ("manage", "checkout_recovery.contracts"),
        ("manage", "checkout_recovery.queues"),
        ("manage", "phonenumbers"),
        ("manage", "pycurl"),
        ("retry", "aws_lambda_powertools.event_handler"),
        ("retry", "phonenumbers"),
    ],
)
def test_a_function_does_not_load_what_it_does_not_need(function: str, module: str) -> None:
    assert module not in imported_by(function)
