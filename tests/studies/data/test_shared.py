"""Decoded once, split the same for everybody, shared by the workers of a machine."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from search_spaces.errors import UserError
from studies.data import DATASETS, Data, PublishedDataset, Split, cache_directory, cached_arrays
from studies.data.images import CropAndFlip, Standardize
from studies.workloads import WORKLOADS, check
from tests.reference.published_formats import WRITERS, random_images, write, write_checksums

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))
    for name, dataset in DATASETS.items():
        if isinstance(dataset, PublishedDataset):
            monkeypatch.setitem(DATASETS, name, replace(dataset, system=()))


def refuse_to_decode(name, monkeypatch):
    def decoded(_contents):
        pytest.fail("decoded again")

    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], read=decoded))


class TestCache:
    def test_directory(self, tmp_path, monkeypatch):
        assert cache_directory() == tmp_path / "cache"
        monkeypatch.delenv("SOFIM_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_directory() == tmp_path / "xdg/sofim"
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_directory() == Path.home() / ".cache/sofim"

    @pytest.mark.parametrize("name", sorted(WRITERS))
    def test_decodes_once(self, name, tmp_path, monkeypatch):
        write(name, tmp_path)
        first = DATASETS[name].arrays("train", tmp_path)
        refuse_to_decode(name, monkeypatch)
        again = DATASETS[name].arrays("train", tmp_path)
        np.testing.assert_array_equal(first["images"], again["images"])
        np.testing.assert_array_equal(first["labels"], again["labels"])

    def test_changed_source_is_noticed(self, tmp_path):
        write("svhn", tmp_path, num_train=80)
        assert len(DATASETS["svhn"].arrays("train", tmp_path)["labels"]) == 80
        write("svhn", tmp_path, num_train=70)
        assert len(DATASETS["svhn"].arrays("train", tmp_path)["labels"]) == 70

    def test_source_damaged_after_it_was_decoded_is_noticed(self, tmp_path):
        folder = write("svhn", tmp_path)
        DATASETS["svhn"].arrays("train", tmp_path)
        with (folder / "train_32x32.mat").open("ab") as file:
            file.write(b"x")
        with pytest.raises(UserError, match="is damaged"):
            DATASETS["svhn"].arrays("train", tmp_path)

    @pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
    def test_damaged_cache_is_made_anew(self, damage, tmp_path):
        write("svhn", tmp_path)
        before = np.array(DATASETS["svhn"].arrays("train", tmp_path)["images"])
        (folder,) = (tmp_path / "cache").iterdir()
        if damage == "truncate":
            os.truncate(folder / "images.npy", 1000)
        elif damage == "delete":
            (folder / "labels.npy").unlink()
        else:
            (folder / "arrays.json").write_text("{")
        np.testing.assert_array_equal(DATASETS["svhn"].arrays("train", tmp_path)["images"], before)
        assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]

    def test_what_one_writes_into_the_map_nobody_else_sees(self):
        def build():
            return {"x": np.arange(5)}

        mine = cached_arrays("numbers", 0, build)["x"]
        mine[0] = 99
        assert cached_arrays("numbers", 0, build)["x"].tolist() == [0, 1, 2, 3, 4]

    def test_a_cache_that_cannot_be_written_is_one_clear_line(self, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "file"))
        with pytest.raises(UserError, match=r"cannot write decoded data to .*file.*SOFIM_CACHE"):
            cached_arrays("numbers", 0, lambda: {"x": np.arange(5)})

    def test_what_a_killed_process_left_is_cleared_after_a_day(self, tmp_path):
        old, new = tmp_path / "cache/.building-old", tmp_path / "cache/.building-new"
        for folder in (old, new):
            folder.mkdir(parents=True)
            (folder / "images.npy").write_bytes(b"half")
        os.utime(old, (0, 0))
        cached_arrays("numbers", 0, lambda: {"x": np.arange(5)})
        assert not old.exists()
        assert new.exists()

    @pytest.mark.slow
    def test_workers_that_race_all_get_the_data(self, tmp_path):
        write("cifar10", tmp_path)
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            digests = pool.map(_digest, [str(tmp_path)] * 2, chunksize=1)
        assert len(set(digests)) == 1
        assert len(list((tmp_path / "cache").iterdir())) == 1


def _digest(directory):
    row = replace(DATASETS["cifar10"], system=())
    return hashlib.sha256(row.arrays("train", Path(directory))["images"].tobytes()).hexdigest()


class TestSplits:
    @pytest.mark.parametrize("name", ["breast-cancer-logreg", "digits-mlp", "digits-lenet5"])
    def test_bundled_splits_share_no_example_and_lose_none(self, name):
        data = check(WORKLOADS[name], test=True)
        splits = [data.train, data.validation, data.test()]
        rows = [row.numpy().tobytes() for split in splits for row in split.inputs]
        assert len(rows) == {"digits": 1797, "breast-cancer": 569}[WORKLOADS[name].dataset]
        if name != "digits-lenet5":  # the same examples as digits-mlp, enlarged
            assert len(set(rows)) == len(rows)

    @pytest.mark.parametrize(
        ("name", "workload", "validation"),
        [("fashion-mnist", "fashion-lenet5", 10), ("cifar10", "cifar10-lenet5", 8), ("svhn", "svhn-resnet9", 8)],
    )
    def test_published_splits(self, name, workload, validation, tmp_path):
        write(name, tmp_path)
        data = WORKLOADS[workload].load(tmp_path)
        published = DATASETS[name].decode("train", tmp_path)
        assert len(data.validation) == validation
        both = torch.cat([data.train.inputs, data.validation.inputs]).numpy()
        labels = torch.cat([data.train.targets, data.validation.targets]).numpy()
        assert not np.array_equal(both, published["images"])
        label_of = {
            image.tobytes(): label for image, label in zip(published["images"], published["labels"], strict=True)
        }
        assert len(label_of) == len(both)
        assert [label_of[image.tobytes()] for image in both] == labels.tolist()
        np.testing.assert_array_equal(data.test().targets.numpy(), DATASETS[name].decode("test", tmp_path)["labels"])

    def test_splits_depend_on_nothing_but_the_project(self):
        digests = []
        for seed in (0, 1):
            np.random.seed(seed)  # noqa: NPY002 (what must not matter)
            torch.manual_seed(seed)
            train = WORKLOADS["digits-mlp"].load(None).train
            digests.append(train.targets[:12].tolist())
        # Written down: a version of numpy or of this project that splits otherwise makes values incomparable.
        assert digests[0] == digests[1] == FIRST_DIGITS

    @pytest.mark.slow
    @pytest.mark.parametrize("name", sorted(WRITERS))
    def test_damaged_test_files_do_not_keep_one_from_tuning(self, name, tmp_path):
        folder = write(name, tmp_path)
        for file in DATASETS[name].parts["test"]:
            for path in file.candidates(folder):
                if path.exists():
                    path.write_bytes(b"damaged")
        workload = next(row for row in WORKLOADS.values() if row.dataset == name and "resnet18" not in row.name)
        data = check(workload, tmp_path)
        with pytest.raises(UserError, match=r"damaged|cannot be read"):
            data.test()
        with pytest.raises(UserError, match=r"damaged|cannot be read"):
            check(workload, tmp_path, test=True)


FIRST_DIGITS = [1, 7, 2, 3, 8, 2, 3, 9, 0, 9, 5, 6]


# Touches all training images, a batch at a time, and then says how much memory the data and the rest take. Waits for a
# line before and after, so that the others are still there.
WORKER = """
import sys, json
from pathlib import Path
import torch
from studies.training.batches import epoch_batches
from studies.workloads import WORKLOADS
torch.set_num_threads(1)
workload = WORKLOADS["svhn-resnet9"]

