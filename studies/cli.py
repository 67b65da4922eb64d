"""The ``sofim`` command. Heavy packages are imported by the commands that need them, so that help is quick."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click

from search_spaces.errors import UserError
from studies import modules
from studies.called import STORAGE_VARIABLE, called, command_line, when_called
from studies.commands.options import (
    FILE,
    OUT_DIRECTORY,
    OUT_FILE,
    custom_optimizers_option,
    data_option,
    in_seconds,
    recommendation_options,
    run_options,
    save_options,
    seeds_option,
    split,
    storage_again,
    storage_option,
    whole_run_options,
)
from studies.commands.screen import make_console, standard_streams, verbatim
from studies.commands.typed import NotSavedError, as_typed, hide_title, how_to_go_on, how_to_save

_LIBRARIES = (
    r"(optuna|seaborn|matplotlib|pandas|sklearn|scipy|numpy|joblib|sqlalchemy|ray|torch|mlflow|wandb|trackio)\b"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process: 0 done, 2 a mistake of the user's, 130 interrupted."""
    typed = as_typed(sys.argv[1:] if arguments is None else arguments)
    hidden = hide_title(typed)
    modules.look_here_last()
    with standard_streams(_complain) as end, warnings.catch_warnings():
        if not sys.warnoptions:  # what a library warns its programmers of is nothing that a person can mend
            warnings.filterwarnings("ignore", module=_LIBRARIES)
        if not hidden:
            _complain(f"ps shows the password of this command while it runs; put the URL in {STORAGE_VARIABLE} instead")
        code = _run(typed)
        sys.exit(end() or code)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = sofim.main(args=list(arguments), prog_name=shlex.join(called()), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else shlex.join(called())
        _complain(f"{error.format_message().rstrip('.')}; see: {command} --help")
        return 2
    except UserError as error:
        _complain(f"{error}{how_to_save(arguments) if isinstance(error, NotSavedError) else ''}")
        return 2
    except UnicodeEncodeError as error:
        letters = error.object[error.start : error.end]
        if sys.getfilesystemencoding() == "utf-8" and not any(letters in part for part in arguments):
            raise
        _complain(f"'{letters}': cannot be part of a name in this locale; set LC_ALL=C.UTF-8, or give another name")
        return 2
    except (KeyboardInterrupt, click.Abort):
        # click has ended the line of the ^C
        click.echo(f"sofim: interrupted{how_to_go_on(arguments)}", file=sys.stderr)
        return 130


def _complain(message: str) -> None:
    """Print one line to standard error, whatever control characters are in the names that people gave to things."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    click.echo(f"sofim: {line}", file=sys.stderr)


class _Commands(click.Group):
    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(context, arguments)
        if command is export and "--evaluate" in rest:
            return name, _export_evaluated(), [part for part in rest if part != "--evaluate"]
        return name, command, rest


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="sofim-studies")
@click.pass_context
def sofim(context: click.Context) -> None:
    """Which optimizer, with which hyperparameters, and how sure are we?"""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), file=sys.stdout)


@sofim.command()
@click.argument("campaign")
@storage_option
@click.option("--trials", type=int, help="Trials per study, instead of the campaign's.")
@click.option("--replicates", type=int, help="Searches of each, instead of the campaign's; a verdict takes 3.")
@click.option(
    "--optimizers",
    callback=split,
    metavar="A,B",
    help="These optimizers instead of the campaign's; with --extend, beside them.",
)
@custom_optimizers_option
@click.option(
    "--workloads",
    callback=split,
    metavar="A,B",
    help="These workloads instead of the campaign's; with --extend, beside them.",
)
@click.option(
    "--workload", "own", multiple=True, metavar="MODULE:FACTORY", help="Your own workload, instead of the campaign's."
)
@click.option("--name", help="Another name for this campaign in the storage.")
@click.option("--seed", type=int, help="Seed of configurations, weights and data order.")
@click.option(
    "--from",
    "start",
    type=FILE,
    metavar="FILE",
    help="Begin with what sofim export wrote there, in TOML.",
)
@data_option
@run_options
@click.option(
    "--budget",
    callback=in_seconds,
    metavar="TIME",
    help="End the search after this time (2h, 30min), that of earlier launches included; all studies are cut evenly.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="N",
    help="A study ends when its best value has not improved in N trials.",
)
@click.option(
    "--extend",
    is_flag=True,
    help="Add trials, optimizers or workloads to the campaign in the storage, or widen ranges.",
)
@click.option("--dry-run", is_flag=True, help="Print what would run and what it would cost, and stop.")
@click.option("--confirm", "then_confirm", is_flag=True, help="Confirm the winners afterwards, as sofim confirm does.")
def launch(**options: Any) -> None:
    """Tune: run CAMPAIGN, or what is left of it.

    CAMPAIGN is a preset (quickstart, modern, fashion, cifar, atlas, atlas-rho, atlas-sensitivity, atlas-others, paper),
    a TOML file, or the name of a campaign in the storage.
    """
    from studies.commands.launch import launch_campaign

    launch_campaign(**options)


@sofim.command()
@click.argument("campaign")
@storage_option
@seeds_option(None, "Fresh seeds for each winner; default: 3 where searches were repeated, else 10.")
@click.option(
    "--top",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Confirm the best N trials of each study.",
)
@click.option("--default", is_flag=True, help="Also run the untuned default, once for each optimizer and workload.")
@click.option(
    "--ablation", is_flag=True, help="Run the default, and each step from it to the winner, one change after the other."
)
@click.option("--anyway", is_flag=True, help="Confirm what is there, though trials of the campaign are missing.")
@save_options
@data_option
@whole_run_options
def confirm(**options: Any) -> None:
    """Confirm: train the winners of CAMPAIGN on fresh seeds and test them, or what is left of that.

    CAMPAIGN has been tuned; it is confirmed as it is in the storage. Run it again with more --seeds to add to them.
    """
    from studies.commands.confirm import confirm_campaign

    confirm_campaign(**options)


@sofim.command()
@click.argument("workload")
@click.option("--budget", required=True, metavar="TIME|TRIALS", help="1h, 30min, 90s; a plain number counts trials.")
@click.option(
    "--optimizers",
    default="portfolio,sofim,sgd,adamw",
    show_default=True,
    metavar="A,B",
    help="Optimizers to choose from; portfolio: the best in turn on the project's workloads; all: every one.",
)
@custom_optimizers_option
@click.option("--name", help="Name of the search in the storage; default: tune-WORKLOAD.")
@storage_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of configurations, weights and data order.")
@data_option
@click.option("--epochs", type=int, metavar="N", help="Epochs of a trial, instead of the workload's.")
@click.option(
    "--schedule",
    default="constant",
    show_default=True,
    metavar="NAME",
    help="Of the learning rate: the one that you will train with, such as cosine or cosine+warmup.",
)
@seeds_option(10, "Fresh seeds at the end.")
@save_options
@run_options
def tune(**options: Any) -> None:
    """Find the best optimizer for WORKLOAD and its configuration within a budget, and confirm it on fresh seeds.

    WORKLOAD is one of sofim list, or your own as package.module:factory. A time includes the confirmation,
    and the start up to a fifth of it.
    """
    from studies.commands.tune import tune_workload

    tune_workload(began=when_called(), **options)


@sofim.command()
@click.argument("campaign", required=False)
@storage_option
def status(campaign: str | None, storage: str) -> None:
    """Show how far campaigns, or CAMPAIGN by its name or TOML file, are, at any time, also while a driver runs."""
    from studies.commands.status import show_status

    for line in show_status(campaign, storage):
        _complain(line)


@sofim.command()
@click.argument("campaign", required=False)
@click.option("--study", metavar="NAME", help="One study instead, also one that another program made.")
@click.option(
    "--objective",
    type=click.IntRange(0),
    metavar="N",
    help="Of a study of several objectives this one, counted from 0 as in Optuna's values[N].",
)
@storage_option
@click.option("--out", type=OUT_DIRECTORY, metavar="DIR", help="Default: reports/NAME.")
@click.option("--page-only", is_flag=True, help="One file with all figures in it, and no files beside it.")
@click.option("--publish", is_flag=True, help="Put the findings on the studies as notes in Optuna's dashboard too.")
@click.option(
    "--stopped",
    type=click.Choice(["median-gain", "highest-common-epoch"]),
    default="median-gain",
    show_default=True,
    help="How pruned and diverged trials are valued.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the resampling behind the intervals."
)
@click.option("--about", metavar="KEY", help="The optimizer that is set against all others; default: the first.")
def report(**options: Any) -> None:
    """Say which optimizer is better and how sensitive each is to its hyperparameters: a page, figures and tables.

    CAMPAIGN is the name of a campaign in the storage, or the preset or TOML file that it was launched from.
    """
    from studies.commands.report import make_report

    make_report(**options)


@sofim.command()
@recommendation_options
@seeds_option(3, "Fresh seeds to evaluate on.")
@data_option
@run_options
def evaluate(**options: Any) -> None:
    """Evaluate: run every recommended configuration on all workloads of CAMPAIGN, on fresh seeds.

    CAMPAIGN has been tuned. sofim export then tells how good each recommendation was in these runs; without them it
    can only predict that.

    Beside what is recommended of sgd and adamw runs what people type who tune nothing: SGD(lr=0.1, momentum=0.9) and
    AdamW().
    """
    from studies.commands.evaluate import evaluate_campaigns

    evaluate_campaigns(**options)


@sofim.command()
@recommendation_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json", "python", "yaml", "table"]),
    help="What is printed. Default: by the ending of --out; a table on a terminal; else toml.",
)
@click.option("--out", type=OUT_FILE, metavar="FILE", help="Into a file instead.")
def export(**options: Any) -> None:
    """Print recommended hyperparameters: per workload, across workloads, and which to try in turn.

    CAMPAIGN is the name of a campaign in the storage, or the preset or TOML file that it was launched from.
    """
    from studies.commands.export import export_campaigns

    export_campaigns(**options)


def _export_evaluated() -> click.Command:
    """Return ``export --evaluate`` of the last release: `evaluate`, and then `export` reads its runs."""
    options = {option.name: option for command in (evaluate, export) for option in command.params}

    @click.pass_context
    def both(context: click.Context, /, **given: Any) -> None:
        with redirect_stdout(sys.stderr):  # standard output is for what is exported
            context.invoke(evaluate, **{str(option.name): given[str(option.name)] for option in evaluate.params})
            click.echo(f"export --evaluate is now: {command_line('evaluate')}; export reads its runs")
        context.invoke(export, **{str(option.name): given[str(option.name)] for option in export.params})

    return click.Command("export", params=list(options.values()), callback=both)


@sofim.command()
@click.argument("names", nargs=-1, metavar="[OPTIMIZER]...")
@click.option("--campaign", metavar="CAMPAIGN", help="A TOML file with tables of your own optimizers, or a preset.")
def check(names: tuple[str, ...], campaign: str | None) -> int:
    """Check that an OPTIMIZER does what tuning and other tools rely on: one line per check, with what to mend.

    OPTIMIZER is one of sofim list, your own as module:spec, one of the CAMPAIGN's, or all. It takes seconds.
    The exit code is 1 where something fails that tuning needs.
    """
    from studies.commands.check import check_optimizers

    return check_optimizers(names, campaign)


@sofim.command("list")
@storage_option
def list_everything(storage: str) -> None:
    """List presets, workloads, optimizers and the campaigns in the storage."""
    from studies.commands.listing import list_all

    for line in list_all(storage):
        _complain(line)


@sofim.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@data_option
@click.option("--download", is_flag=True, help="Fetch what is missing.")
def data(names: tuple[str, ...], data: Path | None, download: bool) -> None:
    """Say for each data set whether it is there and where it is looked for, and fetch it."""
    from studies.commands.datasets import show_datasets

    show_datasets(names, data, download=download)


@sofim.command()
@storage_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
@click.option("--no-notes", is_flag=True, help="Show what is in the storage, without notes and plots of sofim.")
def dashboard(storage: str, host: str, port: int, no_notes: bool) -> None:
    """Open Optuna's dashboard on the storage.

    Every study of a campaign shows a note, and convergence and importances among its plots. They are not stored.
    """
    from studies.commands.dashboard import serve
    from studies.commands.find import existing, without_password
    from studies.storage.database import check_settled

    shown = without_password(storage)
    check_settled(storage)
    with existing(storage, written=True) as opened:
        serve(
            opened,
            host,
            port,
            lambda url: verbatim(make_console(), f"Optuna's dashboard on {shown}: {url} (Ctrl-C stops it)"),
            notes=not no_notes,
            option=storage_again(storage),
            program=called(),
            complain=_complain,
        )


if __name__ == "__main__":
    main()
