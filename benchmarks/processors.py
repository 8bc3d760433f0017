"""One learning step, compiled for this processor and for an older one, on the same machine.

    python -m benchmarks.processors       # a minute; --quick for a look

The kernels follow the lanes and registers of the processor that Numba compiles for.
Told that it is a Haswell, Numba compiles vectors of 8 numbers (AVX2) instead of 16
(AVX-512), and OpenBLAS can be told the same, so that the matrix product of the same
process shows what such a processor could do. Processes take turns. Writes
results/processors.csv and processors.md beside this file.
"""

import tempfile

import numpy as np

from benchmarks import harness

HASWELL = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+ssse3,+sse3,+bmi,+bmi2",
    "OPENBLAS_CORETYPE": "Haswell",
}
PROCESSORS = {"this one": {}, "Haswell (AVX2)": HASWELL}


def measure(job):
    """In a child: learning steps and matrix products in turns."""
    from minidqn.nn import simd

    weights = harness.first_weights(job["grid_size"])
    present, _ = harness.contestants(["minidqn"], weights, job["grid_size"], 1)
    batches = harness.played_batches(job["grid_size"], 128, 16)
    product, operations = harness.sgemm_job()
    jobs = {
        "step": lambda number: present["minidqn"].learn(batches[number % len(batches)]),
        "sgemm": product,
    }
    times = harness.take_turns(jobs, job["rounds"], seconds=job["seconds"])
    going_on = float(np.mean([(batch.rewards == 0).sum() for batch in batches]))
    return {
        "lanes": simd.LANES,
        "step": times["step"]["min"],
        "operations": harness.step_operations(job["grid_size"], 128, going_on),
        "peak": operations / times["sgemm"]["min"],
    }


def report(arguments):
    """In the parent: processes for both, in turns; the fastest of each counts."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:  # of the kernels for the other processor
        for grid_size in (10, 20):
            job = {
                "grid_size": grid_size,
                "rounds": 10 if arguments.quick else 200,
                "seconds": 2 if arguments.quick else 10,
            }
            found = {name: [] for name in PROCESSORS}
            for _ in range(1 if arguments.quick else 3):
                for name, variables in PROCESSORS.items():
                    if variables:
                        variables = variables | {"NUMBA_CACHE_DIR": cache}
                    result = harness.in_child("benchmarks.processors", job, **variables)
                    found[name].append(result)
            ours = min(result["step"] for result in found["this one"])
            for name, results in found.items():
                step = min(result["step"] for result in results)
                speed = results[0]["operations"] / step
                peak = max(result["peak"] for result in results)
                rows.append(
                    {
                        "grid": grid_size,
                        "compiled for": name,
                        "lanes": results[0]["lanes"],
                        "step ms, min": f"{1e3 * step:.3f}",
                        "this one's over it": f"{ours / step:.2f}",
                        "GFLOP/s": f"{speed / 1e9:.1f}",
                        "its sgemm, GFLOP/s": f"{peak / 1e9:.1f}",
                        "of sgemm": f"{speed / peak:.2f}",
                    }
                )
    harness.write_csv("processors", rows)
    harness.write_table("processors", rows)


if __name__ == "__main__":
    harness.main("A step compiled for this processor and an older one.", measure, report)
