"""The command `nearedge`: its verbs, and how errors reach the user."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nearedge import __version__
from nearedge.cli import (
    benchmarking,
    blobs,
    converging,
    data,
    database,
    datasets,
    demo,
    failing,
    learn,
    learning,
    models,
    monitoring,
    queueing,
    reconciling,
    simulate,
    styles,
    training,
)
from nearedge.cli.console import say
from nearedge.errors import NearEdgeError

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM


class OneSentenceErrors(TyperGroup):
    """A group of commands whose errors are one sentence each, unless `--debug` asks for more."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Accept `--debug` after the verb too: that is where people add it."""
        ours = args[: args.index("--")] if "--" in args else args
        if "--debug" in ours[1:]:
            place = ours.index("--debug", 1)
            args = ["--debug", *args[:place], *args[place + 1 :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the verb; say what went wrong in one sentence and fail."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Interrupted; the same command can be given again at any time.")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error, file=sys.stderr)
            say(f"Error: {sentence}", style="red")
            raise typer.Exit(FAILED) from None


def _sentence(error: Exception) -> str | None:
    """Return what to tell the user, or None for what click and typer tell themselves."""
    if isinstance(error, BrokenPipeError) or type(error).__module__.startswith(("click", "typer")):
        return None
    if isinstance(error, NearEdgeError):
        return str(error)
    # Only a verb that used the database has imported its driver; asking costs no import.
    driver = sys.modules.get("pymongo.errors")
    if driver is not None and isinstance(error, driver.PyMongoError):
        first = str(error).split(", Timeout:", maxsplit=1)[0]
        return f"The database failed: {first}. `nearedge status` says whether it is up."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    return (
        f"Unexpected {type(error).__name__}: {error}. This is a defect of nearedge; run it again "
        "with --debug and report what it prints."
    )


app = typer.Typer(
    cls=OneSentenceErrors,
    name="nearedge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nearedge {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Build databases of simulated X-ray absorption spectra, and learn from them."""
    if not debug:
        warnings.simplefilter("ignore")


_START = "Start here"
_SIMULATE = "Simulate"
_FIND = "Find and show"
_LEARN = "Learn"

app.command(rich_help_panel=_START)(demo.demo)
app.command(rich_help_panel=_START)(database.up)
app.command(rich_help_panel=_START)(database.down)
app.command(rich_help_panel=_START)(database.status)
app.command(rich_help_panel=_START)(database.doctor)
app.command(rich_help_panel=_SIMULATE)(simulate.submit)
app.command(rich_help_panel=_SIMULATE)(simulate.run)
app.command(rich_help_panel=_SIMULATE)(queueing.queue)
app.command(rich_help_panel=_SIMULATE)(reconciling.reconcile)
app.command(rich_help_panel=_SIMULATE)(monitoring.watch)
app.command(rich_help_panel=_SIMULATE)(failing.failures)
app.command(rich_help_panel=_SIMULATE)(failing.rerun)
app.command(rich_help_panel=_SIMULATE)(failing.clean)
app.command(rich_help_panel=_SIMULATE)(simulate.ingest)
app.command(rich_help_panel=_SIMULATE)(benchmarking.benchmark)
app.command(rich_help_panel=_SIMULATE)(converging.converge)
app.command(rich_help_panel=_FIND)(data.query)
app.command(rich_help_panel=_FIND)(data.plot)
app.command(rich_help_panel=_FIND)(data.export)
app.add_typer(blobs.app, name="blobs", rich_help_panel=_FIND)
app.add_typer(datasets.app, name="dataset", rich_help_panel=_LEARN)
app.command(rich_help_panel=_LEARN)(learning.learn)
app.command(rich_help_panel=_LEARN)(training.train)
app.command(rich_help_panel=_LEARN)(training.finetune)
app.command(rich_help_panel=_LEARN)(training.search)
app.command(rich_help_panel=_LEARN)(learn.evaluate)
app.command(rich_help_panel=_LEARN)(learn.predict)
app.command(rich_help_panel=_LEARN)(learn.featurize)
app.add_typer(models.app, name="models", rich_help_panel=_LEARN)
app.add_typer(styles.app, name="styles", rich_help_panel=_LEARN)


def _open_closed_streams() -> None:
    """Let what a caller has closed lead nowhere.

    Otherwise the next file or connection to be opened would be standard output, and what is printed
    would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


def main() -> None:
    """Run the command with the arguments of this process."""
    _open_closed_streams()
    # As an exception, so that half-written files are taken away again.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except OSError as error:  # from what prints before a verb begins, such as --version
        say(f"Error: {_sentence(error)}", style="red")
        sys.exit(FAILED)
