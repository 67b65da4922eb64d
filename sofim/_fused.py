"""SOFIM's step in two passes over the memory of a block, compiled by the machine's C++ compiler.

The first pass averages and sums the squares, the second steps: six tensors of traffic, where nothing can go without. It
is compiled once for a machine, in about a second, and kept where this package's data are: `$SOFIM_CACHE`, else
`$XDG_CACHE_HOME/sofim`, else `~/.cache/sofim`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from array import array
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from sofim._update import step_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

_SOURCE = """
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace {
// Sums of one chunk are taken in the tensors' type, those of chunks in double: alike for any number of threads.
constexpr std::int64_t CHUNK = 8192;

struct Chunk { std::int64_t tensor, start, size; };

std::vector<Chunk> chunks(const std::int64_t* sizes, std::int64_t count) {
    std::vector<Chunk> found;
    for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t at = 0; at < sizes[i]; at += CHUNK)
            found.push_back({i, at, std::min(CHUNK, sizes[i] - at)});
    return found;
}

// The table holds the addresses of `count` parameters, of their gradients, of their averages, and their sizes.
template <typename T>
T* at(const std::int64_t* table, const Chunk& chunk) { return reinterpret_cast<T*>(table[chunk.tensor]) + chunk.start; }

template <typename T>
double average(const std::int64_t* table, std::int64_t count, T weight, T decay, int threads) {
    const auto pieces = chunks(table + 3 * count, count);
    const std::int64_t num_pieces = pieces.size();
    std::vector<double> sums(num_pieces);
    #pragma omp parallel for num_threads(threads) if (threads > 1)
    for (std::int64_t c = 0; c < num_pieces; ++c) {
        const T* param = at<T>(table, pieces[c]);
        const T* grad = at<T>(table + count, pieces[c]);
        T* mean = at<T>(table + 2 * count, pieces[c]);
        const std::int64_t size = pieces[c].size;
        T sum = 0;
        if (decay == 0) {
            #pragma omp simd reduction(+ : sum)
            for (std::int64_t j = 0; j < size; ++j) {
                const T now = mean[j] + weight * (grad[j] - mean[j]);
                mean[j] = now;
                sum += now * now;
            }
        } else {
            #pragma omp simd reduction(+ : sum)
            for (std::int64_t j = 0; j < size; ++j) {
                const T now = mean[j] + weight * (grad[j] - mean[j]) + decay * param[j];
                mean[j] = now;
                sum += now * now;
            }
        }
        sums[c] = sum;
    }
    return std::accumulate(sums.begin(), sums.end(), 0.0);
}

template <typename T>
void step(const std::int64_t* table, std::int64_t count, T scale, int threads) {
    const auto pieces = chunks(table + 3 * count, count);
    const std::int64_t num_pieces = pieces.size();
    #pragma omp parallel for num_threads(threads) if (threads > 1)
    for (std::int64_t c = 0; c < num_pieces; ++c) {
        T* param = at<T>(table, pieces[c]);
        const T* mean = at<T>(table + 2 * count, pieces[c]);
        const std::int64_t size = pieces[c].size;
        #pragma omp simd
        for (std::int64_t j = 0; j < size; ++j) param[j] += scale * mean[j];
    }
}
}  // namespace

#define FUNCTIONS(NAME, T) \\
    extern "C" double average_##NAME(const std::int64_t* table, std::int64_t count, double w, double d, int threads) {\\
        return average<T>(table, count, w, d, threads); \\
    } \\
    extern "C" void step_##NAME(const std::int64_t* table, std::int64_t count, double scale, int threads) { \\
        step<T>(table, count, scale, threads); \\
    }
