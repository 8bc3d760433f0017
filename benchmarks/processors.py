"""One learning step, compiled for this processor and for older ones, on the same machine.

    python -m benchmarks.processors       # a minute; --quick for a look

A vector of the kernels has 16 numbers, and LLVM cuts it to what the processor has. Told
that it compiles for a Haswell, Numba makes vectors of 8 numbers (AVX2) instead of the 16
of AVX-512; for the first x86-64 processors, of 4 (SSE2), and has no instruction that
multiplies and adds. Processes take turns. Writes results/processors.csv and
processors.md beside this file.
"""

import tempfile

from benchmarks import harness

PROCESSORS = {
    "this one": {},
    "Haswell (AVX2)": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+ssse3,+sse3,+bmi,+bmi2",
    },
    "x86-64 (SSE2)": {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"},
}


def measure(job):
    """In a child: learning steps."""
    contestant = harness.MiniDQN(harness.first_weights(job["grid_size"]), job["grid_size"])
    batches = harness.played_batches(job["grid_size"], 128, 16)
    jobs = {"step": lambda number: contestant.learn(batches[number % len(batches)])}
    return harness.take_turns(jobs, job["rounds"], seconds=job["seconds"])["step"]["min"]


def report(arguments):
    """In the parent: processes for each, in turns; the fastest of each counts."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:  # of the kernels for the other processors
        for grid_size in (10, 20):
            job = {
                "grid_size": grid_size,
                "rounds": 10 if arguments.quick else 200,
                "seconds": 2 if arguments.quick else 10,
            }
            found = {name: [] for name in PROCESSORS}
            for _ in range(1 if arguments.quick else 3):
                for name, variables in PROCESSORS.items():
                    environment = variables | {"NUMBA_CACHE_DIR": cache}
                    step = harness.in_child("benchmarks.processors", job, **environment)
                    found[name].append(step)
            ours = min(found["this one"])
            for name, steps in found.items():
                rows.append(
                    {
                        "grid": grid_size,
                        "compiled for": name,
                        "step ms, min": f"{1e3 * min(steps):.3f}",
                        "over this one's": f"{min(steps) / ours:.2f}",
                    }
                )
    harness.write_csv("processors", rows)
    harness.write_table("processors", rows)


if __name__ == "__main__":
    harness.main("A step compiled for this processor and older ones.", measure, report)
