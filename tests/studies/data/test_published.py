"""Data sets in their published formats: read exactly, verified, and every damage one clear line."""

from __future__ import annotations

import gzip
import pickle
import shutil
import struct
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets

from search_spaces.errors import UserError
from studies.data import DATASETS, PublishedDataset, data_directory, fetch, status
from tests.reference.published_formats import (
    WRITERS,
    python2_pickle,
    random_images,
    write,
    write_checksums,
    write_fashion_mnist,
)

PUBLISHED = sorted(WRITERS)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def _own_places(tmp_path, monkeypatch):
    """Nothing of the person's own is read or written, and the system has no data."""
    monkeypatch.setenv("SOFIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SOFIM_DATA", str(tmp_path / "default"))
    for name, dataset in DATASETS.items():
        if isinstance(dataset, PublishedDataset):
            monkeypatch.setitem(DATASETS, name, replace(dataset, system=()))


def load(name, part, directory):
    return DATASETS[name].decode(part, directory)


def one_line_error(action, *parts):
    with pytest.raises(UserError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message
    return message


class TestReading:
    def test_fashion_mnist_gives_what_was_written(self, tmp_path):
        write("fashion-mnist", tmp_path)
        images, labels = random_images(60, 1, 28, 10, seed=1)
        found = load("fashion-mnist", "train", tmp_path)
        np.testing.assert_array_equal(found["images"], images)
        np.testing.assert_array_equal(found["labels"], labels)

    def test_cifar10_gives_the_five_batches_in_order(self, tmp_path):
        write("cifar10", tmp_path)
        batches = [random_images(16, 3, 32, 10, seed) for seed in range(5)]
        found = load("cifar10", "train", tmp_path)
        np.testing.assert_array_equal(found["images"], np.concatenate([images for images, _ in batches]))
        np.testing.assert_array_equal(found["labels"], np.concatenate([labels for _, labels in batches]))

    def test_svhn_turns_label_10_into_0(self, tmp_path):
        write("svhn", tmp_path)
        images, labels = random_images(80, 3, 32, 10, seed=0)
        found = load("svhn", "train", tmp_path)
        assert (labels == 0).any()
        np.testing.assert_array_equal(found["labels"], labels)
        np.testing.assert_array_equal(found["images"], images)

    @pytest.mark.parametrize("train", [True, False])
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_agrees_with_torchvision(self, name, train, tmp_path, monkeypatch):
        write(name, tmp_path)
        images, labels = _by_torchvision(name, train, tmp_path, monkeypatch)
        found = load(name, "train" if train else "test", tmp_path)
        np.testing.assert_array_equal(found["images"], images)
        np.testing.assert_array_equal(found["labels"], labels)
        assert found["images"].dtype == np.uint8
        assert found["labels"].dtype == np.int64

    def test_checksums_are_those_that_torchvision_knows(self):
        for name, known in (("cifar10", torchvision.datasets.CIFAR10), ("cifar100", torchvision.datasets.CIFAR100)):
            parts = DATASETS[name].parts
            assert [[file.name, file.md5] for file in parts["train"]] == known.train_list
            assert [[file.name, file.md5] for file in parts["test"]] == known.test_list
        for part in ("train", "test"):
            (file,) = DATASETS["svhn"].parts[part]
            assert [file.name, file.md5] == torchvision.datasets.SVHN.split_list[part][1:]

    def test_batches_pickled_by_python_3_are_read_too(self, tmp_path):
        folder = write("cifar100", tmp_path)
        images, labels = random_images(7, 3, 32, 100)
        content = {"data": images.reshape(7, -1), "fine_labels": labels.tolist()}
        (folder / "train").write_bytes(pickle.dumps(content, protocol=2))
        write_checksums(folder)
        np.testing.assert_array_equal(load("cifar100", "train", tmp_path)["images"], images)

    def test_pickle_that_would_run_code_is_refused(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (Path(tmp_path / "ran").touch, ())

        folder = write("cifar100", tmp_path)
        (folder / "train").write_bytes(pickle.dumps({"data": Evil()}))
        write_checksums(folder)
        one_line_error(lambda: load("cifar100", "train", tmp_path), folder / "train", "asks for")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.slow
    @pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
    def test_the_real_fashion_mnist_is_verified_and_read(self, monkeypatch):
        monkeypatch.setitem(DATASETS, "fashion-mnist", replace(DATASETS["fashion-mnist"], system=(DEBIAN,)))
        test = load("fashion-mnist", "test", None)
        assert test["images"].shape == (10_000, 1, 28, 28)
        np.testing.assert_array_equal(np.bincount(test["labels"]), [1000] * 10)
        row = status("fashion-mnist")
        assert row.present
        assert row.folder == DEBIAN


def _by_torchvision(name, train, root, monkeypatch):
    """Images [n, c, h, w] and labels [n] as torchvision reads the same files, its checksums put aside."""
    if name == "fashion-mnist":
        for path in (root / "FashionMNIST/raw").glob("*.gz"):
            path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        dataset = torchvision.datasets.FashionMNIST(root, train=train)
        return dataset.data.numpy()[:, None], dataset.targets.numpy()
    if name == "svhn":
        lists = {part: [*row[:2], None] for part, row in torchvision.datasets.SVHN.split_list.items()}
        monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", lists)
        dataset = torchvision.datasets.SVHN(root, split="train" if train else "test")
        return dataset.data, dataset.labels
    kind = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}[name]
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(kind, attribute, [[file, None] for file, _ in getattr(kind, attribute)])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})
    dataset = kind(root, train=train)
    return dataset.data.transpose(0, 3, 1, 2), np.array(dataset.targets)