FUNCTIONS(float32, float)
FUNCTIONS(float64, double)
"""
_NAMES = {torch.float32: "float32", torch.float64: "float64"}
# What torch found the processor to have, in the compiler's words. A cache may be shared by machines that differ.
_PROCESSORS = {"AVX512": ["-march=x86-64-v4"], "AVX2": ["-march=x86-64-v3"]}
_REMEDY = "install one or name it in CXX, or leave fused out, which gives the same step"
_FEW = 1 << 15  # entries for which threads cost more than they save


class NoCompilerError(RuntimeError):
    """What `fused=True` needs cannot be compiled here."""


def check_fused(params: Sequence[Tensor], direction: str) -> None:
    """Raise ValueError unless such a parameter group can be fused, `NoCompilerError` if this machine cannot compile."""
    if direction != "momentum":
        raise ValueError('fused=True steps along the average alone; leave it out with direction="gradient"')
    strange = next((param for param in params if not param.is_cpu or param.dtype not in _NAMES), None)
    if strange is not None:
        raise ValueError(
            f"fused=True takes float32 and float64 parameters on CPU, not {strange.dtype} on {strange.device.type}; "
            "leave it out, or compile the step: torch.compile(optimizer.step)"
        )
    kernels()


def fused_step(
    params: list[Tensor], grads: list[Tensor], averages: list[Tensor], weight: float, group: dict[str, Any]
) -> bool:
    """Step along the average on CPU, if all tensors lie in memory alike.

    Args:
        params: Parameters of one Fisher block, of one dtype.
        grads: Their gradients.
        averages: M̂, overwritten.
        weight: Of the newest gradient in the average.
        group: Options of the parameter group.

    Returns:
        Whether it was done.

    Raises:
        NoCompilerError: This machine cannot compile.
    """
    dtype = params[0].dtype
    sizes = []
    for param, grad, average in zip(params, grads, averages, strict=True):
        size = param.numel()
        if (
            grad.dtype is not dtype
            or average.dtype is not dtype
            or not average.is_cpu
            or not size == grad.numel() == average.numel()
            or not _lie_alike(param, grad, average)
        ):
            return False
        sizes.append(size)
    average_in_place, step = kernels()[dtype]
    sign = 1.0 if group["maximize"] else -1.0
    table = array("q", [tensor.data_ptr() for tensors in (params, grads, averages) for tensor in tensors] + sizes)
    address, count = table.buffer_info()[0], len(params)
    threads = torch.get_num_threads() if sum(sizes) > _FEW else 1
    square_norm = average_in_place(address, count, weight, -sign * weight * group["weight_decay"], threads)
    step(address, count, sign * step_scale(square_norm, float(group["lr"]), group["rho"]), threads)
    # Autograd refuses to go back through what was overwritten since, which it knows by this.
    torch.autograd.graph.increment_version([*params, *averages])
    return True


def _lie_alike(param: Tensor, grad: Tensor, average: Tensor) -> bool:
    """Return whether what is at one place in each is of one entry, and nothing else is between."""
    if param.is_contiguous() and grad.is_contiguous() and average.is_contiguous():
        return True
    dense = param.is_contiguous(memory_format=torch.channels_last)
    return dense and param.stride() == grad.stride() == average.stride()


@cache
def kernels() -> dict[torch.dtype, tuple[Any, Any]]:
    """Return the functions that average and that step, by dtype, compiled if this machine has not yet.

    Raises:
        NoCompilerError: There is no C++ compiler, or it fails.
    """
    import ctypes

    library = ctypes.CDLL(str(_compiled()))
    functions = {}
    for dtype, name in _NAMES.items():
        average, step = (getattr(library, f"{verb}_{name}") for verb in ("average", "step"))
        average.restype, step.restype = ctypes.c_double, None
        average.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_double, ctypes.c_int]
        step.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_double, ctypes.c_int]
        functions[dtype] = (average, step)
    return functions


def _compiled() -> Path:
    """Return the library, from the cache where it is there."""
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    found = shutil.which(compiler[0]) if compiler else None
    if found is None:
        raise NoCompilerError(f"fused=True needs a C++ compiler, and there is no {' '.join(compiler)}; {_REMEDY}")
    processor = _PROCESSORS.get(torch.backends.cpu.get_cpu_capability(), [])
    command = [found, *compiler[1:], "-O3", "-std=c++17", "-ffp-contract=fast", "-shared", "-fPIC", *processor]
    key = "\0".join([_SOURCE, *command, platform.system(), platform.machine()])
    name = f"fused-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("SOFIM_CACHE") or Path(base) / "sofim").expanduser()
    if (folder / name).exists():
        return folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _compile(command, folder / name)
    except OSError:  # a cache that cannot be written
        return _compile(command, Path(tempfile.mkdtemp(prefix="sofim-")) / name)


def _compile(command: list[str], library: Path) -> Path:
    """Return the library after making it, whoever else does so too."""
    with tempfile.TemporaryDirectory(dir=library.parent) as made:
        source, result = Path(made) / "fused.cpp", Path(made) / library.name
        source.write_text(_SOURCE, encoding="utf-8")
        # A compiler without OpenMP's threads may have its vectors.
        for openmp in ("-fopenmp", "-fopenmp-simd"):
            whole = [*command, openmp, str(source), "-o", str(result)]
            run = subprocess.run(whole, capture_output=True, text=True, check=False)
            if run.returncode == 0:
                return result.replace(library)
    reason = (run.stderr.strip().splitlines() or [f"exit code {run.returncode}"])[0]
    raise NoCompilerError(f"fused=True cannot be compiled with {command[0]} ({reason}); {_REMEDY}")
