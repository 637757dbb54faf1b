"""What every command has: which stack, which AWS, and whether a machine reads along."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from recovery import stack
from recovery.api import Api
from recovery.failure import Failure
from recovery.show import Screen

StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", help="The stack's name. [default: RECOVERY_STACK, the local cloud, or checkout-recovery]"
    ),
]
Region = Annotated[str | None, typer.Option(help="The stack's AWS region.")]
Profile = Annotated[str | None, typer.Option(help="The profile of AWS's configuration to use.")]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for machines.")]

_OPTIONS = {
    "stack_name": (StackName, None),
    "region": (Region, None),
    "profile": (Profile, None),
    "as_json": (AsJson, False),
}


@dataclass
class Session:
    """One run of a command."""

    screen: Screen
    stack_name: str | None = None
    region: str | None = None
    profile: str | None = None

    @functools.cached_property
    def api(self) -> Api:
        """The stack's API, found when it is first asked.

        Raises:
            Failure: there is no such stack.
        """
        return Api(stack.find(self.stack_name, self.region, self.profile))

    def close(self) -> None:
        if "api" in self.__dict__:
            self.api.__exit__(None, None, None)


Command = Callable[..., None]


def group(help_text: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="markdown")


def command(app: typer.Typer, name: str, *, examples: str) -> Callable[[Command], Command]:
    """Registers a command whose first parameter is its `Session`, and gives it the options that all have.

    A `Failure` in it is told, and ends it with exit code 1.
    """

    def register(function: Command) -> Command:
        @functools.wraps(function)
        def run(
            *, as_json: bool, stack_name: str | None, region: str | None, profile: str | None, **given: Any
        ) -> None:
            screen = Screen(as_json=as_json)
            opened = Session(screen, stack_name, region, profile)
            try:
                function(opened, **given)
            except Failure as failure:
                screen.failure(failure)
                raise typer.Exit(1) from None
            finally:
                opened.close()

        parameters = _parameters(function)
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads it
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=_help(function, examples))(run)
        return function

    return register


def _parameters(function: Command) -> list[inspect.Parameter]:
    """A command's own parameters without the session, and those that all have."""
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for option, (kind, default) in _OPTIONS.items()
    ]
    return [*(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own), *shared]


def _help(function: Command, examples: str) -> str:
    lines = [f"- `{line}`" for line in examples.strip().splitlines()]
    return "\n".join([inspect.getdoc(function) or "", "", "**Examples:**", "", *lines])
