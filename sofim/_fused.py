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
import warnings
from array import array
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

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

// Returns the squared norm.
template <typename T>
double average(const std::int64_t* table, std::int64_t count, const std::vector<Chunk>& pieces, T weight, T decay,
               int threads) {
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
void add(const std::int64_t* table, std::int64_t count, const std::vector<Chunk>& pieces, T scale, int threads) {
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

template <typename T>
void step(const std::int64_t* table, std::int64_t count, double weight, double decay, double lr, double rho,
          int threads) {
    const auto pieces = chunks(table + 3 * count, count);
    const double square_norm = average<T>(table, count, pieces, weight, decay, threads);
    add<T>(table, count, pieces, lr / (rho + square_norm), threads);
}
}  // namespace

#define FUNCTION(NAME, T) \\
    extern "C" void NAME(const std::int64_t* table, std::int64_t count, double weight, double decay, double lr, \\
                         double rho, int threads) { \\
        step<T>(table, count, weight, decay, lr, rho, threads); \\
    }
FUNCTION(step_float32, float)
FUNCTION(step_float64, double)
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


@cache
def can_fuse() -> bool:
    """Return whether this machine can compile; where it cannot, warn once: whoever asks for it here is refused.

    A checkpoint may ask for it that was made where there was a compiler.
    """
    try:
        kernels()
    except NoCompilerError as error:
        warnings.warn(f"{error}: stepping without", stacklevel=2)
        return False
    return True


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
    sizes = [*map(_size, params)]
    if not (
        sizes == [*map(_size, grads)] == [*map(_size, averages)]
        and {*map(_dtype, grads), *map(_dtype, averages)} == {dtype}
        and all(map(_on_cpu, averages))
        and not (any(map(_negated, grads)) or any(map(_negated, params)))
        and (all(map(_contiguous, (*params, *grads, *averages))) or all(map(_lie_alike, params, grads, averages)))
    ):
        return False
    sign = 1.0 if group["maximize"] else -1.0
    table = array("q", [*map(_address, params), *map(_address, grads), *map(_address, averages), *sizes])
    address, count = table.buffer_info()
    count //= 4
    threads = torch.get_num_threads() if sum(sizes) > _FEW else 1
    decay, lr = -sign * weight * group["weight_decay"], sign * float(group["lr"])
    kernels()[dtype](address, count, weight, decay, lr, group["rho"], threads)
    # Autograd refuses to go back through what was overwritten since, which it knows by this.
    torch.autograd.graph.increment_version(params)
    return True


# As functions, which a step of few microseconds can map over its tensors.
_size, _address, _contiguous = Tensor.numel, Tensor.data_ptr, Tensor.is_contiguous
_negated = Tensor.is_neg  # a bit that says that memory has the opposite
_dtype, _on_cpu = Tensor.dtype.__get__, Tensor.is_cpu.__get__  # type: ignore[attr-defined]


def _lie_alike(param: Tensor, grad: Tensor, average: Tensor) -> bool:
    """Return whether what is at one place in each is of one entry, and nothing else is between."""
    if param.is_contiguous() and grad.is_contiguous() and average.is_contiguous():
        return True
    dense = param.is_contiguous(memory_format=torch.channels_last)
    return dense and param.stride() == grad.stride() == average.stride()


@cache
def kernels() -> dict[torch.dtype, Any]:
    """Return the function that steps, by dtype, compiled if this machine has not yet.

    Raises:
        NoCompilerError: There is no C++ compiler, or it fails.
    """
    import ctypes

    library = ctypes.CDLL(str(_compiled()))
    functions = {dtype: getattr(library, f"step_{name}") for dtype, name in _NAMES.items()}
    for function in functions.values():
        function.restype = None
        function.argtypes = [ctypes.c_void_p, ctypes.c_int64, *4 * [ctypes.c_double], ctypes.c_int]
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
