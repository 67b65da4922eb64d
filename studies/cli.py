"""The ``sofim`` command. Heavy packages are imported by the commands that need them, so that help is quick."""

from __future__ import annotations

import math
import shlex
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_spaces.errors import UserError
from studies import modules
from studies.called import DEFAULT_STORAGE, called, command_line
from studies.commands.find import (
    campaign_name,
    check_any_worked,
    existing,
    find_campaign,
    find_tuned,
    grown,
    without_password,
)
from studies.commands.options import (
    as_typed,
    hide_title,
    how_to_go_on,
    kept_safe,
    machine_options,
    place_options,
    safekeeping_options,
    split,
    storage_again,
    storage_option,
)
from studies.commands.screen import make_console, say, speaks_unicode, standard_streams, verbatim, working

if TYPE_CHECKING:
    from analysis.defaults import Recommendation
    from analysis.load import Study


SMALLEST_SHARE = 0.01  # of a CPU or GPU: more than a hundred trials on one is a slip of the fingers


_LIBRARIES = r"(optuna|seaborn|matplotlib|pandas|sklearn|scipy|numpy|joblib|sqlalchemy|ray|torch)\b"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 done, 2 a mistake of the user's, 130 interrupted."""
    typed = as_typed(sys.argv[1:] if arguments is None else arguments)
    hide_title(typed)
    modules.look_here_last()
    with standard_streams(_complain) as end, warnings.catch_warnings():
        if not sys.warnoptions:  # what a library warns its programmers of is nothing that a person can mend
            warnings.filterwarnings("ignore", module=_LIBRARIES)
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
        _complain(str(error))
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
    """Prints one line to standard error, whatever control characters are in the names that people gave to things."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    click.echo(f"sofim: {line}", file=sys.stderr)


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
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
@click.option("--optimizers", callback=split, metavar="A,B", help="Only these optimizers.")
@click.option("--workloads", callback=split, metavar="A,B", help="Only these workloads.")
@click.option(
    "--workload", "own", multiple=True, metavar="MODULE:FACTORY", help="Your own workload, instead of the campaign's."
)
@click.option("--name", help="Another name for this campaign in the storage.")
@click.option("--seed", type=int, help="Seed of configurations, weights and data order.")
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Begin with what sofim export wrote there, in TOML.",
)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where data sets are.")
@machine_options
@safekeeping_options
@click.option("--extend", is_flag=True, help="Add trials, optimizers or workloads to the campaign in the storage.")
@click.option("--dry-run", is_flag=True, help="Print what would run and what it would cost, and stop.")
@click.option("--confirm", "then_confirm", is_flag=True, help="Confirm the winners afterwards, as sofim confirm does.")
def launch(
    campaign: str,
    storage: str,
    trials: int | None,
    optimizers: tuple[str, ...] | None,
    workloads: tuple[str, ...] | None,
    own: tuple[str, ...],
    name: str | None,
    seed: int | None,
    start: Path | None,
    data: Path | None,
    address: str | None,
    cpus: int | None,
    gpus: int | None,
    cpus_per_trial: float,
    gpus_per_trial: float,
    storage_timeout: float,
    checkpoints: Path | None,
    checkpoint_every: int,
    extend: bool,
    dry_run: bool,
    then_confirm: bool,
) -> None:
    """Tune: run CAMPAIGN, or what is left of it.

    CAMPAIGN is a preset (quickstart, fashion, paper), a TOML file, or the name of a campaign in the storage.
    """
    from studies.campaign.initial import read_initial
    from studies.campaign.resolve import resolve_campaign
    from studies.commands.confirm import SEEDS
    from studies.commands.confirm import confirm as run_again
    from studies.commands.launch import launch as run
    from studies.commands.tables import (
        AFTER_CONFIRM,
        AFTER_LAUNCH,
        ONE_SEED,
        PURE_LUCK,
        print_confirmed,
        print_dry_run,
        print_leaderboard,
        print_next_commands,
    )
    from studies.ledger.failures import failing_lines

    _check_shares(cpus_per_trial, gpus_per_trial)
    _check_place(address, cpus, gpus)
    if own and workloads is not None:
        raise UserError("--workload and --workloads exclude each other; give one of them")
    console = make_console()
    with working(console, f"Reading {campaign} and its data ..."):
        overrides = {"name": name, "workloads": own or workloads, "optimizers": optimizers, "trials": trials}
        plan = find_campaign(campaign, storage, {**overrides, "seed": seed})
        if start is not None:
            plan = replace(plan, initial=read_initial(start, plan))
        if extend:
            plan = grown(plan, storage, trials=trials)
        kept = kept_safe(storage, storage_timeout, checkpoint_every, checkpoints)
        # that test data are there is known before the search, not after
        resolved = resolve_campaign(plan, data.resolve() if data else None, test=then_confirm)
    from studies.engine import Resources, slots_offered

    resources = Resources(address, cpus_per_trial, gpus_per_trial, cpus=cpus, gpus=gpus)
    if dry_run:
        print_dry_run(resolved, console, slots_offered(resources), address)
        if then_confirm:
            say(console, f"Then each study's winner on {SEEDS} fresh seeds, one run alone on a device.")
        return
    tallies = run(resolved, storage, resources, console, durability=kept, extend=extend)
    check_any_worked(plan.campaign.name, tallies, storage)
    console.print()
    print_leaderboard(plan.campaign.name, storage, console)
    for line in failing_lines(tallies):
        console.print(line, style="red", soft_wrap=True)
    if then_confirm:
        alone = replace(
            resources, cpus_per_trial=None, gpus_per_trial=max(gpus_per_trial, 1.0) if gpus_per_trial else 0.0
        )
        run_again(resolved, storage, alone, console, durability=kept)
        console.print()
        print_confirmed(plan.campaign.name, storage, console)
    say(console, f"{PURE_LUCK if then_confirm else ONE_SEED} Next:")
    print_next_commands(AFTER_CONFIRM if then_confirm else AFTER_LAUNCH, storage, console, campaign=plan.campaign.name)


@sofim.command()
@click.argument("campaign")
@storage_option
@click.option("--seeds", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Fresh seeds a winner.")
@click.option("--top", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Winners of each study.")
@click.option("--anyway", is_flag=True, help="Confirm what is there, though trials of the campaign are missing.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where data sets are.")
@place_options
@click.option(
    "--cpus-per-trial", type=float, metavar="X", help="Default: what leaves each run alone on its device, for its time."
)
@click.option("--gpus-per-trial", type=float, metavar="X", help="Default: 1 if the winners were tuned on GPUs, else 0.")
@safekeeping_options
def confirm(
    campaign: str,
    storage: str,
    seeds: int,
    top: int,
    anyway: bool,
    data: Path | None,
    address: str | None,
    cpus: int | None,
    gpus: int | None,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    **keeping: Any,
) -> None:
    """Confirm: train the winners of CAMPAIGN on fresh seeds and test them, or what is left of that.

    CAMPAIGN has been tuned; it is confirmed as it is in the storage. Run it again with more --seeds to add to them.
    """
    from studies.campaign.resolve import resolve_campaign
    from studies.commands.confirm import confirm as run
    from studies.commands.tables import AFTER_CONFIRM, PURE_LUCK, print_confirmed, print_next_commands

    _check_shares(1.0 if cpus_per_trial is None else cpus_per_trial, gpus_per_trial or 0.0)
    _check_place(address, cpus, gpus)
    console = make_console()
    with working(console, f"Reading {campaign} and its data ..."):
        plan = find_tuned(campaign, storage)
        resolved = resolve_campaign(plan, data.resolve() if data else None, test=True, rehearsed=False)
    from studies.engine import Resources

    run(
        resolved,
        storage,
        Resources(address, cpus_per_trial, gpus_per_trial or 0.0, cpus=cpus, gpus=gpus),
        console,
        seeds=seeds,
        top=top,
        anyway=anyway,
        like_tuning=gpus_per_trial is None,
        durability=kept_safe(storage, **keeping),
    )
    console.print()
    print_confirmed(plan.campaign.name, storage, console, top)
    say(console, f"{PURE_LUCK} Next:")
    print_next_commands(AFTER_CONFIRM, storage, console, campaign=plan.campaign.name)


def _check_shares(cpus_per_trial: float, gpus_per_trial: float) -> None:
    """Refuses shares of a machine that no trial can have."""
    if not SMALLEST_SHARE <= cpus_per_trial < math.inf:
        raise UserError(f"--cpus-per-trial {cpus_per_trial:g}: must be a number from {SMALLEST_SHARE:g}")
    if not (gpus_per_trial == 0 or SMALLEST_SHARE <= gpus_per_trial <= 1 or gpus_per_trial in range(2, 1025)):
        raise UserError(
            f"--gpus-per-trial {gpus_per_trial:g}: must be 0, a share of one GPU from {SMALLEST_SHARE:g} to 1, "
            "or a whole number of GPUs"
        )


def _check_place(address: str | None, cpus: int | None, gpus: int | None) -> None:
    """Refuses to limit what another program has started."""
    for option, number in (("--cpus", cpus), ("--gpus", gpus)):
        if address is not None and number is not None:
            raise UserError(
                f"{option} {number}: limits this machine, and with --address the nodes say what they have; leave it "
                f"out, or start them with: ray start --num{option[1:]}={number}"
            )


@sofim.command()
@click.argument("campaign", required=False)
@storage_option
def status(campaign: str | None, storage: str) -> None:
    """Show how far campaigns are, at any time, also while a driver runs."""
    from analysis.load import campaigns, check_whole, damaged
    from search_spaces.errors import suggestion
    from studies.commands.tables import print_status

    console = make_console()
    with existing(storage) as opened:
        if campaign is not None:
            check_whole(opened, campaign)
        names = campaigns(opened)
        if campaign is not None and campaign not in names:
            there = f"there are: {', '.join(names)}" if names else "there is none"
            near = suggestion(campaign, names)
            raise UserError(f"no campaign '{campaign}' in {without_password(storage)}; {there}{near}")
        hurt = damaged(opened)
        for name in names if campaign is None else [campaign]:
            if name not in hurt:
                print_status(opened, name, console)
    for line in (line for lines in hurt.values() for line in lines):
        _complain(line)
    if not names and not hurt:
        start = command_line("launch", "quickstart", *storage_again(storage))
        verbatim(console, f"No campaign in {without_password(storage)} yet; start one: {start}")


@sofim.command()
@click.argument("workload")
@click.option("--budget", required=True, metavar="TIME|TRIALS", help="1h, 30min, 90s; a plain number counts trials.")
@click.option("--optimizers", default="all", show_default=True, metavar="A,B", help="Those to choose from.")
@click.option("--name", help="Of the search in the storage; default: tune-WORKLOAD.")
@storage_option
@click.option("--seed", type=int, default=0, show_default=True, help="Of configurations, weights and data order.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where data sets are.")
@click.option("--epochs", type=int, metavar="N", help="Of a trial, instead of the workload's.")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Fresh seeds at the end.")
@machine_options
@safekeeping_options
def tune(workload: str, storage: str, cpus_per_trial: float, gpus_per_trial: float, **options: Any) -> None:
    """Find the best optimizer for WORKLOAD and its configuration within a budget, and confirm it on fresh seeds.

    WORKLOAD is one of sofim list, or your own as package.module:factory. A time includes start and confirmation.
    """
    import time

    import psutil

    from studies.commands.tables import print_next_commands
    from studies.commands.tuning import tune as run

    began = time.monotonic() - (time.time() - psutil.Process().create_time())  # when the person pressed the key
    _check_shares(cpus_per_trial, gpus_per_trial)
    _check_place(*(options[name] for name in ("address", "cpus", "gpus")))
    console = make_console()
    options |= {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    found = run(workload, storage=storage, console=console, began=began, **options)
    console.print()
    for line in found.told():
        say(console, line)
    console.print()
    for line in found.code.splitlines():
        verbatim(console, line)
    console.print()
    console.print("Next:")
    print_next_commands(["report", "dashboard"], storage, console, study=found.study)


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
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Default: reports/NAME.")
@click.option("--publish", is_flag=True, help="Put the findings on the studies as notes in Optuna's dashboard too.")
@click.option(
    "--stopped",
    type=click.Choice(["rank", "highest-common-epoch"]),
    default="rank",
    show_default=True,
    help="How pruned and diverged trials are valued.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is resampled.")
def report(
    campaign: str | None,
    study: str | None,
    objective: int | None,
    storage: str,
    out: Path | None,
    publish: bool,
    stopped: str,
    seed: int,
) -> None:
    """Say which optimizer is better and how sensitive each is to its hyperparameters: a page, figures and tables.

    CAMPAIGN is the name of a campaign in the storage, or the preset or TOML file that it was launched from.
    """
    from studies.commands.report import make_report

    if (campaign is None) == (study is None):
        raise UserError("name a campaign, or one study with --study NAME; sofim list shows the campaigns")
    if objective is not None and study is None:
        raise UserError("--objective is of one study; name it with --study NAME")
    with existing(storage, written=publish) as opened:
        make_report(
            opened,
            without_password(storage),
            campaign=campaign_name(campaign) if campaign is not None else None,
            study=study,
            objective=objective,
            out=out,
            publish=publish,
            stopped=stopped,
            seed=seed,
            again=storage,
            console=make_console(),
        )


@sofim.command()
@click.argument("campaigns", nargs=-1, required=True, metavar="CAMPAIGN...")
@storage_option
@click.option("--optimizer", "optimizers", multiple=True, metavar="KEY", help="Of this one alone; may be repeated.")
@click.option("--workload", "workloads", multiple=True, metavar="KEY", help="On this one alone; may be repeated.")
@click.option(
    "--robust/--winner",
    default=True,
    show_default=True,
    help="The configuration whose neighbourhood is best, rounded; or the best trial as it was.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["toml", "json", "python", "yaml"]),
    default="toml",
    show_default=True,
    help="What is printed.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Into a file instead.")
@click.option(
    "--evaluate",
    "evaluated",
    is_flag=True,
    help="Run what each workload recommends on all of them, instead of asking surrogates how good it is there.",
)
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), default=3, show_default=True, help="Fresh seeds to evaluate on."
)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where data sets are.")
@machine_options
@safekeeping_options
@click.pass_context
def export(
    context: click.Context,
    /,
    campaigns: tuple[str, ...],
    storage: str,
    optimizers: tuple[str, ...],
    workloads: tuple[str, ...],
    robust: bool,
    form: str,
    out: Path | None,
    evaluated: bool,
    seeds: int,
    data: Path | None,
    address: str | None,
    cpus: int | None,
    gpus: int | None,
    cpus_per_trial: float,
    gpus_per_trial: float,
    **keeping: Any,
) -> None:
    """Print recommended hyperparameters: per workload, across workloads, and which to try in turn.

    CAMPAIGN is the name of a campaign in the storage, or the preset or TOML file that it was launched from.
    """
    from studies.commands.evaluate import evaluate
    from studies.commands.export import export as recommend
    from studies.commands.export import printed

    _check_shares(cpus_per_trial, gpus_per_trial)
    _check_place(address, cpus, gpus)
    for name in ("seeds", "data", "address", "cpus", "gpus", "cpus_per_trial", "gpus_per_trial", *keeping):
        if not evaluated and context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise UserError(
                f"{option} says how to evaluate, and nothing is run without --evaluate; add it, or leave {option} out"
            )

    def run(studies: Sequence[Study], recommended: Sequence[Recommendation]) -> None:
        from studies.engine import Resources

        resources = Resources(address, cpus_per_trial, gpus_per_trial, cpus=cpus, gpus=gpus)
        directory = data.resolve() if data else None
        evaluate(
            storage,
            studies,
            recommended,
            resources,
            make_console(sys.stderr),  # standard output is for what is exported
            seeds=seeds,
            data_directory=directory,
            durability=kept_safe(storage, **keeping),
        )

    names = [campaign_name(name) for name in campaigns]
    with existing(storage, written=evaluated) as opened:
        found = recommend(
            opened,
            without_password(storage),
            names,
            optimizers=optimizers,
            workloads=workloads,
            exact=not robust,
            evaluate=run if evaluated else None,
        )
    if out is None:
        # a file that a locale's encoding was written to would be no TOML or JSON: ASCII is, in any
        click.echo(printed(found, form, ascii_only=not speaks_unicode(sys.stdout)), file=sys.stdout, nl=False)
        return
    text = printed(found, form)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written: {error.strerror or error}") from None
    verbatim(make_console(), f"Recommended hyperparameters: {out}")


@sofim.command("list")
@storage_option
def list_everything(storage: str) -> None:
    """List presets, workloads, optimizers and the campaigns in the storage."""
    from analysis.load import damaged
    from studies.commands.tables import print_list

    if storage == DEFAULT_STORAGE and not Path("sofim.db").exists():
        print_list(None, without_password(storage), [], make_console())
        return
    with existing(storage) as opened:
        print_list(opened, without_password(storage), storage_again(storage), make_console())
        for line in (line for lines in damaged(opened).values() for line in lines):
            _complain(line)


@sofim.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where data sets are.")
@click.option("--download", is_flag=True, help="Fetch what is missing.")
def data(names: tuple[str, ...], data: Path | None, download: bool) -> None:
    """Say for each data set whether it is there and where it is looked for, and fetch it."""
    from studies.commands.tables import print_datasets
    from studies.data import DATASETS, dataset, fetch, status

    directory = data.resolve() if data else None
    rows = []
    for name in names or tuple(DATASETS):
        dataset(name)
        rows.append(fetch(name, directory) if download else status(name, directory))
    print_datasets(rows, make_console())
    problems = {row.name: row.problem for row in rows if row.problem}
    if not names or not problems:
        return
    if len(problems) == 1:
        raise UserError(*problems.values())
    again = command_line("data", *problems, "--download", *(["--data", str(directory)] if directory else []))
    raise UserError(f"{', '.join(problems)}: missing or damaged; fetch them with: {again}")


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
