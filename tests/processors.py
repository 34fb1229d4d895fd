"""Run the numeric tests as other processors would; see "make test-processors".

NumPy, OpenBLAS, MKL, torch and FAISS have code for each kind of processor, and results
differ in the last bit. A test that fails on one of them is a fault of the code or of
the test. Each kind that this machine can stand in for has its turn, with one thread and
with two; arguments are pytest's. A failure ends with status 1.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The kernels of OpenBLAS, and the instructions that the others may use with them.
KERNELS = {
    "Prescott": "sse",
    "Nehalem": "sse",
    "Sandybridge": "sse",
    "Haswell": "avx2",
    "Zen": "avx2",
    "SkylakeX": "avx512",
    "Cooperlake": "avx512",
    "Sapphirerapids": "avx512",
    "ARMV8": "neon",
    "NeoverseN1": "neon",
    "NeoverseV1": "neon",
    "VORTEX": "neon",
}
INSTRUCTIONS = {
    "sse": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "FAISS_SIMD_LEVEL": "NONE",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    },
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "FAISS_SIMD_LEVEL": "AVX2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
    "avx512": {},
    "neon": {},
}

NUMERIC = [
    "tests/linear",
    "tests/networks",
    "tests/training",
    "tests/vae",
    "tests/embedders/test_pca.py",
    "tests/embedders/test_pca_scikit_learn_suite.py",
    "tests/embedders/test_score_contributions.py",
    "tests/embedders/test_bad_input.py",
    "tests/embedders/test_estimator_checks.py",
    "tests/outliers",
    "tests/index/test_exact.py",
    "tests/index/test_rounding.py",
    "tests/index/test_quantized.py",
    "tests/test_recorded_answers.py",
]
# With the slow ones among them, but for those that call a compiler.
OPTIONS = ["-q", "-m", "", "-k", "not compile"]
# In parallel where there is one thread for each.
PARALLEL = ["-n", "auto", "--dist", "worksteal"]

# Computes something, so that a kernel that this machine cannot run fails at once.
PROBE = """
import numpy as np, scipy.linalg, threadpoolctl
A = np.random.default_rng(0).normal(size=(50, 30))
np.linalg.svd(A), scipy.linalg.eigh(A.T @ A)
pools = threadpoolctl.threadpool_info()
print(sorted({pool["architecture"] for pool in pools if "architecture" in pool}))
"""


def environment(kernel, n_threads):
    """Return the environment of a process that computes as a processor would."""
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads)
    )
    chosen = {"OPENBLAS_CORETYPE": kernel, **INSTRUCTIONS[KERNELS[kernel]]}
    return {**os.environ, **threads, **chosen}


def kernels_here():
    """Return those of different results that this machine can run."""
    found = {}
    for kernel in KERNELS:
        probe = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROBE],
            env=environment(kernel, 1),
            capture_output=True,
            text=True,
        )
        if probe.returncode == 0:
            found.setdefault(probe.stdout, kernel)
    return list(found.values())


def run(kernel, n_threads, arguments):
    """Run tests as on a processor; return the exit status."""
    print(f"== {kernel}, threads: {n_threads}", flush=True)
    parallel = PARALLEL if n_threads == 1 else []
    command = [sys.executable, "-m", "pytest", *OPTIONS, *parallel]
    command += arguments or NUMERIC
    return subprocess.run(
        command, cwd=ROOT, env=environment(kernel, n_threads)
    ).returncode


def main(arguments):
    """Run tests on each processor; return the exit status."""
    cases = [(kernel, n) for kernel in kernels_here() for n in (1, 2)]
    results = {case: run(*case, arguments) for case in cases}
    for (kernel, n_threads), status in results.items():
        print(kernel, n_threads, "failed" if status else "passed", sep="\t")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
