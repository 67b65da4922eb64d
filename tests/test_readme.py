"""What README and the guide say is so: their commands are complete, and the examples that they name run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = "".join(
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/guide.md")
)  # as they are read


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def block_with(words: str, page: str) -> str:
    """Return the first block of a page of the site that has the words, without the options of its directive."""
    found = re.findall(
        r"^```[^\n]+\n(?::\w+:[^\n]*\n)*(.*?)^```",
        (ROOT / page).read_text(encoding="utf-8"),
        flags=re.DOTALL | re.MULTILINE,
    )
    return next(block for block in found if words in block)


def test_there_are_exactly_two_set_up_commands_and_ci_runs_the_second():
    commands = [line for block in blocks("sh") for line in block.splitlines() if "pip install" in line]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert commands[0].endswith("sofim launch quickstart")
    pattern = r"grep -m 1 -E '(.*?)' README.md"
    found = re.search(pattern, (ROOT / ".ci" / "run").read_text())
    assert [line for line in README.splitlines() if re.search(found[1], line)] == [commands[1]]


def test_the_optimizer_example_runs():
    example = block_with("SOFIM(", "docs/howto/sofim.md")
    names: dict[str, object] = {}
    exec(example, names)
    model, optimizer = names["model"], names["optimizer"]
    loss = model(model.weight).pow(2).mean()
    loss.backward()
    optimizer.step()


def test_the_campaign_example_is_accepted(tmp_path):
    from studies.campaign.reading import load

    example = block_with("my-campaign", "docs/reference/campaign.md")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "campaign.toml").write_text(example)
    plan = load(tmp_path / "campaign.toml")
    assert plan.campaign.trials == 50
    fixed = {"beta": 0.9, "batch_size": 64, "decoupled_weight_decay": True}  # its own line, and the campaign's for all
    assert plan.spaces["sofim"].fixed == fixed


# ------------------------------------------------------------------------------------------------- its commands

NOT_RUN = {  # by a pattern: why
    r"pip install": "makes an environment, which is here; what follows && is run",
}
LESS = {  # by a pattern: what makes it short; the last of two values counts
    r"sofim launch quickstart$": "--trials 6 --optimizers sgd --workloads digits-mlp --cpus 1",
    r"sofim launch quickstart --workload": "--trials 1 --optimizers sgd",
    r"sofim confirm": "--seeds 2",
    r"sofim tune": "--optimizers sgd --budget 3 --seeds 2 --cpus 1",
    r"sofim dashboard": "--port 0",
    r"sofim launch mine.toml": "--trials 1",
}
BY_DAY = {  # by a pattern: the same; other tests train what these are about
    r"sofim launch quickstart --workload": "--dry-run",
    r"sofim launch mine.toml": "--dry-run",
}
BY_NIGHT = {  # by a pattern: which test does it by day
    r"sofim tune": "commands/test_tune_run.py",
    r"sofim check": "commands/test_check.py",
    r"--save models$|load\.py$": "training/test_saved.py",
}


def shell_commands() -> list[str]:
    """All that the pages tell to type into a shell, in their order, without comments."""
    lines = [re.sub(r" +#.*", "", line) for block in blocks("sh") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if part.strip()]


def not_run(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), None)


def shortened(command: str, *, nightly: bool) -> str:
    every = LESS if nightly else LESS | {pattern: f"{LESS[pattern]} {less}" for pattern, less in BY_DAY.items()}
    return " ".join([command, *(less for pattern, less in every.items() if re.search(pattern, command))])


def kind_of(command: str) -> str:
    """The command without the campaign's name; a report of what `sofim tune` made is of a kind of its own."""
    return re.sub(r"(sofim (?:confirm|report|export)) (?!tune-)[^-]\S*", r"\1", command)


class Road:
    """A directory with an environment, as somebody has who follows README, and a shell in it."""

    def __init__(self, here: Path) -> None:
        self.here = here
        (here / ".venv").symlink_to(sys.prefix)
        (here / "mine.py").write_text(block_with("def xor", "docs/workloads.md"))
        (here / "mine.toml").write_text(block_with("[optimizer.", "docs/tutorials/own-optimizer.md"))
        hidden = str(Path(sys.prefix) / "bin")
        path = [part for part in os.environ["PATH"].split(os.pathsep) if part != hidden]
        self.environment = os.environ | {"PATH": os.pathsep.join(path)}
        self.environment.pop("VIRTUAL_ENV", None)
        self.activated = ""

    def types(self, command: str) -> str:
        """What the command prints; it must work."""
        if command == ". .venv/bin/activate":
            self.activated = f"PATH={shlex.quote(str(self.here / '.venv' / 'bin'))}:$PATH; "
        if re.search("sofim dashboard", command):
            return self._looks_at(command)
        done = subprocess.run(
            ["bash", "-c", self.activated + command], cwd=self.here, env=self.environment, capture_output=True,
            text=True, timeout=250, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def _looks_at(self, command: str) -> str:
        with subprocess.Popen(
            ["bash", "-c", f"{self.activated}exec {command}"],
            cwd=self.here, env=self.environment, stdout=subprocess.PIPE, text=True,
        ) as server:  # fmt: skip
            try:
                said = server.stdout.readline()
                with urllib.request.urlopen(re.search(r"http://\S+/", said)[0], timeout=60) as page:
                    assert page.status == 200
                return said
            finally:
                server.terminate()


def told_next(printed: str) -> list[str]:
    """The commands that a command tells to type next."""
    return re.findall(r"^  (\S*sofim .*?)(?:   .*)?$", printed.partition("Next:")[2], flags=re.MULTILINE)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("bash") is None, reason="README's commands are typed into bash")
def test_its_commands_work_in_their_order_and_so_does_all_that_they_tell_to_type_next(tmp_path, nightly):
    """By day, what is told again of another campaign is not typed again, and what another test trains is left out."""
    road = Road(tmp_path)
    typed: list[str] = []
    for command in shell_commands():
        if not_run(command) or "venv .venv" in command or "pytest" in command:
            continue
        if not nightly and any(re.search(pattern, command) for pattern in BY_NIGHT):
            continue
        typed.append(command)
        for following in told_next(road.types(shortened(command, nightly=nightly))):
            # what README has in its own words is run when its turn comes, but for one that is told as it was called
            plain = following.removeprefix(".venv/bin/")
            known = plain in typed or (not nightly and kind_of(plain) in {kind_of(done) for done in typed})
            if not known and (plain not in shell_commands() or "confirm" in following):
                typed.append(following)
                road.types(shortened(following, nightly=nightly))
    words = {shlex.split(command)[1] for command in typed if "sofim" in command}
    every = {"launch", "confirm", "report", "export", "status", "dashboard", "list", "data", "tune", "check"}
    assert words == (every if nightly else every - {"tune", "check"})
    assert any(command.startswith(".venv/bin/sofim confirm") for command in typed), "told as the first was called"
    assert any("report tune-" in command for command in typed) is nightly


def test_every_command_is_run_or_there_is_a_reason_why_not():
    commands = shell_commands()
    assert all(
        re.search("sofim |^python3 -m venv|pip install|pytest$|activate$|load.py$", command) for command in commands
    )
    assert {pattern for pattern in NOT_RUN if any(re.search(pattern, command) for command in commands)} == set(NOT_RUN)
    assert all((ROOT / "tests" / "studies" / file).exists() for file in BY_NIGHT.values())
    inline = set(re.findall(r"`(sofim [^`]+)`", README))
    assert inline, "commands in sentences are looked at too"
    from studies.cli import sofim

    assert {line.split()[1] for line in inline} <= set(sofim.commands)