class TestFinding:
    @pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", ""])
    @pytest.mark.parametrize("compressed", [True, False])
    def test_fashion_mnist_in_each_place_and_form(self, folder, compressed, tmp_path):
        write_fashion_mnist(tmp_path / folder, compressed=compressed)
        assert len(load("fashion-mnist", "train", tmp_path)["labels"]) == 60

    def test_system_folder_is_used_when_the_directory_has_none(self, tmp_path, monkeypatch):
        write_fashion_mnist(tmp_path / "system")
        row = replace(DATASETS["fashion-mnist"], system=(tmp_path / "system",))
        assert len(row.decode("train", tmp_path / "elsewhere")["labels"]) == 60

    def test_default_directory(self, tmp_path, monkeypatch):
        assert data_directory() == tmp_path / "default"
        monkeypatch.delenv("SOFIM_DATA")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
        assert data_directory() == tmp_path / "xdg/sofim"
        monkeypatch.delenv("XDG_DATA_HOME")
        assert data_directory() == Path.home() / ".local/share/sofim"
        assert data_directory(tmp_path) == tmp_path


class TestDamage:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_missing(self, name, tmp_path):
        message = one_line_error(lambda: load(name, "train", tmp_path), name, tmp_path)
        assert f"sofim data {name} --download --data {tmp_path}" in message
        first = DATASETS[name].parts["train"][0].name
        assert first in message

    @pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
    def test_one_file_of_several_missing(self, name, tmp_path):
        folder = write(name, tmp_path)
        last = DATASETS[name].parts["train"][-1]
        for path in last.candidates(folder):
            path.unlink(missing_ok=True)
        one_line_error(lambda: load(name, "train", tmp_path), last.name, folder, "--download")

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_without_checksums_of_ones_own_small_files_are_damaged_ones(self, name, tmp_path):
        folder = write(name, tmp_path)
        (folder / "MD5SUMS").unlink()
        one_line_error(lambda: load(name, "train", tmp_path), folder, "is damaged", "expected", "--download")

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_files_of_ones_own_are_told_with_what_their_owner_says(self, name, tmp_path):
        folder = write(name, tmp_path)
        (folder / "MD5SUMS").write_text(f"# half of the\n#  images\n{(folder / 'MD5SUMS').read_text()}")
        row, facts = DATASETS[name], DATASETS[name].facts(tmp_path)
        files = [file for part in row.parts.values() for file in part]
        assert facts["dataset"] == name
        assert list(facts["md5"]) == facts["not_published"] == [file.name for file in files]
        assert facts["said"] == "half of the images"
        assert "half of the images" in status(name, tmp_path).note
        as_written = {file.name: replace(file, md5=facts["md5"][file.name]) for file in files}
        parts = {part: tuple(as_written[file.name] for file in own) for part, own in row.parts.items()}
        published = replace(row, parts=parts).facts(tmp_path)  # the same files, were they those published
        assert published == {**facts, "not_published": [], "said": ""}

    @pytest.mark.parametrize("name", PUBLISHED)
    @pytest.mark.parametrize("keep", [0.5, 0.0])
    def test_truncated(self, name, keep, tmp_path):
        folder = write(name, tmp_path)
        path = DATASETS[name].locate("train", tmp_path)[0]
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        one_line_error(lambda: load(name, "train", tmp_path), path, "--download")
        write_checksums(folder)  # the reader notices too, where the checksum does not
        one_line_error(lambda: load(name, "train", tmp_path), path, "--download")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (struct.pack(">IIII", 2051, 2, 14, 14) + bytes(2 * 14 * 14), "shape [1, 14, 14], not [1, 28, 28]"),
            (struct.pack(">IIII", 2052, 2, 28, 28) + bytes(2 * 28 * 28), "magic number 2052"),
            (struct.pack(">IIII", 2051, 2, 28, 28) + bytes(2 * 28 * 28), "2 images, but there are 60 labels"),
            (b"123", "truncated"),
        ],
    )
    def test_idx_of_the_wrong_shape(self, content, words, tmp_path):
        folder = write("fashion-mnist", tmp_path)
        path = folder / "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(content))
        write_checksums(folder)
        one_line_error(lambda: load("fashion-mnist", "train", tmp_path), path, words)

    @pytest.mark.parametrize(
        ("batch", "words"),
        [
            ({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 10]}, "labels from 0 to 10, not from 0 to 9"),
            ({"data": np.zeros((4, 3000), np.uint8), "labels": [0, 1, 2, 3]}, "uint8 [n, 3072]"),
            ({"data": np.zeros((4, 3072), np.float32), "labels": [0, 1, 2, 3]}, "float32 [4, 3072]"),
            ({"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2]}, "images, but there are"),
            ({"data": np.zeros((4, 3072), np.uint8), "labels": ["a", "b", "c", "d"]}, "not whole numbers"),
            ({"data": np.zeros((4, 3072), np.uint8)}, "data and labels"),
            ([1, 2], "data and labels"),
        ],
    )
    def test_cifar_batch_of_the_wrong_shape(self, batch, words, tmp_path):
        folder = write("cifar10", tmp_path)
        (folder / "data_batch_1").write_bytes(python2_pickle(batch))
        write_checksums(folder)
        one_line_error(lambda: load("cifar10", "train", tmp_path), folder, words)

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_tuning_needs_no_test_files(self, name, tmp_path):
        folder = write(name, tmp_path)
        for file in DATASETS[name].parts["test"]:
            for path in file.candidates(folder):
                path.unlink(missing_ok=True)
        assert len(load(name, "train", tmp_path)["labels"]) > 0
        one_line_error(lambda: load(name, "test", tmp_path), DATASETS[name].parts["test"][0].name, folder)


class TestStatusAndFetch:
    def test_bundled_data_are_always_there(self):
        assert status("digits").present
        assert fetch("breast-cancer").present

    def test_says_what_is_there_and_where_it_looks(self, tmp_path):
        row = status("cifar10", tmp_path)
        assert not row.present
        assert row.looked_in[0] == tmp_path / "cifar-10-batches-py"
        assert "--download" in (row.problem or "")
        folder = write("cifar10", tmp_path)
        row = status("cifar10", tmp_path)
        assert row.present
        assert row.folder == folder

    def test_a_damaged_test_file_is_told_apart(self, tmp_path):
        folder = write("svhn", tmp_path)
        (folder / "test_32x32.mat").write_bytes(b"x")
        row = status("svhn", tmp_path)
        assert row.problem is None
        assert "test_32x32.mat" in (row.test_problem or "")
        assert not row.present

    def test_unknown_name(self):
        one_line_error(lambda: status("mnist"), "mnist", "cifar10")

    def test_fetch_replaces_a_damaged_file_and_keeps_a_whole_one(self, tmp_path, monkeypatch):
        folder = write("svhn", tmp_path)
        whole, damaged = folder / "test_32x32.mat", folder / "train_32x32.mat"
        before, good = whole.stat().st_mtime_ns, damaged.read_bytes()
        damaged.write_bytes(good[:-5])

        def download(directory):
            assert directory == tmp_path
            assert not damaged.exists()
            damaged.write_bytes(good)

        monkeypatch.setitem(DATASETS, "svhn", replace(DATASETS["svhn"], fetch=download))
        assert fetch("svhn", tmp_path).present
        assert whole.stat().st_mtime_ns == before

    def test_fetch_downloads_nothing_when_all_is_there(self, tmp_path, monkeypatch):
        write("svhn", tmp_path)
        monkeypatch.setitem(
            DATASETS, "svhn", replace(DATASETS["svhn"], fetch=lambda directory: pytest.fail("downloaded"))
        )
        assert fetch("svhn", tmp_path).present

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_no_network(self, name, tmp_path, monkeypatch):
        import urllib.request

        def unreachable(*_args, **_kwargs):
            raise OSError("Network is unreachable")

        monkeypatch.setattr(urllib.request, "urlopen", unreachable)
        one_line_error(lambda: fetch(name, tmp_path), name, tmp_path, "Network is unreachable", "copy")

    def test_torchvision_s_downloads_end_where_we_look(self, tmp_path, monkeypatch):
        """The archive as it is published, fetched by torchvision's own code from a server of ours."""
        write("cifar100", tmp_path / "published")
        archive = shutil.make_archive(str(tmp_path / "cifar-100-python"), "gztar", tmp_path / "published")
        kind = torchvision.datasets.CIFAR100
        for attribute in ("train_list", "test_list"):
            monkeypatch.setattr(kind, attribute, [[file, None] for file, _ in getattr(kind, attribute)])
        monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": None})
        monkeypatch.setattr(kind, "tgz_md5", None)
        handler = partial(QuietHandler, directory=str(Path(archive).parent))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever).start()
            monkeypatch.setattr(kind, "url", f"http://127.0.0.1:{server.server_port}/{Path(archive).name}")
            try:
                assert fetch("cifar100", tmp_path / "data").present
            finally:
                server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        """Say nothing."""