def memory():
    own = data = 0
    mapping = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and "-" in words[0] and not words[0].endswith(":"):
            mapping = words[-1]
        elif words[0] == "Pss:" and mapping.endswith("images.npy"):
            data += int(words[1]) * 1024
        elif words[0] in ("Private_Dirty:",):
            own += int(words[1]) * 1024
    return own, data

def epoch(data):
    for epoch in range(2):
        for inputs, targets in epoch_batches(workload, data.train, batch_size=64, seed=0, epoch=epoch):
            inputs.sum()

small = workload.load(Path(sys.argv[2]))
epoch(small)
before, _ = memory()
data = workload.load(Path(sys.argv[1]))
epoch(data)
data.validation.inputs.sum()
for _ in sys.stdin:
    own, mapped = memory()
    print(json.dumps([own - before, mapped]), flush=True)
"""


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory is measured by Linux's /proc/PID/smaps")
def test_the_second_worker_adds_less_than_a_tenth_of_the_data(tmp_path):
    import scipy.io

    num = 30_000
    (tmp_path / "big").mkdir()
    images, labels = random_images(100, 3, 32, 10)
    big = np.tile(images, (num // 100, 1, 1, 1)).transpose(2, 3, 1, 0)
    scipy.io.savemat(tmp_path / "big/train_32x32.mat", {"X": big, "y": np.tile(labels + 1, num // 100)[:, None]})
    write_checksums(tmp_path / "big")
    write("svhn", tmp_path / "small")
    WORKLOADS["svhn-resnet9"].load(tmp_path / "big")  # decode before, as the launcher does

    def start():
        command = [sys.executable, "-c", WORKER, str(tmp_path / "big"), str(tmp_path / "small")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        # batches that are freed go back to the system: what an allocator keeps of them is no copy of the data
        freeing = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | freeing, **pipes)

    def ask(worker):
        worker.stdin.write("\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline())

    data_bytes = num * 3 * 32 * 32
    first, second = start(), start()
    try:
        ask(second)
        own_1, data_1 = ask(first)
        own_2, data_2 = ask(second)
    finally:
        for worker in (first, second):
            worker.stdin.close()
            worker.wait()
            worker.stdout.close()
    assert data_1 + data_2 == pytest.approx(data_bytes, rel=0.05)  # together they hold it once
    assert own_2 < 0.1 * data_bytes
    assert own_1 < 0.1 * data_bytes


class TestData:
    def test_takes_tensors_datasets_and_loaders(self):
        x, y = torch.randn(10, 3), torch.arange(10)
        for source in ((x, y), [x, y], Split(x, y), TensorDataset(x, y), DataLoader(TensorDataset(x, y), batch_size=4)):
            split = Split.of(source)
            assert torch.equal(split.inputs, x)
            assert torch.equal(split.targets, y)

    @pytest.mark.parametrize(
        ("source", "error", "words"),
        [
            ((torch.zeros(3), torch.zeros(4)), ValueError, "3 inputs but 4 targets"),
            ((torch.zeros(0), torch.zeros(0)), ValueError, "no examples"),
            ((torch.tensor(1.0), torch.tensor(1.0)), ValueError, "one row per example"),
            (([1], [2]), TypeError, "are tensors, not list"),
            (3, TypeError, "not int"),
            ("ab", TypeError, "not str"),
            (DataLoader([1, 2, 3]), TypeError, "pairs, not Tensor"),
        ],
    )
    def test_refuses_what_holds_no_examples(self, source, error, words):
        with pytest.raises(error, match=words):
            Split.of(source)

    def test_test_data_are_read_when_asked_for_and_once(self):
        calls = []

        def read():
            calls.append(1)
            return torch.ones(2), torch.ones(2)

        x = torch.zeros(4), torch.zeros(4)
        data = Data(x, x, read)
        assert calls == []
        assert data.test() is data.test()
        assert calls == [1]

    def test_no_test_data(self):
        x = torch.zeros(4), torch.zeros(4)
        with pytest.raises(UserError, match="no test data"):
            Data(x, x).test()

    def test_moved_once(self):
        x = torch.zeros(4), torch.zeros(4)
        calls = []
        data = Data(x, x, lambda: calls.append(1) or x)
        assert data.on("cpu") is data
        moved = data.on("meta")
        assert moved.train.inputs.device.type == moved.validation.targets.device.type == "meta"
        assert data.on("meta") is moved
        assert calls == []
        assert moved.test().inputs.device.type == "meta"


class TestImages:
    def test_standardize(self):
        images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
        mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
        expected = np.stack([(images[:, c].numpy() / 255 - mean[c]) / std[c] for c in range(3)], axis=1)
        result = Standardize(mean, std)(images)
        assert result.dtype == torch.float32
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("flip", [True, False])
    def test_every_result_is_a_window_of_the_padded_image_and_all_windows_occur(self, flip):
        size, padding = 6, 2
        image = torch.arange(1, 3 * size * size + 1, dtype=torch.uint8).view(1, 3, size, size)
        padded = np.pad(image[0].numpy(), ((0, 0), (padding, padding), (padding, padding)))
        windows = {}
        for row in range(2 * padding + 1):
            for column in range(2 * padding + 1):
                window = padded[:, row : row + size, column : column + size]
                windows[window.tobytes()] = (row, column, False)
                if flip:
                    windows[window[:, :, ::-1].tobytes()] = (row, column, True)
        batch = image.expand(2000, -1, -1, -1)
        result = CropAndFlip(padding, flip)(batch, torch.Generator().manual_seed(0))
        assert result.dtype == torch.uint8
        assert result.shape == batch.shape
        seen = [windows[row.numpy().tobytes()] for row in result]  # KeyError: not a window
        assert set(seen) == set(windows.values())
        counts = np.unique([list(map(int, window)) for window in seen], axis=0, return_counts=True)[1]
        assert counts.min() > 0.3 * counts.mean()

    def test_draws_from_the_generator_alone(self):
        images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
        before = torch.get_rng_state()
        first = CropAndFlip()(images, torch.Generator().manual_seed(3))
        assert torch.equal(first, CropAndFlip()(images, torch.Generator().manual_seed(3)))
        assert not torch.equal(first, CropAndFlip()(images, torch.Generator().manual_seed(4)))
        assert torch.equal(torch.get_rng_state(), before)
