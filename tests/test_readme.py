"""What the README says is so: its commands are complete, its examples run."""

from __future__ import annotations

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_exactly_two_set_up_commands_and_ci_runs_the_second():
    commands = [line for block in blocks("sh") for line in block.splitlines() if "pip install" in line]
    assert len(commands) == 2
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)
    assert commands[0].endswith("sofim launch quickstart")
    pattern = r"grep -m 1 -E '(.*?)' README.md"
    found = re.search(pattern, (Path(__file__).parent.parent / ".ci" / "run").read_text())
    assert [line for line in README.splitlines() if re.search(found[1], line)] == [commands[1]]


def test_the_optimizer_example_runs():
    example = next(block for block in blocks("python") if "SOFIM(" in block)
    names: dict[str, object] = {}
    exec(example, names)
    model, optimizer = names["model"], names["optimizer"]
    loss = model(model.weight).pow(2).mean()
    loss.backward()
    optimizer.step()


def test_the_workload_example_is_the_tested_one():
    """The one in the package's docstring, which a test writes to a file and trains."""
    import studies.workloads

    example = next(block for block in blocks("python") if "Workload(" in block)
    documented = re.search(r"code-block:: python\n\n(.*?)\n\nIn a file", studies.workloads.__doc__, flags=re.DOTALL)[1]
    assert [line.strip() for line in example.splitlines()] == [line.strip() for line in documented.splitlines()]


def test_the_campaign_example_is_accepted(tmp_path):
    from studies.campaign import load

    example = next(iter(blocks("toml")))
    (tmp_path / "my_package").mkdir()
    (tmp_path / "campaign.toml").write_text(example)
    campaign = load(tmp_path / "campaign.toml")
    assert campaign.trials == 50
    assert campaign.space("sofim").fixed == {"beta": 0.9}
