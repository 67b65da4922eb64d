"""The files of ``examples/``, as far as they can be checked without Slurm and Kubernetes."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import yaml

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_the_job_file_of_slurm_is_a_clean_shell_script_that_slurm_reads_to_its_end():
    job = EXAMPLES / "slurm.sh"
    check = ["shellcheck"] if shutil.which("shellcheck") else ["bash", "-n"]
    done = subprocess.run([*check, str(job)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    lines = job.read_text().splitlines()
    command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line for line in lines[:command] if line.startswith("#SBATCH ")]
    assert {"#SBATCH --requeue", "#SBATCH --ntasks-per-node=1", "#SBATCH --signal=B:USR1@120"} <= set(options)
    assert not any(line.startswith("#SBATCH") for line in lines[command:])  # Slurm would not read it there
    told = next(number for number, line in enumerate(lines) if 'SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"' in line)
    assert told < next(number for number, line in enumerate(lines) if line.startswith("srun "))


def test_the_job_of_kubernetes_has_what_kuberay_asks_for_and_names_what_is_there():
    documents = list(yaml.safe_load_all((EXAMPLES / "rayjob.yaml").read_text()))
    by_kind = {document["kind"]: document for document in documents}
    assert by_kind.keys() == {"RayJob", "Secret", "Service", "StatefulSet"}
    job = by_kind["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    assert job["spec"]["entrypoint"].startswith("sofim launch ")
    assert job["spec"]["backoffLimit"] >= 1
    cluster = job["spec"]["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert workers.keys() >= {"groupName", "minReplicas", "maxReplicas", "template"}
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    (driver,), (worker,) = (group["template"]["spec"]["containers"] for group in (head, workers))
    assert driver["image"] == worker["image"]
    (url,) = driver["env"]
    secret = by_kind["Secret"]
    assert url["name"] == "SOFIM_STORAGE"
    assert url["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
    assert "env" not in worker  # workers know no database
    address = secret["stringData"][url["valueFrom"]["secretKeyRef"]["key"]]
    assert address.endswith(f":{secret['stringData']['password']}@{by_kind['Service']['metadata']['name']}/sofim")
    labels = by_kind["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert by_kind["Service"]["spec"]["selector"].items() <= labels.items()


def test_the_image_has_the_ray_that_the_job_names_and_all_packages():
    text = (EXAMPLES / "Dockerfile").read_text()
    (image,) = re.findall(r"^FROM rayproject/ray:([\d.]+)-py3\d+$", text, re.MULTILINE)
    assert f'rayVersion: "{image}"' in (EXAMPLES / "rayjob.yaml").read_text()
    assert image.split(".")[0] == version("ray").split(".")[0]
    copied = {name for line in re.findall(r"^COPY (?:--\S+ )?(.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert copied >= {"pyproject.toml", "README.md", "LICENSE", "sofim", "search_spaces", "analysis", "studies"}
    assert all((EXAMPLES.parent / name).exists() for name in copied)
