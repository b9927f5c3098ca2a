"""`demo`: the main job on real input, from nothing, with a report at the end."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearedge.cli import options as opt
from nearedge.cli.console import only_data_on_stdout, say, show, show_json, show_table

if TYPE_CHECKING:
    from nearedge.cli.demo_report import Findings
    from nearedge.cli.demo_steps import Learned, Task
    from nearedge.cli.watching import Ended
    from nearedge.settings import Settings

_DIGITS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def demo(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=opt.given_path,
            metavar="<path>",
            help="Page to write; default: in the home.",
        ),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Compute oxides with FEFF10, learn from them, predict another, and write a report."""
    started = time.monotonic()
    from nearedge.cli.demo_report import demo_report, gather
    from nearedge.cli.demo_steps import tasks
    from nearedge.cli.files import refuse_folder, sentences, written_whole
    from nearedge.plots.report import report_html
    from nearedge.settings import get_settings
    from nearedge.store.spectra_store import SpectraStore

    settings = get_settings()
    target = output or settings.home / "reports" / "demo.html"
    refuse_folder(target)
    with sentences(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with only_data_on_stdout():
        wanted = tasks()
        done = _compute_and_learn(settings, wanted)
        findings = gather(
            SpectraStore.from_settings(settings),
            wanted,
            done.learned,
            new=done.new,
            known=done.known,
            wall_seconds=time.monotonic() - started,
            notices=done.notices,
        )
        if findings.spectra:
            with written_whole(target) as draft:
                draft.write_text(report_html(demo_report(findings)), encoding="utf-8")
    if findings.spectra:
        _finish(findings, target, done.failures, as_json=as_json)
    if done.interrupted:
        say("Interrupted: `nearedge demo` goes on where it stopped.")
        raise typer.Exit(130)
    if done.failures or len(done.learned) < len(wanted):
        say("Error: not everything succeeded; `nearedge status` shows why.", style="red")
        raise typer.Exit(1)


@dataclass
class _Done:
    """What the demo has done: numbers of sites, models, and what went wrong."""

    new: int = 0
    known: int = 0
    learned: list[Learned] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    interrupted: bool = False


def _compute_and_learn(settings: Settings, wanted: list[Task]) -> _Done:
    from nearedge.cli.database_state import make_ready
    from nearedge.cli.demo_steps import learn, refuse_a_busy_queue, submit
    from nearedge.cli.running import work_the_queue
    from nearedge.cli.watching import live_display

    done = _Done()

    def notice(text: str) -> None:
        done.notices.append(text)
        say(f"      {text}", style="yellow")

    _step(1, "database", make_ready(settings).detail)
    refuse_a_busy_queue(settings)
    report = submit(settings, wanted)
    done.known = report.known
    to_do = report.new + report.queued
    _step(2, "spectra", f"{to_do} sites to compute with FEFF10, {report.known} known already")
    worked = work_the_queue(settings, settings.workers, live_display, tell=_tell)
    done.new, done.interrupted = worked.sites, worked.interrupted
    done.failures |= worked.failures
    if done.interrupted:
        return done
    _step(3, "models", "features, data set, kernel model, prediction for each absorber")
    done.learned, learning = learn(settings, wanted, live_display, tell=_tell, notice=notice)
    if learning is None:
        say("      known already: the same spectra were learned from before")
    else:
        done.failures |= learning.failures
        done.interrupted = learning.interrupted
    return done


def _step(number: int, what: str, detail: str) -> None:
    say(f"[{number}/3] {what}: {detail}", style="bold")


def _tell(job: Ended) -> None:
    """Say that a job has ended; on a terminal the live display says it."""
    if not sys.stderr.isatty():
        seconds = "" if job.cpu_seconds is None else f", {job.cpu_seconds:.1f} CPU s"
        say(f"      {job.label}: {job.state}{seconds}")


def _spectrum(
    name: str, formula: str, edge: str, sites: str, seconds: str, state: str
) -> dict[str, object]:
    return {
        "structure": name,
        "formula": formula.translate(_DIGITS),
        "edge": edge,
        "sites": int(sites),
        "cpu_seconds": float(seconds),
        "state": state,
    }


def _finish(findings: Findings, target: Path, failures: dict[str, int], *, as_json: bool) -> None:
    from nearedge.cli import demo_report

    spectra, models, predictions = (
        demo_report.spectra_rows(findings),
        demo_report.model_rows(findings),
        demo_report.prediction_rows(findings),
    )
    columns = demo_report.SPECTRA_COLUMNS
    if as_json:
        show_json(
            {
                "report": str(target),
                "new": findings.new,
                "known": findings.known,
                "failures": failures,
                "wall_seconds": findings.wall_seconds,
                "spectra": [_spectrum(*row) for row in spectra],
                "models": [each.outcome.model_dump(mode="json") for each in findings.learned],
                "predictions": [
                    answer.model_dump(mode="json")
                    for each in findings.learned
                    for answer in each.predictions
                ],
            }
        )
        return
    show_table(columns, spectra, numbers="Different sites,CPU s")
    show("")
    show_table(demo_report.MODEL_COLUMNS, models, numbers="Sites learned")
    show("")
    show_table(demo_report.PREDICTION_COLUMNS, predictions, numbers="Peak (eV)")
    show("")
    if not findings.new and findings.known:
        show("Nothing was computed twice: every site was known.")
    show(
        f"{findings.new} sites computed, {findings.known} known, in "
        f"{findings.wall_seconds:.0f} s. Report: {target}"
    )
